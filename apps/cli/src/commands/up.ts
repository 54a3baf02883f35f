/**
 * `muster up` and `muster join`: a network, and a trainer in it.
 */
import { join, resolve } from 'node:path';
import { executorFromEnvironment, lockHome } from '@muster/adapters';
import { MusterError } from '@muster/protocol';
import { reasonOf } from '@muster/roles';
import { executorEnvironment, type ExecutorFlags } from '../executor.ts';
import { startNetwork } from '../network.ts';
import { ether, shortId } from '../output.ts';
import { runNodeProcess } from '../processes/node.ts';
import { stopOnSignals } from '../runtime.ts';
import type { Context } from './context.ts';

export interface UpFlags extends ExecutorFlags {
  readonly host: string;
  readonly port: string;
  readonly chainPort: string;
}

export function portOf(option: string, text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new MusterError('USAGE', `${option} must be a port from 0 to 65535`, { option });
  return port;
}

export async function upCommand({ paths, output }: Context, flags: UpFlags): Promise<void> {
  const environment = executorEnvironment(flags, 1);
  await executorFromEnvironment(environment);
  const lock = await lockHome(join(paths.root, 'up'));
  const controller = stopOnSignals();
  const running = await startNetwork({
    paths,
    host: flags.host,
    coordinatorPort: portOf('--port', flags.port),
    chainPort: portOf('--chain-port', flags.chainPort),
    environment,
    onReport: (report, child) => {
      const { event, ...fields } = report;
      output.event(event, { process: child.name, ...fields }, describe(event, fields));
    },
  });
  output.event(
    'network.up',
    { url: running.url, home: paths.root, contracts: running.network.contracts },
    `network up at ${running.url}  (home ${paths.root})\n  join with: muster join ${running.url}`,
  );
  await new Promise<void>((done) => controller.signal.addEventListener('abort', () => done(), { once: true }));
  output.line('stopping');
  await running.stop();
  lock.release();
}

const number = (value: unknown): string => (typeof value === 'number' ? String(value) : '?');

/** One line for people about what a process reports; null for what would only be noise. */
export function describe(event: string, fields: Readonly<Record<string, unknown>>): string | null {
  const node = typeof fields['node'] === 'string' ? shortId(fields['node']) : '';
  const round = `round ${number(fields['round'])}`;
  switch (event) {
    case 'node.joined':
      return `  ${String(fields['role'])} ${node} joined`;
    case 'node.gone':
      return `  ${String(fields['role'])} ${node} is gone`;
    case 'job.adopted':
      return `  job ${shortId(String(fields['job']))} "${String(fields['name'])}"`;
    case 'round.assigned':
      return `  ${round}: ${number(fields['tasks'])} tasks to ${number(fields['nodes'])} nodes`;
    case 'task.reassigned':
      return `  ${round}: task ${number(fields['task'])} slot ${number(fields['slot'])} goes to ${node}`;
    case 'job.waiting':
      return `  ${round}: waiting for trainers, ${number(fields['present'])} of ${number(fields['needed'])} present`;
    case 'verdict.replayed':
      return `  ${round}: task ${number(fields['task'])} had differing or too few results; the validator's verdict was replayed and holds`;
    case 'node.slashed':
      return `  ${round}: ${node} convicted for task ${number(fields['task'])}, stake slashed`;
    case 'round.aggregated': {
      const accuracy = fields['accuracy'];
      const score = typeof accuracy === 'number' ? `, accuracy ${(100 * accuracy).toFixed(2)} %` : '';
      const loss = fields['accuracy'] === null ? ' (no held-out records to evaluate)' : `, loss ${Number(fields['loss']).toFixed(4)}`;
      return `  ${round}: ${number(fields['tasks'])} updates averaged${loss}${score}`;
    }
    case 'submission.refused':
      return `  refused: ${String(fields['code'])} ${typeof fields['kind'] === 'string' ? fields['kind'] : ''} ${node}`;
    case 'assignment.refused':
    case 'duty.failed':
    case 'coordinator.trouble':
    case 'coordinator.fault':
    case 'coordinator.waiting':
    case 'coordinator.unreachable':
    case 'trainer.trouble':
    case 'validator.trouble':
    case 'job.refused':
      return `  ${event}: ${String(fields['reason'])}`;
    case 'node.ready':
      return `  ${String(fields['role'])} ${node} is ready${typeof fields['executor'] === 'string' ? ` (executor ${fields['executor']})` : ''}`;
    case 'stake.short': {
      const [worth, free, missing] = [fields['exposureWei'], fields['freeWei'], fields['missingWei']].map((wei) =>
        ether(BigInt(String(wei))),
      );
      const what = `a result of job ${shortId(String(fields['job']))} is worth ${worth} ether, the node's stake has ${free} free`;
      return `  ${what}: it gets no work of that job until \`muster node top-up ${missing}\``;
    }
    case 'request.specified':
      return `  job ${shortId(String(fields['job']))} was requested, its spec is ${String(fields['spec'])}`;
    case 'request.refused':
      return `  request of job ${shortId(String(fields['job']))} ${fields['again'] === true ? 'waits' : 'refused'}: ${String(fields['reason'])}`;
    case 'task.trained':
      return `  ${round}: task ${number(fields['task'])} trained in ${number(fields['milliseconds'])} ms`;
    default:
      return null;
  }
}

export interface JoinFlags extends ExecutorFlags {
  readonly dishonest?: boolean;
  readonly relay?: boolean;
}

export async function joinCommand({ paths, output }: Context, url: string, flags: JoinFlags): Promise<void> {
  const controller = stopOnSignals();
  if (!URL.canParse(url)) throw new MusterError('USAGE', `not an address: ${url}`, { url });
  const executor = await executorFromEnvironment(executorEnvironment(flags, 'most'));
  await runNodeProcess({
    url: new URL(url).origin,
    home: resolve(paths.root, 'trainer'),
    role: 'trainer',
    executor,
    dishonest: flags.dishonest === true,
    accountKey: null,
    relay: flags.relay === true,
    signal: controller.signal,
    report: (event, fields) => output.event(event, fields, describe(event, fields)),
  });
  output.event('node.left', { url, reason: reasonOf('stopped') }, 'left the network');
}
