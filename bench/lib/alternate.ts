/**
 * Candidates measured in short blocks that take turns, so that a machine that is busy for a while is busy for all of them. A candidate's
 * figure is the median over its blocks of the block's median; a ratio is the median over the turns of the ratio within the turn.
 */
import { median } from './statistics.ts';

/** Somebody who does the same work again and again, here or in another process. */
export interface Candidate {
  readonly name: string;
  /** Milliseconds of each run; as many runs as fit into `milliseconds`, but at least `least`. */
  block(milliseconds: number, least: number): Promise<readonly number[]>;
  release?(): unknown;
}

/** A candidate in this process. `run` does the work once. */
export function local(name: string, run: () => unknown, release?: () => unknown): Candidate {
  return {
    name,
    async block(milliseconds, least) {
      const times: number[] = [];
      const until = performance.now() + milliseconds;
      while (times.length < least || performance.now() < until) {
        const start = performance.now();
        const pending = run();
        // Awaiting what is no promise would charge ours for a turn of the event loop.
        if (pending instanceof Promise) await pending;
        times.push(performance.now() - start);
      }
      return times;
    },
    ...(release === undefined ? {} : { release }),
  };
}

/** Medians of a candidate's blocks in milliseconds, in the order of the turns. */
export interface Measured {
  readonly name: string;
  readonly blocks: readonly number[];
  readonly milliseconds: number;
  /** The fastest run of all. */
  readonly fastestMs: number;
}

export interface Schedule {
  readonly turns: number;
  readonly blockMs: number;
  /** Runs in a block at least. */
  readonly least: number;
}

/** Measures all candidates in turns, after one block each for warming up, and releases them. */
export async function alternate(candidates: readonly Candidate[], { turns, blockMs, least }: Schedule): Promise<Measured[]> {
  const blocks = candidates.map((): number[] => []);
  const fastest = candidates.map(() => Infinity);
  for (const candidate of candidates) await candidate.block(blockMs, least);
  for (let turn = 0; turn < turns; turn++) {
    for (const [index, candidate] of candidates.entries()) {
      const times = await candidate.block(blockMs, least);
      blocks[index]?.push(median(times));
      fastest[index] = Math.min(fastest[index] ?? Infinity, ...times);
    }
  }
  for (const candidate of candidates) await candidate.release?.();
  return candidates.map(({ name }, index) => {
    const own = blocks[index] ?? [];
    return { name, blocks: own, milliseconds: median(own), fastestMs: fastest[index] ?? Number.NaN };
  });
}

/** How many times faster one candidate is than another. */
export interface Ratio {
  /** Over the turns, the ratios within them: the middle, the least, the greatest. */
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** The fastest runs of both, whenever they were: what others do on the machine matters least here. */
  readonly fastest: number;
}

/** How many times faster `ours` is than `peer`. */
export function speedup(ours: Measured, peer: Measured): Ratio {
  const ratios = ours.blocks.map((own, turn) => (peer.blocks[turn] ?? Number.NaN) / own);
  return { median: median(ratios), low: Math.min(...ratios), high: Math.max(...ratios), fastest: peer.fastestMs / ours.fastestMs };
}
