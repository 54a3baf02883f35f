/**
 * A coordinator on loopback with its store, its clock in the test's hand, for the HTTP tests.
 */
import { memoryBlobStore, memoryNonceStore, type NodeKey } from '@muster/ports';
import { type EnvelopeFields, MusterError, sealEnvelope } from '@muster/protocol';
import { type CoordinatorServer, createServer, type RefusedRequest, type ServerOptions } from '../src/http/server.ts';
import { nodeKeyFromSeed, verifySignature } from '../src/node/keys.ts';

export const network = 'eip155:31337:0xabababababababababababababababababababab';
export const key = nodeKeyFromSeed(new Uint8Array(32).fill(1));
export const stranger = nodeKeyFromSeed(new Uint8Array(32).fill(2));

export interface TestNetwork {
  readonly server: CoordinatorServer;
  readonly store: ReturnType<typeof memoryBlobStore>;
  readonly refused: RefusedRequest[];
  readonly faults: unknown[];
  /** Bodies that reached the handler of `echo`. */
  readonly handled: unknown[];
  /** Added to the system's time. */
  skewMs: number;
}

export async function startNetwork(options: Partial<ServerOptions> = {}): Promise<TestNetwork> {
  const store = memoryBlobStore();
  const state = { store, refused: [] as RefusedRequest[], faults: [] as unknown[], handled: [] as unknown[], skewMs: 0 };
  const server = await createServer({
    network,
    store,
    nonces: memoryNonceStore(),
    clock: { now: () => Date.now() + state.skewMs },
    verify: verifySignature,
    authorize: (node) => node === key.node,
    onRefused: (refused) => state.refused.push(refused),
    onFault: (error) => state.faults.push(error),
    signedRoutes: {
      echo: async ({ node, body }) => {
        state.handled.push(body);
        return { node, body };
      },
      nothing: async () => undefined,
      late: async () => {
        throw new MusterError('SUBMISSION_LATE', 'the round is over', { round: 3, weight: 10n });
      },
      broken: async () => {
        throw new TypeError('secret of the inside');
      },
    },
    publicRoutes: {
      'jobs/:job': async ({ job }, query) => ({ job, after: query.get('after'), budgetWei: 10n ** 21n }),
      missing: async () => {
        throw new MusterError('JOB_UNKNOWN', 'no such job', { job: 'x' });
      },
      broken: async () => {
        throw new Error('secret of the inside');
      },
    },
    ...options,
  });
  return Object.assign(state, { server });
}

let nonceCount = 0;

export function fieldsOf(changed: Partial<EnvelopeFields> = {}): EnvelopeFields {
  const nonce = new Uint8Array(16);
  new DataView(nonce.buffer).setUint32(0, ++nonceCount);
  return { kind: 'echo', network, nonce, issuedAtMs: Date.now(), body: null, ...changed };
}

/** POST of `bytes` to /v1/messages. */
export async function post(url: string, bytes: Uint8Array, type = 'application/cbor'): Promise<{ status: number; json: unknown }> {
  const response = await fetch(`${url}/v1/messages`, { method: 'POST', headers: { 'content-type': type }, body: new Uint8Array(bytes) });
  return { status: response.status, json: await response.json() };
}

export async function postSealed(
  url: string,
  signer: NodeKey,
  changed: Partial<EnvelopeFields> = {},
): Promise<{ status: number; json: unknown }> {
  return await post(url, sealEnvelope(signer, fieldsOf(changed)));
}
