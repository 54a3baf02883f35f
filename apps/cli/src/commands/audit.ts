/**
 * `muster audit <job>`: replays a job from a home's store and chain, with no other process needed.
 */
import {
  connectChain,
  inProcessTransport,
  installFastSha256,
  lockHome,
  openEmbeddedChain,
  openFolderStore,
  systemClock,
  verifySignature,
} from '@muster/adapters';
import { createWasmExecutor } from '@muster/engine';
import type { ChainReader } from '@muster/ports';
import { type JobId, MusterError } from '@muster/protocol';
import { auditJob } from '@muster/roles';
import { chainUrl, type HomePaths, type Network, requireNetwork } from '../home.ts';
import { chainFile, genesisOf } from '../processes/chain.ts';
import { createScheduler } from '../runtime.ts';
import type { Context } from './context.ts';

/** Runs the audit and prints it; true if everything holds. */
export async function auditCommand(context: Context, job: JobId): Promise<boolean> {
  const { paths, output } = context;
  installFastSha256();
  const network = await requireNetwork(paths);
  const opened = await openChain(paths, network);
  let bar = output.progress('audit', 1);
  let started = false;
  try {
    const result = await auditJob({
      chain: opened.chain,
      blobs: await openFolderStore(paths.store),
      executor: await createWasmExecutor(),
      verify: verifySignature,
      scheduler: createScheduler(),
      job,
      report: (event, fields) => {
        output.event(event, fields, null);
        if (event !== 'audit.round') return;
        if (!started) bar = output.progress('audit', Number(fields['rounds']));
        started = true;
        bar.update(Number(fields['round']) + 1);
      },
    });
    bar.stop();
    output.line(`audit of job ${job}`);
    output.line(`  tasks executed again       ${result.tasks}`);
    output.line(`  aggregations               ${result.aggregations}`);
    output.line(`  commitments opened         ${result.commitments}`);
    output.line(`  signatures verified        ${result.signatures}`);
    output.line(`  verdicts confirmed         ${result.verdicts}`);
    output.line(`  objects read and hashed    ${result.objects}`);
    const { firstFault } = result;
    const verdict = firstFault === null ? '  everything agrees' : `  FAULT in ${firstFault.object}\n    ${firstFault.problem}`;
    output.event('audit.finished', { ...result }, verdict);
    return result.ok;
  } finally {
    bar.stop();
    await opened.close();
  }
}

/** The chain of a home: its running process, or the chain's own file where none runs. */
async function openChain(paths: HomePaths, network: Network): Promise<{ readonly chain: ChainReader; close(): Promise<void> }> {
  const info = { chainId: network.chainId, contracts: network.contracts };
  let lock: Awaited<ReturnType<typeof lockHome>>;
  try {
    lock = await lockHome(paths.chain);
  } catch (error) {
    if (!(error instanceof MusterError) || error.code !== 'HOME_LOCKED') throw error;
    return { chain: await connectChain({ rpcUrl: chainUrl(network), info }), close: async () => undefined };
  }
  const { organizer, coordinator, validator } = network.accounts;
  const embedded = await openEmbeddedChain({
    path: chainFile(paths),
    chainId: network.chainId,
    genesis: genesisOf([organizer, coordinator, validator]),
    clock: systemClock,
    followMs: null,
  });
  const chain = await connectChain({ transport: inProcessTransport(embedded), info });
  return {
    chain,
    close: async () => {
      await embedded.close();
      lock.release();
    },
  };
}
