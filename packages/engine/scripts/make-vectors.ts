/**
 * Writes `vectors/engine/`, `vectors/merkle/` and `vectors/seed-tree/` from the reference implementations.
 *
 * Run `node packages/engine/scripts/make-vectors.ts` from the root after a rule changed on purpose; a change in the files is a change of
 * the protocol. `packages/engine/test/vectors.test.ts` checks that the files are what this writes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { engineFiles } from '../test/support/engine-vectors.ts';
import { protocolFiles } from '../test/support/protocol-vectors.ts';

const root = join(import.meta.dirname, '../../../vectors');
let total = 0;
for (const [path, value] of [...engineFiles(), ...protocolFiles()]) {
  const content = `${JSON.stringify(value, null, 1)}\n`;
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), content);
  total += content.length;
}
process.stdout.write(`${total} bytes of vectors\n`);
