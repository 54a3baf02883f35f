/**
 * `node bench/run.ts <suite> [--json] [--save-baseline]`: one line for each row; with --json one JSON object `{bench, unit, ours, peers, ratio}`
 * a line; with --save-baseline the figures go into `baseline.json`, beside which later runs print theirs. The first and the last row say how busy the machine was: figures of a busy one are good for ratios within a row at most.
 */
import { availableParallelism, loadavg } from 'node:os';
import { engineSuite } from './engine.ts';
import { bitsSuite } from './engine-bits.ts';
import { digestSuite } from './engine-digest.ts';
import { memorySuite, threadsSuite } from './engine-processes.ts';
import { productsSuite } from './engine-products.ts';
import { programProfileSuite } from './engine-profile.ts';
import { stepsSuite } from './engine-steps.ts';
import { gasSuite } from './gas.ts';
import { gptSuite } from './gpt.ts';
import { gradientsSuite } from './gradients.ts';
import { baselineOf, saveBaseline } from './lib/baseline.ts';
import { plainRow, type Row } from './lib/measure.ts';
import { planSuite } from './plan.ts';
import { networkSuite, profileSuite, roundSuite } from './round.ts';

const suites: Readonly<Record<string, () => AsyncGenerator<Row>>> = {
  engine: engineSuite,
  'engine-products': productsSuite,
  'engine-steps': stepsSuite,
  'engine-threads': threadsSuite,
  'engine-memory': memorySuite,
  'engine-digest': digestSuite,
  'engine-bits': bitsSuite,
  'engine-profile': programProfileSuite,
  gas: gasSuite,
  gradients: gradientsSuite,
  gpt: gptSuite,
  plan: planSuite,
  round: roundSuite,
  'round-networks': networkSuite,
  'round-profile': profileSuite,
};

/** `ours 60 GFLOP/s; jax-js 37 (1.6 ×, 1.5–1.7, fastest 1.6); 1.6 × the best peer, target 1.2`: in brackets the ratios of single turns and of the fastest runs. */
function describe({ bench, unit, ours, peers, ratio, ratios, target }: Row): string {
  if (Number.isNaN(ours)) return `${bench}: ${Object.values(peers).join('; ')}`;
  const others = Object.entries(peers).map(([name, value]) => {
    const one = ratios?.[name];
    return `; ${name} ${value}${one === undefined ? '' : ` (${one.median} ×, ${one.low}–${one.high}, fastest ${one.fastest})`}`;
  });
  const goal = target === undefined ? '' : `, target ${target}${ratio !== null && ratio < target ? ' MISSED' : ''}`;
  const earlier = baselineOf(bench);
  const then = earlier === null ? '' : `; on ${earlier.date} ${earlier.ours}`;
  return `${bench}: ours ${ours} ${unit}${others.join('')}${ratio === null ? '' : `; ${ratio} × the best peer${goal}`}${then}`;
}

const load = (when: string): Row => plainRow(`load average ${when}, ${availableParallelism()} cores`, 'processes', loadavg()[0] ?? 0, {});

const [name = ''] = process.argv.slice(2);
const suite = suites[name];
if (suite === undefined) {
  process.stderr.write(`usage: node bench/run.ts <${Object.keys(suites).join(' | ')}> [--json]\n`);
  process.exitCode = 2;
} else {
  const json = process.argv.includes('--json');
  const print = (row: Row): void => void process.stdout.write(`${json ? JSON.stringify(row) : describe(row)}\n`);
  const busy = loadavg()[0] ?? 0;
  const rows: Row[] = [];
  print(load('before'));
  for await (const row of suite()) {
    print(row);
    rows.push(row);
  }
  print(load('after'));
  if (process.argv.includes('--save-baseline')) process.stderr.write(`${saveBaseline(rows, busy)}\n`);
}
