/**
 * One life of a process: everything it does to the world goes through here, so that it can be killed between any two deeds.
 *
 * A dead process gets no answer any more and changes nothing any more; what it had already done stays done.
 */

/** After which deed the process dies: the `count`-th call of `method` has happened, its answer is not seen. */
export interface Death {
  readonly method: string;
  readonly count: number;
  /** The deed itself does not happen any more. */
  readonly before?: boolean;
}

const never = new Promise<never>(() => undefined);

export class Life {
  dead = false;
  /** Calls under way; none for a while means that the process waits for something. */
  inFlight = 0;
  readonly end: Promise<void>;
  #endNow: () => void = () => undefined;
  #counted = 0;
  readonly #death: Death | null;

  constructor(death: Death | null = null) {
    this.#death = death;
    this.end = new Promise((resolve) => {
      this.#endNow = resolve;
    });
  }

  die(): void {
    this.dead = true;
    this.inFlight = 0;
    this.#endNow();
  }

  /** `port` as this process sees it. Methods called in the same turn keep their order. */
  through<T extends object>(port: T): T {
    return new Proxy(port, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return (...given: unknown[]): unknown => this.#call(String(name), () => Reflect.apply(value, target, given) as unknown);
      },
    });
  }

  /** A promise of the process's own making: it never ends after death. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    return (await this.#call('', work)) as T;
  }

  #call(method: string, act: () => unknown): unknown {
    if (this.dead) return never;
    const last = this.#death !== null && this.#death.method === method && ++this.#counted === this.#death.count;
    if (last && this.#death.before === true) {
      this.die();
      return never;
    }
    const result = act();
    if (!(result instanceof Promise)) return result;
    return this.#await(result as Promise<unknown>, last);
  }

  async #await(result: Promise<unknown>, last: boolean): Promise<unknown> {
    this.inFlight++;
    try {
      return await result;
    } finally {
      if (!this.dead) this.inFlight--;
      if (last) this.die();
      if (this.dead) await never;
    }
  }
}
