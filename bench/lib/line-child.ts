/**
 * A child process that answers one JSON request a line with one JSON answer a line: the Python peers and our own executor in a process
 * of its own. Requests are answered in order, one at a time.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** What an answer holds; callers know what they asked for. */
export type Answer = Readonly<Record<string, unknown>>;

export interface LineChild {
  /** The answer to `request`. Rejects if the answer is an error or the child ends. */
  ask(request: Answer): Promise<Answer>;
  /** Lets the child end; resolves when it has. */
  close(): Promise<void>;
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** Starts `command` with `environment` added to ours. What it writes to standard error is shown if it ends unasked. */
export function startLineChild(command: string, args: readonly string[], environment: Readonly<Record<string, string>>): LineChild {
  const child: ChildProcess = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
  const waiting: Waiting[] = [];
  let errors = '';
  let ended: Error | null = null;
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors = `${errors}${text}`.slice(-2000);
  });
  const end = (error: Error): void => {
    ended ??= error;
    for (const { reject } of waiting.splice(0)) reject(error);
  };
  const closed = new Promise<void>((resolve) => {
    child.on('error', (error) => {
      end(error);
      resolve();
    });
    child.on('close', (code) => {
      end(new Error(`${command} ended with ${code ?? 'a signal'}: ${errors.trim()}`));
      resolve();
    });
  });
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const next = waiting.shift();
      const answer = JSON.parse(line) as Answer;
      const { error } = answer;
      if (typeof error === 'string') next?.reject(new Error(error));
      else next?.resolve(answer);
    });
  }
  // A child that has ended refuses what is written to it; its end is reported where an answer is awaited.
  child.stdin?.on('error', () => undefined);
  return {
    ask(request) {
      if (ended !== null) return Promise.reject(ended);
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        child.stdin?.write(`${JSON.stringify(request)}\n`);
      });
    },
    close() {
      child.stdin?.end();
      return closed;
    },
  };
}
