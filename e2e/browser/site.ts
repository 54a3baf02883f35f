/**
 * Builds the page with Vite into a temporary folder and serves it on loopback, with the vectors and the blocks that it fetches.
 *
 * The headers isolate the page (COOP and COEP), without which browsers offer no shared memory.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

export interface Site {
  readonly url: string;
  /** Characters of the scripts of page and worker. */
  readonly scriptLength: number;
  /** Modules that the scripts were made of, and other scripts that they import. */
  readonly modules: readonly string[];
  close(): Promise<void>;
}

/** What the bundler says of a file it writes; an asset has none of these. */
interface Emitted {
  readonly isEntry?: boolean;
  readonly code?: string;
  readonly modules?: object;
  readonly imports?: readonly string[];
  readonly dynamicImports?: readonly string[];
}

const types: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json' };

/** Starts the site; `blocks` by content id. Throws what Vite throws for a page that does not build. */
export async function startSite(blocks: ReadonlyMap<string, Uint8Array>): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-page-'));
  const modules = new Set<string>();
  let scriptLength = 0;
  // The scripts that pages and workers start with. Vite also writes what nothing that is left imports.
  const record = {
    name: 'record-modules',
    generateBundle(_: unknown, bundle: Readonly<Record<string, Emitted>>) {
      for (const { isEntry, code, modules: parts, imports, dynamicImports } of Object.values(bundle)) {
        if (isEntry !== true) continue;
        scriptLength += code?.length ?? 0;
        for (const name of [...Object.keys(parts ?? {}), ...(imports ?? []), ...(dynamicImports ?? [])]) modules.add(name);
      }
    },
  };
  // The tracer says of itself that loading it has effects; nothing that a tab runs needs them.
  const rolldownOptions = { treeshake: { moduleSideEffects: (id: string) => !id.includes('/@jax-js/') } };
  await build({
    root: fileURLToPath(new URL('.', import.meta.url)),
    configFile: false,
    logLevel: 'error',
    plugins: [record],
    worker: { format: 'es', plugins: () => [record], rolldownOptions },
    build: { outDir: folder, emptyOutDir: true, target: 'es2024', minify: false, modulePreload: false, rolldownOptions },
  });
  const vectors = fileURLToPath(new URL('../../vectors/engine/', import.meta.url));

  async function bytesOf(path: string): Promise<Uint8Array> {
    const name = basename(path);
    if (path.startsWith('/blocks/')) {
      const block = blocks.get(name);
      if (block === undefined) throw new Error('no such block');
      return block;
    }
    if (path.startsWith('/vectors/')) return await readFile(join(vectors, name));
    return await readFile(path === '/' ? join(folder, 'index.html') : join(folder, path.startsWith('/assets/') ? 'assets' : '.', name));
  }

  async function respond(path: string, response: ServerResponse): Promise<void> {
    try {
      const bytes = await bytesOf(path);
      response.writeHead(200, {
        'content-type': types[path === '/' ? '.html' : extname(path)] ?? 'application/octet-stream',
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-embedder-policy': 'require-corp',
      });
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  }

  const server = createServer((request, response) => void respond(new URL(request.url ?? '/', 'http://localhost').pathname, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    scriptLength,
    modules: [...modules],
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
