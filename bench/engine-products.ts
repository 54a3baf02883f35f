/**
 * Suite `engine-products`: float32 matrix products n × n on one thread, the product left where it is. Ours keeps every order and rounding;
 * the others may reorder sums and fuse multiplications with additions.
 */
import { type Array as JaxArray, numpy } from '@jax-js/jax';
import { type Executor, type NamedType, prepareLoop, type Program, type Tensor, traceProgram } from '../packages/engine/src/index.ts';
import { alternate, type Candidate, local, type Measured } from './lib/alternate.ts';
import { type ExecutorName, executorNames, ourExecutor } from './lib/executors.ts';
import { jaxProduct, startJax } from './lib/jax.ts';
import { missingRow, type Row, turnsRow } from './lib/measure.ts';
import { loadOrt, ortProduct } from './lib/ort.ts';
import { startPythons } from './lib/python.ts';
import { loadTf, tfProduct } from './lib/tfjs.ts';

const sizes = [256, 512, 768, 1024, 1536, 2048];

/** (c, a, b) → (a · b). */
function product(...[c, a, b]: JaxArray[]): JaxArray[] {
  c?.dispose();
  return [numpy.dot(a as JaxArray, b as JaxArray)];
}

/** The product takes the place of its first input, so that in a loop it stays in the executor's memory. */
function productProgram(n: number): Program {
  const inputs = ['c', 'a', 'b'].map((name): NamedType => ({ name, dtype: 'float32', shape: [n, n] }));
  return traceProgram('product', product, inputs, ['c']);
}

function factor(n: number, seed: number): Tensor {
  return { dtype: 'float32', shape: [n, n], data: Float32Array.from({ length: n * n }, (_, i) => Math.fround(Math.sin(seed * (i + 1)))) };
}

function ourProduct(name: ExecutorName, executor: Executor, a: Tensor, b: Tensor): Candidate {
  const loop = prepareLoop(executor, productProgram(a.shape[0] as number), 1, 2);
  loop.setState([a]);
  loop.setFixed([a, b]);
  return local(
    name,
    () => loop.step([]),
    () => loop.dispose(),
  );
}

/** What each of ours is measured against, and the least ratio that is asked for. */
const opponents: Readonly<Record<ExecutorName, { readonly target: number; readonly peers: RegExp }>> = {
  native: { target: 1, peers: /^(pytorch|numpy|openblas|onnxruntime)/ },
  wasm: { target: 1.2, peers: /^(jax-js|tfjs-wasm)/ },
};

/** Rows of the suite, each as soon as it is measured. */
export async function* productsSuite(): AsyncGenerator<Row> {
  await startJax();
  const tf = await loadTf();
  const ort = loadOrt();
  const { peers: pythons, missing } = await startPythons(1);
  const executors = new Map<ExecutorName, Executor | string>();
  for (const name of executorNames) executors.set(name, await ourExecutor(name));
  for (const n of sizes) {
    const [a, b] = [factor(n, 1), factor(n, 2)];
    const candidates: Candidate[] = [...executors].flatMap(([name, found]) =>
      typeof found === 'string' ? [] : [ourProduct(name, found, a, b)],
    );
    candidates.push(jaxProduct(a, b));
    if (typeof tf !== 'string') candidates.push(tfProduct(tf, a, b));
    if (typeof ort !== 'string') candidates.push(await ortProduct(ort, n, a.data as Float32Array, b.data as Float32Array));
    for (const python of pythons) {
      for (const library of python.hasTorch ? ['pytorch', 'openblas'] : ['numpy', 'openblas']) {
        candidates.push(await python.candidate(library, { what: 'product', library, n }));
      }
    }
    const large = n >= 1024;
    const measured = await alternate(candidates, { turns: large ? 5 : 9, blockMs: large ? 60 : 40, least: large ? 1 : 3 });
    for (const [name, found] of executors) {
      const title = `matmul ${n}, ${name}, one thread`;
      const ours = measured.find((other) => other.name === name);
      if (ours === undefined || typeof found === 'string') yield missingRow(title, typeof found === 'string' ? found : 'not measured');
      else {
        const { peers, target } = opponents[name];
        const others = measured.filter((other: Measured) => peers.test(other.name));
        const absent: Record<string, string> = {
          ...(name === 'wasm' && typeof tf === 'string' ? { 'tfjs-wasm': tf } : {}),
          ...(name === 'native' && typeof ort === 'string' ? { onnxruntime: ort } : {}),
          ...(name === 'native' && missing !== null ? { pytorch: missing } : {}),
        };
        yield turnsRow(title, 'GFLOP/s', ours, others, (ms) => (2 * n ** 3) / ms / 1e6, absent, target);
      }
    }
  }
  for (const python of pythons) await python.close();
}
