/**
 * Our executor in a process of its own, which a bench starts: it holds a program and nothing that traced it, as a contributor's does.
 *
 * {"do": "prepare", program, tensors, stateCount, executor, threads} → {} · {"do": "block", milliseconds, least} → {times} · {"do": "memory"} →
 * {peakBytes} · {"do": "root"} → {root, steps}: digest of the state after so many steps. `program` and `tensors` are paths.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { decodeProgram, type LoopingProgram, prepareLoop, stateRoot, type Tensor } from '../../packages/engine/src/index.ts';
import { type ExecutorName, ourExecutor } from './executors.ts';
import type { Answer } from './line-child.ts';
import { readTensorFile } from './tensor-file.ts';

let loop: LoopingProgram | null = null;
let inputs: readonly Tensor[] = [];
let steps = 0;

function prepared(): LoopingProgram {
  if (loop === null) throw new Error('nothing is prepared');
  return loop;
}

/** The largest resident set of this process so far: its own mark where Linux keeps one, since `maxRSS` is handed down by parents. */
function peakBytes(): number {
  try {
    return 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  } catch {
    return 1024 * process.resourceUsage().maxRSS;
  }
}

async function prepare(request: Answer): Promise<Answer> {
  const { program, tensors, stateCount, executor, threads } = request as {
    readonly program: string;
    readonly tensors: string;
    readonly stateCount: number;
    readonly executor: ExecutorName;
    readonly threads: number;
  };
  const found = await ourExecutor(executor, threads);
  if (typeof found === 'string') throw new Error(found);
  const given = readTensorFile(tensors);
  loop = prepareLoop(found, decodeProgram(readFileSync(program)), stateCount);
  loop.setState(given.slice(0, stateCount));
  inputs = given.slice(stateCount);
  steps = 0;
  return {};
}

function block({ milliseconds, least }: Answer): Answer {
  const times: number[] = [];
  const until = performance.now() + Number(milliseconds);
  while (times.length < Number(least) || performance.now() < until) {
    const start = performance.now();
    prepared().step(inputs);
    times.push(performance.now() - start);
    steps++;
  }
  return { times };
}

function root(): Answer {
  const live = prepared();
  const names = live.program.inputs.slice(0, live.stateCount);
  return { steps, root: stateRoot(live.readState().map((tensor, index) => ({ name: names[index]?.name ?? '', ...tensor }))) };
}

async function answer(request: Answer): Promise<Answer> {
  switch (request['do']) {
    case 'prepare':
      return prepare(request);
    case 'block':
      return block(request);
    case 'memory':
      return { peakBytes: peakBytes() };
    case 'root':
      return root();
    default:
      throw new Error('no such request');
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const told = await answer(JSON.parse(line) as Answer).catch((error: unknown) => ({
    error: error instanceof Error ? error.message : String(error),
  }));
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
