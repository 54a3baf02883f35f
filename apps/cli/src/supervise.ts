/**
 * Child processes of one network on this machine: started, read, restarted when they die, stopped together.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { MusterError } from '@muster/protocol';
import type { Fields } from './output.ts';

const program = fileURLToPath(new URL('./main.ts', import.meta.url));

export interface ChildReport extends Fields {
  readonly event: string;
}

export interface ChildOptions {
  /** For messages. */
  readonly name: string;
  readonly arguments: readonly string[];
  /** Its environment; this process's own unless given. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Start again when it ends without being asked to. */
  readonly restart: boolean;
  readonly onReport: (report: ChildReport, child: Child) => void;
  /** Told when it ends for good; `expected` if it was stopped here. */
  readonly onEnd?: (child: Child, expected: boolean) => void;
}

export class Child {
  readonly #options: ChildOptions;
  #process: ChildProcess | null = null;
  #stopping = false;
  #restarts = 0;
  #ended = false;
  #startedAt = 0;
  #lastError = '';

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  get processId(): number | null {
    return this.#process?.pid ?? null;
  }

  /** Whether it has ended and is not started again. */
  get ended(): boolean {
    return this.#ended;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /** The last thing the process wrote on stderr. */
  get lastError(): string {
    return this.#lastError;
  }

  start(): void {
    const { arguments: given, environment = process.env } = this.#options;
    const child = spawn(process.execPath, [program, ...given], { stdio: ['ignore', 'pipe', 'pipe'], env: environment });
    this.#process = child;
    this.#startedAt = Date.now();
    createInterface({ input: child.stdout }).on('line', (line) => this.#onLine(line));
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (line.startsWith('error ')) this.#lastError = line;
    });
    child.once('exit', () => this.#onExit());
    child.once('error', (error) => {
      this.#lastError = error.message;
    });
  }

  #onLine(line: string): void {
    let report: unknown;
    try {
      report = JSON.parse(line);
    } catch {
      return;
    }
    if (report !== null && typeof report === 'object' && 'event' in report && typeof report.event === 'string') {
      this.#options.onReport(report as ChildReport, this);
    }
  }

  #onExit(): void {
    this.#process = null;
    const { restart, onEnd } = this.#options;
    if (this.#stopping || !restart) {
      this.#ended = true;
      onEnd?.(this, this.#stopping);
      return;
    }
    this.#restarts++;
    // A process that dies at once is given time; one that ran is started again at once.
    const quick = Date.now() - this.#startedAt < 2000;
    setTimeout(
      () => {
        if (!this.#stopping) this.start();
      },
      quick ? Math.min(5000, 200 * this.#restarts) : 50,
    );
  }

  /** Ends the process as an operator would kill it: no clean-up. It is not started again unless `restart` was asked for. */
  kill(): void {
    this.#process?.kill('SIGKILL');
  }

  /** Asks the process to end, and kills it after `patienceMs`. */
  async stop(patienceMs = 5000): Promise<void> {
    this.#stopping = true;
    const child = this.#process;
    if (child === null || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
    await ended;
    clearTimeout(timer);
  }
}

/** Starts after which a process that calls its command line or home wrong is given up: a port may be taken for a moment. */
const usageRestarts = 5;

/**
 * Resolves when `child` reports `event`. Rejects with what the child last complained about after `patienceMs`, or at once when it has
 * ended for good.
 */
export function awaitReport(child: Child, seen: Set<string>, event: string, patienceMs: number): Promise<void> {
  const until = Date.now() + patienceMs;
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (seen.has(event)) return resolve();
      const hopeless = child.lastError.startsWith('error USAGE') && child.restarts >= usageRestarts;
      if (child.ended || hopeless || Date.now() >= until) {
        reject(new MusterError('INTERNAL', `the ${child.name} process did not start: ${child.lastError || 'no message'}`));
        return;
      }
      setTimeout(look, 20);
    };
    look();
  });
}
