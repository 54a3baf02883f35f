/**
 * Has a solver prove the arithmetic of the pure libraries: assertions of proofs/Arithmetic.sol, overflow, underflow, division by zero.
 *
 *   node contracts/prove.ts
 *
 * Uses solc's own SMTChecker with the program `z3` (Debian: `apt-get install z3`), which is no part of this repository. Exits 1 where a
 * counterexample is found, 2 without z3. What neither engine can decide within its limits is listed and is not an error: such places are
 * covered by fuzz tests.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Message {
  readonly message: string;
  readonly severity: string;
  readonly sourceLocation?: { readonly file: string; readonly start: number };
}

/** One thing to prove: what, and where. */
interface Goal {
  readonly what: string;
  readonly file: string;
  readonly line: number;
  proved: boolean;
  violated: boolean;
}

const require = createRequire(import.meta.url);
const contractsFolder = dirname(fileURLToPath(import.meta.url));
const proofFile = 'proofs/Arithmetic.sol';
/** Engines of the SMTChecker: they decide different things, so a goal counts as proved where one of them proves it. */
const engines = ['chc', 'bmc'] as const;

const sourceOf = (path: string): string => readFileSync(path.startsWith('@') ? require.resolve(path) : join(contractsFolder, path), 'utf8');

/** Seconds for one question; what is not decided by then hardly ever is. */
const PATIENCE = 2;

/** What z3 answers to a question in SMT-LIB, the way solc asks it. */
function solve(query: string): { readonly contents: string } {
  try {
    return { contents: execFileSync('z3', ['-smt2', '-in', `-T:${PATIENCE}`], { input: query, encoding: 'utf8', stdio: 'pipe' }) };
  } catch (error) {
    // z3 exits with an error where solc asks for a model and there is none; its answer is good all the same.
    const answer = (error as { readonly stdout?: unknown }).stdout;
    return { contents: typeof answer === 'string' && /^(?:sat|unsat|unknown)/.test(answer) ? answer : 'unknown\n' };
  }
}

/** What `engine` says about every goal. */
function check(engine: (typeof engines)[number]): readonly Message[] {
  const solc = require('solc') as { compile(input: string, callbacks: object): string };
  const modelChecker = {
    engine,
    solvers: ['smtlib2'],
    targets: ['assert', 'underflow', 'overflow', 'divByZero'],
    showUnproved: true,
    showProvedSafe: true,
    contracts: { [proofFile]: ['Arithmetic'] },
  };
  const settings = { modelChecker, outputSelection: { '*': { '*': ['abi'] } } };
  const input = { language: 'Solidity', sources: { [proofFile]: { content: sourceOf(proofFile) } }, settings };
  const callbacks = { import: (path: string) => ({ contents: sourceOf(path) }), smtSolver: solve };
  const output = JSON.parse(solc.compile(JSON.stringify(input), callbacks)) as { readonly errors?: readonly Message[] };
  const messages = output.errors ?? [];
  const broken = messages.find(({ severity }) => severity === 'error');
  if (broken !== undefined) throw new Error(broken.message);
  return messages;
}

/** Goals by place and kind, from what the engines say of them. */
function goalsOf(messages: readonly Message[]): Map<string, Goal> {
  const goals = new Map<string, Goal>();
  for (const { message, sourceLocation } of messages) {
    const said = /^(?:CHC|BMC): (.+?) (check is safe|might happen here|happens here)/.exec(message);
    const [, what, verdict] = said ?? [];
    if (what === undefined || sourceLocation === undefined) continue;
    const { file, start } = sourceLocation;
    const key = `${file}:${start}:${what}`;
    const line = Buffer.from(sourceOf(file)).subarray(0, start).toString('latin1').split('\n').length;
    const goal = goals.get(key) ?? { what, file, line, proved: false, violated: false };
    if (verdict === 'check is safe') goal.proved = true;
    if (verdict === 'happens here') goal.violated = true;
    goals.set(key, goal);
  }
  return goals;
}

if (spawnSync('z3', ['--version']).status !== 0) {
  process.stderr.write('the program z3 is not installed; nothing was proved\n');
  process.exitCode = 2;
} else {
  const goals = [...goalsOf(engines.flatMap(check)).values()];
  const violated = goals.filter((goal) => goal.violated);
  const open = goals.filter((goal) => !goal.proved && !goal.violated);
  const list = (title: string, some: readonly Goal[]): string =>
    some.length === 0 ? '' : `${title}:\n${some.map(({ file, line, what }) => `  ${file}:${line} ${what}\n`).join('')}`;
  process.stdout.write(`${goals.filter((goal) => goal.proved).length} of ${goals.length} goals proved\n`);
  process.stdout.write(list('counterexample found', violated) + list('not decided', open));
  process.exitCode = violated.length > 0 ? 1 : 0;
}
