/**
 * PyTorch, NumPy and OpenBLAS as peers, each in a Python process that takes turns with ours (`bench/python/peer.py`).
 *
 * Debian's OpenBLAS 0.3.21 does not know newer processors and then takes its AVX2 kernels although there is AVX-512; there is a second
 * process, in which it is told to take those, so that the comparison is with the best that is installed and not with a wrong guess.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Candidate } from './alternate.ts';
import { type Answer, type LineChild, startLineChild } from './line-child.ts';

export interface PythonPeer {
  /** `''`, or what is special about the process, put after the names of its libraries. */
  readonly suffix: string;
  readonly about: Answer;
  readonly hasTorch: boolean;
  ask(request: Answer): Promise<Answer>;
  /** Somebody to measure: what `prepare` of `peer.py` makes of `request`. */
  candidate(name: string, request: Answer): Promise<Candidate>;
  /** Losses before the first `count` steps of what `prepare` makes of `request`. */
  losses(request: Answer, count: number): Promise<number[]>;
  close(): Promise<void>;
}

const script = fileURLToPath(new URL('../python/peer.py', import.meta.url));

function imports(python: string, module: string): boolean {
  try {
    execFileSync(python, ['-c', `import ${module}`], { stdio: 'ignore', timeout: 60_000 });
    return true;
  } catch {
    return false;
  }
}

/** The first Python that has PyTorch, else the first that has NumPy. MUSTER_BENCH_PYTHON names another. */
function findPython(): string | null {
  const named = process.env['MUSTER_BENCH_PYTHON'];
  const candidates = named === undefined ? ['/usr/bin/python3', 'python3'] : [named];
  return candidates.find((python) => imports(python, 'torch')) ?? candidates.find((python) => imports(python, 'numpy')) ?? null;
}

let python: string | null | undefined;

function hasAvx512(): boolean {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8').includes('avx512f');
  } catch {
    return false;
  }
}

function wrap(child: LineChild, about: Answer, suffix: string): PythonPeer {
  return {
    suffix,
    about,
    hasTorch: typeof about['torch'] === 'string',
    ask: (request) => child.ask(request),
    async candidate(name, request) {
      const { task } = await child.ask({ do: 'prepare', ...request });
      return {
        name: `${name}${suffix}`,
        async block(milliseconds, least) {
          const { times } = await child.ask({ do: 'block', task, milliseconds, least });
          return times as number[];
        },
        release: async () => void (await child.ask({ do: 'release', task })),
      };
    },
    async losses(request, count) {
      const { task } = await child.ask({ do: 'prepare', ...request });
      const losses: number[] = [];
      while (losses.length < count) {
        const { result } = await child.ask({ do: 'block', task, milliseconds: 0, least: 1 });
        losses.push(Number(result));
      }
      await child.ask({ do: 'release', task });
      return losses;
    },
    close: () => child.close(),
  };
}

/** One Python peer with `threads` threads, or why there is none. `kernels` names the kernels that OpenBLAS is to take. */
export async function startPython(threads: number, kernels: string | null = null): Promise<PythonPeer | string> {
  python ??= findPython();
  if (python === null) return 'missing: python3 with torch or numpy (Debian: python3-torch)';
  const count = String(threads);
  const child = startLineChild(python, ['-B', script], {
    OMP_NUM_THREADS: count,
    OPENBLAS_NUM_THREADS: count,
    ...(kernels === null ? {} : { OPENBLAS_CORETYPE: kernels }),
  });
  try {
    return wrap(child, await child.ask({ do: 'describe' }), kernels === null ? '' : ` (OpenBLAS ${kernels})`);
  } catch (error) {
    await child.close();
    return `missing: ${(error as Error).message}`;
  }
}

/** The Python peers with `threads` threads: as installed, and with OpenBLAS's AVX-512 kernels where it would not take them itself. */
export async function startPythons(threads: number): Promise<{ readonly peers: readonly PythonPeer[]; readonly missing: string | null }> {
  const plain = await startPython(threads);
  if (typeof plain === 'string') return { peers: [], missing: plain };
  const chosen = String(plain.about['blas']);
  if (!hasAvx512() || !/kernels (Haswell|Zen)/.test(chosen)) return { peers: [plain], missing: null };
  const forced = await startPython(threads, 'SkylakeX');
  return { peers: typeof forced === 'string' ? [plain] : [plain, forced], missing: null };
}
