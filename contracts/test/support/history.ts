/**
 * Random histories: actions by many actors, drawn by weight, and invariants that must hold after each of them. Knows no contract.
 */
import * as fc from 'fast-check';

/** Draws from one seed; the same seed draws the same. */
export class Dice {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0 || 1;
  }

  /** A whole number from 0 to `bound` − 1. */
  below(bound: number): number {
    // Xorshift with a multiplication at the end: short, and even enough for picking test cases.
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state = (this.state ^ (this.state << 5)) >>> 0;
    return (Math.imul(this.state, 0x9e3779b1) >>> 0) % bound;
  }

  /** True in `hits` of `of` cases. */
  chance(hits: number, of: number): boolean {
    return this.below(of) < hits;
  }

  pick<T>(list: readonly T[]): T {
    const picked = list[this.below(list.length)];
    if (picked === undefined) throw new Error('nothing to pick from');
    return picked;
  }
}

/** What became of an action: a contract took it, a contract refused it, or there was nothing to do. */
export type Outcome = 'accepted' | 'refused' | 'idle';

export interface Action<World> {
  readonly name: string;
  /** How often it is drawn, relative to the others. */
  readonly weight: number;
  play(world: World, dice: Dice): Promise<Outcome>;
}

export interface Invariant<World> {
  /** What must hold, as a sentence. */
  readonly name: string;
  /** Throws where it does not. */
  check(world: World): Promise<void>;
}

export interface HistoryOptions<World> {
  readonly actions: readonly Action<World>[];
  readonly invariants: readonly Invariant<World>[];
  /** Runs `body` in a world of its own. */
  inWorld(body: (world: World) => Promise<void>): Promise<void>;
  /** What ends every history; the invariants are checked once more after it. */
  exit(world: World): Promise<void>;
  readonly histories: number;
  readonly steps: number;
}

/** How often each action was accepted over all histories. fast-check prints the seed of a history that fails, and the last steps are in its message. */
export async function playHistories<World>(options: HistoryOptions<World>): Promise<ReadonlyMap<string, number>> {
  const accepted = new Map<string, number>();
  const total = options.actions.reduce((sum, { weight }) => sum + weight, 0);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (seed) =>
      options.inWorld(async (world) => {
        const dice = new Dice(seed);
        const past: string[] = [];
        const checked = async (): Promise<void> => {
          for (const invariant of options.invariants) {
            try {
              await invariant.check(world);
            } catch (cause) {
              throw new Error(`${invariant.name}: broken after ${past.slice(-5).join(', ')} (step ${past.length})`, { cause });
            }
          }
        };
        for (let step = 0; step < options.steps; step++) {
          const action = drawn(options.actions, dice.below(total));
          const outcome = await action.play(world, dice);
          if (outcome !== 'accepted') continue;
          past.push(action.name);
          accepted.set(action.name, (accepted.get(action.name) ?? 0) + 1);
          await checked();
        }
        await options.exit(world);
        past.push('the exit');
        await checked();
      }),
    ),
    { numRuns: options.histories, endOnFailure: true },
  );
  return accepted;
}

function drawn<World>(actions: readonly Action<World>[], mark: number): Action<World> {
  let left = mark;
  for (const action of actions) {
    left -= action.weight;
    if (left < 0) return action;
  }
  throw new Error('no action');
}
