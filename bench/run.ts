/** `node bench/run.ts <suite> [--json]`: one line for each row; with --json one JSON object `{bench, unit, ours, peers, ratio}` a line. */
import { engineSuite } from './engine.ts';
import type { Row } from './lib/measure.ts';

const suites: Readonly<Record<string, () => AsyncGenerator<Row>>> = { engine: engineSuite };

function describe({ bench, unit, ours, peers, ratio }: Row): string {
  const others = Object.entries(peers).map(([name, value]) => `${name} ${value}`);
  return `${bench}: ours ${ours} ${unit}; ${others.join('; ')}${ratio === null ? '' : `; ${ratio} × the best peer`}`;
}

const [name = ''] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const suite = suites[name];
if (suite === undefined) {
  process.stderr.write(`usage: node bench/run.ts <${Object.keys(suites).join(' | ')}> [--json]\n`);
  process.exitCode = 2;
} else {
  const json = process.argv.includes('--json');
  for await (const row of suite()) process.stdout.write(`${json ? JSON.stringify(row) : describe(row)}\n`);
}
