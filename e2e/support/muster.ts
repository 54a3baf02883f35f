/**
 * Runs the program as its users do: as processes, through `main.ts`, with nothing shared but files and loopback.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));

/** Compiled code of the program, kept between its processes: half of what each start costs. */
const compileCache = fileURLToPath(new URL('../../node_modules/.cache/e2e-compile', import.meta.url));

export interface Line {
  readonly event: string;
  readonly [field: string]: unknown;
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The JSON lines on stdout. */
  readonly events: readonly Line[];
  /** The last of them. */
  readonly last: Line | undefined;
}

function parsed(line: string): Line | null {
  try {
    const value: unknown = JSON.parse(line);
    return value !== null && typeof value === 'object' && 'event' in value ? (value as Line) : null;
  } catch {
    return null;
  }
}

/** A running `muster`; everything it said so far, and ways to wait for what it will say. */
export class Running {
  readonly events: Line[] = [];
  stdout = '';
  stderr = '';
  readonly child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #listeners: (() => void)[] = [];

  constructor(given: readonly string[]) {
    const environment = { ...process.env, NODE_COMPILE_CACHE: compileCache };
    this.child = spawn(process.execPath, [program, ...given], { stdio: ['ignore', 'pipe', 'pipe'], env: environment });
    if (this.child.stdout === null || this.child.stderr === null) throw new Error('no pipes');
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      this.stdout += `${line}\n`;
      const event = parsed(line);
      if (event !== null) this.events.push(event);
      this.#notify();
    });
    this.child.stderr.on('data', (bytes: Buffer) => {
      this.stderr += bytes.toString();
    });
    this.#ended = once(this.child, 'close').then(([code]) => {
      this.#notify();
      return code as number | null;
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  #notify(): void {
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }

  /** The first event for which `wanted` holds, said already or to come. Fails when the process ends or time is up. */
  async said(wanted: (line: Line) => boolean, patienceMs = 60_000): Promise<Line> {
    const until = Date.now() + patienceMs;
    for (;;) {
      const found = this.events.find(wanted);
      if (found !== undefined) return found;
      const left = until - Date.now();
      if (!this.alive || left <= 0) throw new Error(`not said${this.alive ? ' in time' : ', the process has ended'}:\n${this.tail()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#listeners.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  tail(): string {
    return `${this.stdout.split('\n').slice(-15).join('\n')}\n${this.stderr.split('\n').slice(-10).join('\n')}`;
  }

  /** Ends the process, or waits for its end, and tells what it left. */
  async end(signal: NodeJS.Signals | null = null): Promise<Finished> {
    if (signal !== null && this.alive) this.child.kill(signal);
    const code = await this.#ended;
    return { code, stdout: this.stdout, stderr: this.stderr, events: this.events, last: this.events.at(-1) };
  }
}

export const muster = async (...given: readonly string[]): Promise<Finished> => await new Running(given).end();

/** Processes started by `parent` whose command line says `run <name>`. */
export async function childNamed(parent: number, name: string): Promise<number> {
  const children = (await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8')).trim().split(/\s+/).map(Number);
  for (const child of children) {
    const command = (await readFile(`/proc/${child}/cmdline`, 'utf8').catch(() => '')).split('\0');
    const at = command.indexOf('run');
    if (at >= 0 && command[at + 1] === name) return child;
  }
  throw new Error(`process ${parent} has no child that runs ${name}`);
}
