/**
 * Rematerialisation: forward values that only the backward pass still needs are dropped and computed again just before it (gradient checkpointing,
 * Chen et al., 2016, "Training deep nets with sublinear memory cost"). Every executor gives the same bits, so computing twice changes nothing.
 *
 * The pass knows no layers. It finds the turning point, where most bytes wait for later use, cuts what lies before it into segments where little
 * crosses, keeps what crosses, and repeats each segment but the last in front of the first operation that needs something of it.
 */
import { valueTypes } from '../check.ts';
import { flopsOf } from '../cost.ts';
import type { Operation, Program, TensorType } from '../program.ts';
import { assemble, chain, constantsOf, type Draft, draftsOf, type Rewritten, valueCount } from './rewrite.ts';
import { bytesOf, modeOf, scheduleProgram } from './schedule.ts';

/** Numbers of segments that are tried; more keep less memory and repeat more. */
const segmentCounts = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48] as const;
const maxRounds = 3;

/** Facts about a program's values; views share the facts of the value whose memory they show. */
class Values {
  readonly drafts: readonly Draft[];
  readonly types: readonly TensorType[];
  /** The value whose memory each value lies in. */
  readonly root: Int32Array;
  /** Operation that makes each value; −1 for inputs and constants. */
  readonly maker: Int32Array;
  readonly isOutput: Uint8Array;
  /** Operations that read each value, ascending. */
  readonly readers: number[][];

  constructor(program: Program) {
    this.drafts = draftsOf(program);
    this.types = valueTypes(program);
    const count = this.types.length;
    this.root = Int32Array.from({ length: count }, (_, value) => value);
    this.maker = new Int32Array(count).fill(-1);
    this.isOutput = new Uint8Array(count);
    this.readers = Array.from({ length: count }, () => []);
    this.drafts.forEach(({ operation, outputs }, index) => {
      const [first] = operation.inputs;
      const isView = first !== undefined && modeOf(operation, (this.types[first] as TensorType).dtype) === 'view';
      for (const output of outputs) {
        this.maker[output] = index;
        if (isView) this.root[output] = this.root[first] as number;
      }
      for (const input of operation.inputs) this.readers[input]?.push(index);
    });
    for (const { value } of program.outputs) {
      this.isOutput[value] = 1;
      this.isOutput[this.root[value] as number] = 1;
    }
  }

  /** True if the value costs memory of its own that could be given up: not an input, a constant, an output or a view of one. */
  occupies(value: number): boolean {
    const root = this.root[value] as number;
    return (this.maker[root] as number) >= 0 && this.isOutput[root] === 0;
  }

  bytes(value: number): number {
    return bytesOf(this.types[value] as TensorType);
  }
}

/** First and last reader of each root, views included, among operations before `end`. */
function lastReaders(values: Values, end: number): Int32Array {
  const last = new Int32Array(values.types.length).fill(-1);
  values.drafts.slice(0, end).forEach(({ operation }, index) => {
    for (const input of operation.inputs) last[values.root[input] as number] = index;
  });
  return last;
}

/** Σ bytes of occupied roots made before and read after each operation boundary, by the lives that `last` gives. */
function crossing(values: Values, last: Int32Array, count: number): Float64Array {
  const change = new Float64Array(count + 2);
  for (let value = 0; value < values.types.length; value++) {
    const end = last[value] as number;
    const start = (values.maker[value] as number) + 1;
    if (values.root[value] !== value || !values.occupies(value) || end < start) continue;
    change[start] = (change[start] as number) + values.bytes(value);
    change[end + 1] = (change[end + 1] as number) - values.bytes(value);
  }
  const held = new Float64Array(count + 1);
  let sum = 0;
  for (let boundary = 0; boundary <= count; boundary++) {
    sum += change[boundary] as number;
    held[boundary] = sum;
  }
  return held;
}

/** Boundaries that cut the saved bytes before `turn` into about `count` equal parts, each moved to where the least crosses. */
function boundaries(values: Values, turn: number, count: number): number[] {
  const all = lastReaders(values, values.drafts.length);
  const forward = crossing(values, lastReaders(values, turn), turn);
  const saved = new Float64Array(turn + 1);
  for (let index = 0; index < turn; index++) {
    const own = (values.drafts[index] as Draft).outputs.filter((value) => values.root[value] === value && values.occupies(value));
    const kept = own.filter((value) => (all[value] as number) >= turn);
    saved[index + 1] = (saved[index] as number) + kept.reduce((sum, value) => sum + values.bytes(value), 0);
  }
  const total = saved[turn] as number;
  const cuts: number[] = [0];
  for (let part = 1; part < count; part++) {
    const goal = (total * part) / count;
    let best = -1;
    for (let boundary = (cuts.at(-1) as number) + 1; boundary < turn; boundary++) {
      if (Math.abs((saved[boundary] as number) - goal) > (0.5 * total) / count) continue;
      if (best === -1 || (forward[boundary] as number) < (forward[best] as number)) best = boundary;
    }
    if (best !== -1) cuts.push(best);
  }
  return cuts;
}

/** Operations of one segment to repeat, the values whose later readers take the repeated ones, and where to put them. */
interface Repeat {
  readonly operations: readonly number[];
  readonly redirected: ReadonlySet<number>;
  readonly before: number;
}

/** What to repeat of the operations from `begin` to `end`. `held` are values kept anyway; what the repetition reads is added. */
function repeatOf(values: Values, begin: number, end: number, turn: number, held: Set<number>): Repeat | null {
  const redirected = new Set<number>();
  let before = values.drafts.length;
  for (let index = begin; index < end; index++) {
    for (const value of (values.drafts[index] as Draft).outputs) {
      if (!values.occupies(value) || held.has(values.root[value] as number)) continue;
      const late = values.readers[value]?.find((reader) => reader >= turn);
      if (late === undefined) continue;
      redirected.add(value);
      before = Math.min(before, late);
    }
  }
  if (redirected.size === 0) return null;
  const needed = new Set(redirected);
  const operations: number[] = [];
  const reads: number[] = [];
  for (let index = end - 1; index >= begin; index--) {
    const { operation, outputs } = values.drafts[index] as Draft;
    if (!outputs.some((value) => needed.has(value))) continue;
    operations.push(index);
    for (const input of operation.inputs) {
      const root = values.root[input] as number;
      const isHere = (values.maker[input] as number) >= begin && values.occupies(input) && !held.has(root);
      if (isHere) needed.add(input);
      else reads.push(root);
    }
  }
  for (const root of reads) held.add(root);
  return { operations: operations.toReversed(), redirected, before };
}

/** `program` with the segments between `cuts` repeated before their late uses, but for the last one. */
function withRepeats(program: Program, values: Values, cuts: readonly number[], turn: number): Rewritten {
  const held = new Set<number>();
  const repeats: Repeat[] = [];
  // From the last to the first: what a later segment reads is held and need not be repeated by an earlier one.
  for (let segment = cuts.length - 2; segment >= 0; segment--) {
    const repeat = repeatOf(values, cuts[segment] as number, cuts[segment + 1] as number, turn, held);
    if (repeat !== null) repeats.push(repeat);
  }
  let nextId = valueCount(program);
  const replaced = new Map<number, number>();
  const drafts: Draft[] = [];
  values.drafts.forEach((draft, index) => {
    for (const repeat of repeats) {
      if (repeat.before !== index) continue;
      const clones = new Map<number, number>();
      for (const position of repeat.operations) {
        const { operation, outputs, origin } = values.drafts[position] as Draft;
        const inputs = operation.inputs.map((input) => clones.get(input) ?? input);
        const ids = outputs.map((output) => {
          const id = nextId++;
          clones.set(output, id);
          return id;
        });
        drafts.push({ operation: { ...operation, inputs }, outputs: ids, origin });
      }
      for (const value of repeat.redirected) replaced.set(value, clones.get(value) as number);
    }
    const { operation } = draft;
    const inputs = index < turn ? operation.inputs : operation.inputs.map((input) => replaced.get(input) ?? input);
    drafts.push({ ...draft, operation: { ...operation, inputs } });
  });
  const outputs = program.outputs.map(({ value }) => value);
  return assemble(program, constantsOf(program), withoutOrphans(drafts, outputs), outputs);
}

/** `drafts` without operations whose only readers now read a repetition of them. Operations that nothing read before stay: they may fault. */
function withoutOrphans(drafts: readonly Draft[], outputs: readonly number[]): Draft[] {
  const repeated = new Set<number>();
  const seen = new Set<number>();
  for (const { origin } of drafts) {
    if (seen.has(origin)) repeated.add(origin);
    seen.add(origin);
  }
  const needed = new Set(outputs);
  const done = new Set<number>();
  return drafts
    .toReversed()
    .filter(({ operation, origin, outputs: made }) => {
      const removable = repeated.has(origin) && done.has(origin);
      if (removable && !made.some((id) => needed.has(id))) return false;
      done.add(origin);
      for (const input of operation.inputs) needed.add(input);
      return true;
    })
    .toReversed();
}

function totalFlops(program: Program): number {
  const types = valueTypes(program);
  return program.operations.reduce((sum, operation: Operation) => sum + flopsOf(operation, types), 0);
}

/** One application: the cheapest plan within `limit`, else the one with the smallest peak; null if none lowers the peak. */
function improve(program: Program, state: number, limit: number): Rewritten | null {
  const values = new Values(program);
  const count = program.operations.length;
  const held = crossing(values, lastReaders(values, count), count);
  const turn = held.indexOf(held.reduce((most, bytes) => Math.max(most, bytes), 0));
  let best: Rewritten | null = null;
  let bestPeak = scheduleProgram(program, state).peakBytes;
  let bestFlops = Infinity;
  const tried = new Set<string>();
  for (const segments of segmentCounts) {
    const cuts = [...boundaries(values, turn, segments), turn];
    const key = cuts.join(',');
    if (tried.has(key)) continue;
    tried.add(key);
    const candidate = withRepeats(program, values, cuts, turn);
    const { peakBytes } = scheduleProgram(candidate.program, state);
    const flops = totalFlops(candidate.program);
    // Below the limit the arithmetic counts, above it the memory.
    if (Math.max(peakBytes, limit) > Math.max(bestPeak, limit)) continue;
    if (peakBytes <= limit && bestPeak <= limit ? flops >= bestFlops : peakBytes >= bestPeak) continue;
    [best, bestPeak, bestFlops] = [candidate, peakBytes, flops];
  }
  return best;
}

/**
 * `program` (checked) with a lower peak of memory and more arithmetic: within `memoryLimitBytes` if a plan of this pass reaches that, else with the
 * lowest peak found. Unchanged if it fits already. `state` as in `scheduleProgram`. At most 1.4 × the arithmetic.
 */
export function rematerialise(program: Program, memoryLimitBytes: number, state = 0): Rewritten {
  let current: Rewritten = { program, origin: program.operations.map((_, index) => index) };
  const mostFlops = 1.4 * totalFlops(program);
  for (let round = 0; round < maxRounds && scheduleProgram(current.program, state).peakBytes > memoryLimitBytes; round++) {
    const better = improve(current.program, state, memoryLimitBytes);
    if (better === null || totalFlops(better.program) > mostFlops) break;
    current = chain(current, better);
  }
  return current;
}
