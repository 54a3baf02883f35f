/**
 * A node's sign of life on chain, in time: three missed ones cost stake. Not presence at a coordinator, which is asked for every second.
 */
import type { ChainWriter, NodeKey } from '@muster/ports';
import { reasonOf, type Report, type Scheduler } from './link.ts';

/** Half of the hour that the registry allows by default. */
const intervalMs = 30 * 60 * 1000;

export interface HeartbeatOptions {
  readonly chain: ChainWriter;
  readonly key: NodeKey;
  readonly scheduler: Scheduler;
  readonly report: Report;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  /** Null before the chain was asked when the last one was. */
  #dueMs: number | null = null;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** Sends one where half of the time is over. What fails is reported and tried again at the next call. */
  async beat(): Promise<void> {
    const { chain, key, scheduler, report } = this.#options;
    if (this.#dueMs !== null && scheduler.now() < this.#dueMs) return;
    try {
      if (this.#dueMs === null) {
        const node = await chain.node(key.node);
        this.#dueMs = (node?.lastHeartbeat ?? 0) * 1000 + intervalMs;
        if (node === null || scheduler.now() < this.#dueMs) return;
      }
      await chain.send({ call: 'heartbeat', node: key.node });
      this.#dueMs = scheduler.now() + intervalMs;
      report('node.heartbeat', { node: key.node });
    } catch (error) {
      report('node.trouble', { reason: reasonOf(error) });
    }
  }
}
