/**
 * A deployment in a process of its own, so that a test can end it with SIGKILL:
 *   node deploy-child.ts <rpcUrl> <folder> <privateKey>
 * One line per step on stdout; the step waits until the parent answers with a line.
 */
import { createInterface } from 'node:readline';
import type { Hex } from 'viem';
import { deployToFolder } from '../src/evm/contracts/deploy.ts';

const [rpcUrl = '', folder = '', privateKey = ''] = process.argv.slice(2);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
await deployToFolder(folder, {
  rpcUrl,
  privateKey: privateKey as Hex,
  pollMs: 1,
  async onProgress(progress) {
    process.stdout.write(`${progress.step} ${'name' in progress ? progress.name : ''}\n`);
    await answers.next();
  },
});
process.stdout.write('finished \n');
process.exit(0);
