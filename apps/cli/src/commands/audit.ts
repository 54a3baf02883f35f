/**
 * `muster audit <job>`: replays a job from a home's store and chain, with no other process needed or believed.
 *
 * First every block of the chain's file is executed again; the job is then read from what that gave, whether or not a chain process runs.
 */
import {
  executorFromEnvironment,
  type ChainReport,
  connectChain,
  inProcessTransport,
  installFastSha256,
  openFolderStore,
  openVerifiedChain,
  verifyDeployment,
  verifySignature,
} from '@muster/adapters';
import type { ChainReader } from '@muster/ports';
import { type JobId, MusterError } from '@muster/protocol';
import { auditJob, type AuditResult } from '@muster/roles';
import { type HomePaths, requireNetwork } from '../home.ts';
import { costLimits } from '../machine.ts';
import type { Output } from '../output.ts';
import { chainFile, genesisOf } from '../processes/chain.ts';
import { createScheduler } from '../runtime.ts';
import type { Context } from './context.ts';

/** Runs the audit and prints it; true if everything holds. */
export async function auditCommand(context: Context, job: JobId): Promise<boolean> {
  const { paths, output } = context;
  installFastSha256();
  let opened: OpenedChain;
  try {
    opened = await openChain(paths, output);
  } catch (error) {
    if (!(error instanceof MusterError) || error.code !== 'AUDIT_FAILED') throw error;
    const { object, problem } = error.details;
    return finish(output, { ...nothingAudited, job, firstFault: { object: String(object), problem: String(problem) } });
  }
  let bar = output.progress('audit', 1);
  let started = false;
  try {
    const executor = await executorFromEnvironment(process.env);
    const result = await auditJob({
      chain: opened.chain,
      blobs: await openFolderStore(paths.store),
      executor,
      limits: costLimits(executor),
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
    output.line(`  chain blocks executed again ${opened.report.blocks}`);
    output.line(`  tasks executed again        ${result.tasks}`);
    output.line(`  aggregations                ${result.aggregations}`);
    output.line(`  commitments opened          ${result.commitments}`);
    output.line(`  signatures verified         ${result.signatures}`);
    output.line(`  verdicts confirmed          ${result.verdicts}`);
    output.line(`  objects read and hashed     ${result.objects}`);
    return finish(output, result);
  } finally {
    bar.stop();
    await opened.close();
  }
}

/** What is printed where the chain's own record does not hold: nothing built on it was looked at. */
const nothingAudited = { ok: false, tasks: 0, aggregations: 0, objects: 0, signatures: 0, commitments: 0, verdicts: 0 } as const;

function finish(output: Output, result: AuditResult): boolean {
  const { firstFault } = result;
  const verdict = firstFault === null ? '  everything agrees' : `  FAULT in ${firstFault.object}\n    ${firstFault.problem}`;
  output.event('audit.finished', { ...result }, verdict);
  return result.ok;
}

export interface OpenedChain {
  readonly chain: ChainReader;
  readonly report: ChainReport;
  close(): Promise<void>;
}

/** The chain of a home, as executing its recorded blocks again gives it. Throws AUDIT_FAILED where the record says anything else. */
export async function openChain(paths: HomePaths, output: Output): Promise<OpenedChain> {
  const { chainId, contracts, accounts } = await requireNetwork(paths);
  let bar = output.progress('chain', 1);
  let started = false;
  try {
    const { report, chain } = await openVerifiedChain(chainFile(paths), {
      chainId,
      genesis: await genesisOf(accounts),
      onProgress: (blocks, ofBlocks) => {
        if (!started) bar = output.progress('chain', ofBlocks);
        started = true;
        bar.update(blocks);
      },
    });
    output.event('audit.chain', { ...report }, null);
    const info = { chainId, contracts };
    const transport = inProcessTransport(chain);
    try {
      await verifyDeployment({ transport }, info);
      return { report, chain: await connectChain({ transport, info }), close: () => chain.close() };
    } catch (error) {
      await chain.close();
      throw error;
    }
  } finally {
    bar.stop();
  }
}
