import {
  didHashOf,
  encodeOrder,
  encodeSignedOrder,
  type IdentityContracts,
  type IdentityOrder,
  type OrderTerms,
  signOrder,
} from '@muster/adapters';
import { type Address, MusterError, type Root } from '@muster/protocol';
import * as fc from 'fast-check';
import { getAddress, hashTypedData, type Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openConnection } from '../../packages/adapters/src/evm/contracts/connection.ts';
import { arthaDIDRegistryAbi } from '../../packages/adapters/src/evm/generated/index.ts';
import { compile } from '../build.ts';
import { create, execute, refusal, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';
import { creation, deliver, deployIdentity, deployPair, forward, forwardRequest, type Identity } from './identity.ts';

let chain: TestChain;
let identity: Identity;
beforeAll(async () => {
  chain = await startTestChain();
  identity = await deployIdentity(chain);
});
afterAll(() => chain.close());

const accountOf = (index: number): Address => privateKeyToAccount(chain.keyOf(index)).address.toLowerCase() as Address;
/** A DID of actor `index` whose keys belong to `label`. */
const made = async (index: number, label: string): Promise<Root> => (await identity.self(index).send(creation(label))).id;
const rotation = (didHash: Root, auth: string, enc: string): IdentityOrder => ({
  order: 'rotateKeys',
  didHash,
  authKey: rootOf(`auth ${auth}`),
  encKey: rootOf(`enc ${enc}`),
});

test('a DID is the hash of its first key and account, which alone can register it, once', async () => {
  const alice = identity.self(1);
  const order = creation('created', rootOf('about'));
  const didHash = didHashOf(order.authKey, alice.account);
  expect(await alice.document(didHash)).toBeNull();
  const { id, block } = await alice.send(order);
  expect(id).toBe(didHash);
  const time = await identity.time();
  const { authKey, encKey } = order;
  const document = { didHash, owner: alice.account, authKey, encKey, metaCid: rootOf('about') };
  const versioned = { ...document, createdAt: time, updatedAt: time, version: 1, revoked: false };
  expect(await alice.document(didHash)).toEqual(versioned);
  expect(await alice.history(didHash)).toEqual([{ change: 'created', block, document: versioned }]);
  expect(await refusal(alice.send(order))).toEqual({ error: 'DIDAlreadyRegistered', didHash });
  // Somebody who copies the transaction gets another DID, which takes nothing from this one.
  const copied = await identity.self(2).send(order);
  expect(copied.id).not.toBe(didHash);
  expect(await alice.document(didHash)).toEqual(versioned);
});

test('keys must be there and differ', async () => {
  const alice = identity.self(1);
  const order = creation('keys');
  expect(await refusal(alice.send({ ...order, authKey: zeroRoot }))).toEqual({ error: 'KeyMissing' });
  expect(await refusal(alice.send({ ...order, encKey: zeroRoot }))).toEqual({ error: 'KeyMissing' });
  const didHash = didHashOf(order.authKey, alice.account);
  const same = { error: 'KeyAlreadyUsed', didHash, key: order.authKey };
  expect(await refusal(alice.send({ ...order, encKey: order.authKey }))).toEqual(same);
});

test('rotation leaves the DID as it is and closes the interval of the old key', async () => {
  const alice = identity.self(1);
  const didHash = await made(1, 'rotating');
  const created = await identity.time();
  await chain.elapse(100);
  await alice.send(rotation(didHash, 'rotating 2', 'rotating'));
  const rotated = await identity.time();
  const now = await alice.document(didHash);
  expect(now).toMatchObject({
    didHash,
    authKey: rootOf('auth rotating 2'),
    encKey: rootOf('enc rotating'),
    version: 2,
    updatedAt: rotated,
  });
  expect(await alice.keyValidity(didHash, rootOf('auth rotating'))).toEqual({
    purpose: 'authentication',
    validFrom: created,
    validUntil: rotated,
  });
  expect(await alice.keyValidity(didHash, rootOf('enc rotating'))).toEqual({ purpose: 'encryption', validFrom: created, validUntil: null });
  expect(await alice.keyValidity(didHash, rootOf('never'))).toBeNull();
  const valid = (key: string, time: number, purpose: 'authentication' | 'encryption' = 'authentication') =>
    alice.keyValidAt(didHash, purpose, rootOf(key), time);
  const asked = [
    valid('auth rotating', created - 1),
    valid('auth rotating', created),
    valid('auth rotating', rotated - 1),
    valid('auth rotating', rotated),
    valid('auth rotating 2', rotated),
    valid('auth rotating 2', rotated, 'encryption'),
    valid('enc rotating', rotated + 1_000_000, 'encryption'),
  ];
  expect(await Promise.all(asked)).toEqual([false, true, true, false, true, false, true]);
  const key = rootOf('auth rotating');
  expect(await refusal(alice.send(rotation(didHash, 'rotating', 'rotating')))).toEqual({ error: 'KeyAlreadyUsed', didHash, key });
  expect(await refusal(alice.send(rotation(didHash, 'rotating 2', 'rotating')))).toEqual({ error: 'KeysUnchanged', didHash });
  expect(await refusal(identity.self(2).send(rotation(didHash, 'x', 'y')))).toEqual({
    error: 'NotDIDOwner',
    didHash,
    caller: accountOf(2),
  });
});

test('every call is taken from the owner’s signature as from the owner', async () => {
  for (const form of ['self', 'relayed'] as const) {
    const [alice, bob] = [identity[form](1), identity[form](2)];
    const { id: didHash } = await alice.send(creation(`by ${form}`));
    await alice.send(rotation(didHash, `by ${form}`, `by ${form} 2`));
    await alice.send(rotation(didHash, `by ${form} 3`, `by ${form} 3`));
    await alice.send({ order: 'updateMetadata', didHash, metaCid: rootOf('metadata') });
    await alice.send({ order: 'changeOwner', didHash, newOwner: bob.account });
    await bob.send({ order: 'acceptOwner', didHash });
    await bob.send({ order: 'updateMetadata', didHash, metaCid: null });
    await bob.send({ order: 'revokeDID', didHash });
    const history = await alice.history(didHash);
    expect(history.map(({ change }) => change)).toEqual([
      'revoked',
      'metadataUpdated',
      'ownerChanged',
      'metadataUpdated',
      'keysRotated',
      'keysRotated',
      'created',
    ]);
    expect(history.map(({ document }) => document.metaCid)).toEqual([
      null,
      null,
      ...[0, 1].map(() => rootOf('metadata')),
      null,
      null,
      null,
    ]);
    const [auth, enc] = [rootOf(`auth by ${form} 3`), rootOf(`enc by ${form} 3`)];
    expect(history[0]?.document).toMatchObject({ owner: bob.account, authKey: auth, encKey: enc, version: 7, revoked: true });
  }
});

test('a DID changes hands only if the new owner takes it', async () => {
  const [alice, bob, carol] = [identity.self(1), identity.self(2), identity.self(3)];
  const didHash = await made(1, 'handed over');
  const accept = { order: 'acceptOwner', didHash } as const;
  const offer = (newOwner: Address) => ({ order: 'changeOwner', didHash, newOwner }) as const;
  expect(await refusal(bob.send(accept))).toEqual({ error: 'NotPendingOwner', didHash, caller: bob.account });
  expect(await refusal(identity.relayed(2).send(accept))).toEqual({
    error: 'NotPendingOwner',
    didHash,
    caller: `0x${'0'.repeat(40)}`,
  });
  await alice.send(offer(bob.account));
  await alice.send(offer(`0x${'0'.repeat(40)}` as Address));
  expect(await refusal(bob.send(accept))).toMatchObject({ error: 'NotPendingOwner' });
  await alice.send(offer(bob.account));
  expect(await refusal(carol.send(accept))).toMatchObject({ error: 'NotPendingOwner', caller: carol.account });
  expect(await alice.document(didHash)).toMatchObject({ owner: alice.account, version: 1 });
  await identity.relayed(2).send(accept);
  expect(await alice.document(didHash)).toMatchObject({ owner: bob.account, didHash, version: 2 });
  expect(await refusal(alice.send({ order: 'revokeDID', didHash }))).toMatchObject({ error: 'NotDIDOwner', caller: alice.account });
  expect(await refusal(bob.send(accept))).toMatchObject({ error: 'NotPendingOwner' });
  // The first owner cannot make it a second time.
  expect(await refusal(alice.send(creation('handed over')))).toEqual({ error: 'DIDAlreadyRegistered', didHash });
});

test('a revoked DID, and one that never was, take no call of any kind', async () => {
  const alice = identity.self(1);
  const didHash = await made(1, 'revoked');
  await alice.send({ order: 'changeOwner', didHash, newOwner: accountOf(2) });
  await alice.send({ order: 'revokeDID', didHash });
  const ended = await identity.time();
  const before = await alice.document(didHash);
  expect(before).toMatchObject({ revoked: true, version: 2, updatedAt: ended });
  const unknown = rootOf('no DID');
  for (const [hash, error] of [
    [didHash, 'DIDRevoked'],
    [unknown, 'DIDUnknown'],
  ] as const) {
    const orders: IdentityOrder[] = [
      rotation(hash, 'later', 'later'),
      { order: 'updateMetadata', didHash: hash, metaCid: rootOf('m') },
      { order: 'changeOwner', didHash: hash, newOwner: accountOf(3) },
      { order: 'acceptOwner', didHash: hash },
      { order: 'revokeDID', didHash: hash },
    ];
    for (const order of orders) {
      for (const by of [identity.self(1), identity.self(2), identity.relayed(1)]) {
        expect(await refusal(by.send(order))).toEqual({ error, didHash: hash });
      }
    }
  }
  expect(await alice.document(didHash)).toEqual(before);
  expect(await alice.document(unknown)).toBeNull();
  expect(await alice.history(unknown)).toEqual([]);
  expect(await alice.keyValidAt(didHash, 'authentication', rootOf('auth revoked'), ended - 1)).toBe(true);
  expect(await alice.keyValidAt(didHash, 'authentication', rootOf('auth revoked'), ended)).toBe(false);
  expect(await alice.keyValidAt(didHash, 'encryption', rootOf('enc revoked'), ended)).toBe(false);
});

/** An order signed as `signing` says, to be delivered to `contracts`. */
async function signed(
  index: number,
  order: IdentityOrder,
  terms: Partial<OrderTerms> = {},
  contracts: IdentityContracts = identity.contracts,
  delivered: { order?: IdentityOrder; contracts?: IdentityContracts; signer?: number } = {},
) {
  const account = privateKeyToAccount(chain.keyOf(index));
  const nonce = terms.nonce ?? (await identity.self(index).nonce('didRegistry', accountOf(index)));
  const complete = { nonce, deadline: terms.deadline ?? BigInt((await identity.time()) + 1000) };
  const signature = await signOrder(account, contracts, order, complete);
  const to = delivered.contracts ?? identity.contracts;
  return encodeSignedOrder(delivered.order ?? order, to, accountOf(delivered.signer ?? index), complete, signature);
}

test('a signed order is delivered by anybody, once, in its time, unchanged', async () => {
  const bob = accountOf(2);
  const order = creation('signed');
  const didHash = didHashOf(order.authKey, bob);
  const nonce = await identity.self(2).nonce('didRegistry', bob);
  const request = await signed(2, order);
  // Cut short, or changed in any field, it is worth nothing.
  const altered = await signed(2, order, {}, identity.contracts, { order: { ...order, encKey: rootOf('enc thief') } });
  expect(await refusal(deliver(chain, 5, altered))).toEqual({ error: 'AuthorizationInvalid', signer: bob });
  const other = await signed(3, order, { nonce }, identity.contracts, { signer: 2 });
  expect(await refusal(deliver(chain, 5, other))).toEqual({ error: 'AuthorizationInvalid', signer: bob });
  const early = await signed(2, order, { nonce: nonce + 1n });
  expect(await refusal(deliver(chain, 5, early))).toEqual({ error: 'InvalidAccountNonce', account: bob, currentNonce: nonce });
  const time = await identity.time();
  const late = await signed(2, order, { deadline: BigInt(time - 1) });
  expect(await refusal(deliver(chain, 5, late))).toMatchObject({ error: 'AuthorizationExpired', deadline: BigInt(time - 1) });

  await deliver(chain, 5, request);
  expect(await identity.self(5).document(didHash)).toMatchObject({ owner: bob, version: 1 });
  expect(await identity.self(5).nonce('didRegistry', bob)).toBe(nonce + 1n);
  expect(await refusal(deliver(chain, 5, request))).toEqual({ error: 'InvalidAccountNonce', account: bob, currentNonce: nonce + 1n });
});

test('a signed order is worth nothing on another chain or for another contract', async () => {
  const { contracts } = identity;
  const order = creation('elsewhere');
  const signer = accountOf(2);
  const nonce = await identity.self(2).nonce('didRegistry', signer);
  const twin = await deployPair(chain, identity.forwarder);
  const signedFor = (where: IdentityContracts) => signed(2, order, { nonce }, where);
  const refused = { error: 'AuthorizationInvalid', signer };
  expect(await refusal(deliver(chain, 2, await signedFor({ ...contracts, chainId: contracts.chainId + 1 })))).toEqual(refused);
  expect(await refusal(deliver(chain, 2, await signedFor(twin)))).toEqual(refused);
  await deliver(chain, 2, await signedFor(contracts));
});

test('a contract account signs by ERC-1271', async () => {
  const { abi, bytecode } = compile('test/helpers').get('SmartAccount') ?? { abi: [], bytecode: '0x' };
  const wallet = await create(chain, 4, { abi, bytecode }, []);
  const { contracts } = identity;
  const order = creation('smart');
  const deadline = BigInt((await identity.time()) + 1000);
  const { authKey, encKey } = order;
  const digest = hashTypedData({
    domain: { name: 'ArthaDIDRegistry', version: '1', chainId: contracts.chainId, verifyingContract: contracts.didRegistry },
    types: {
      CreateDID: [
        { name: 'controller', type: 'address' },
        { name: 'authKey', type: 'bytes32' },
        { name: 'encKey', type: 'bytes32' },
        { name: 'metaCid', type: 'bytes32' },
        { name: 'nonce', type: 'uint256' },
        { name: 'deadline', type: 'uint64' },
      ],
    },
    primaryType: 'CreateDID',
    message: { controller: wallet, authKey, encKey, metaCid: zeroRoot, nonce: 0n, deadline },
  });
  const request = encodeSignedOrder(order, contracts, wallet, { nonce: 0n, deadline }, '0x01');
  expect(await refusal(deliver(chain, 0, request))).toEqual({ error: 'AuthorizationInvalid', signer: wallet });
  await execute(chain, 4, { to: wallet, abi, functionName: 'approve', args: [digest] });
  await deliver(chain, 0, request);
  expect(await identity.self(0).document(didHashOf(authKey, wallet))).toMatchObject({ owner: wallet });
});

test('the forwarder carries calls of an account that has no gas, several in one block', async () => {
  const reader = identity.self(0);
  const order = creation('forwarded');
  const didHash = didHashOf(order.authKey, accountOf(3));
  await forward(identity, 3, [
    order,
    rotation(didHash, 'forwarded 2', 'forwarded'),
    { order: 'updateMetadata', didHash, metaCid: rootOf('m') },
  ]);
  const versions = await reader.history(didHash);
  expect(versions.map(({ change, document }) => [change, document.version])).toEqual([
    ['metadataUpdated', 3],
    ['keysRotated', 2],
    ['created', 1],
  ]);
  expect(new Set(versions.map(({ block }) => block)).size).toBe(1);
  expect(await reader.document(didHash)).toMatchObject({ owner: accountOf(3), version: 3, metaCid: rootOf('m') });
  // A key that came and went in one second was valid at no time.
  expect(await reader.keyValidAt(didHash, 'authentication', rootOf('auth forwarded'), await identity.time())).toBe(false);

  // Whoever is not the forwarder cannot claim to speak for somebody by appending an address.
  const revoke = encodeOrder({ order: 'revokeDID', didHash }, identity.contracts);
  const forged = { ...revoke, data: `${revoke.data}${accountOf(3).slice(2)}` as Hex };
  expect(await refusal(deliver(chain, 5, forged))).toMatchObject({ error: 'NotDIDOwner', caller: accountOf(5) });
  const request = await forwardRequest(identity, 3, revoke);
  expect(request.from.toLowerCase()).toBe(accountOf(3));
});

/** What the registry ought to hold, and the error each order ought to meet. */
class Model {
  readonly dids = new Map<
    Root,
    { owner: Address; pending: Address; auth: Root; enc: Root; meta: Root; version: number; revoked: boolean }
  >();
  readonly keys = new Map<string, { purpose: 'authentication' | 'encryption'; from: number; until: number }>();
  readonly nonces = new Map<Address, bigint>();

  nonce(account: Address): bigint {
    return this.nonces.get(account) ?? 0n;
  }

  /** The error for `order` of `by`, or null. */
  error(order: IdentityOrder, by: Address, relayed: boolean): string | null {
    const used = (didHash: Root, key: Root): boolean => this.keys.has(didHash + key);
    if (order.order === 'createDID') {
      const didHash = didHashOf(order.authKey, by);
      if (this.dids.has(didHash)) return 'DIDAlreadyRegistered';
      return order.encKey === order.authKey ? 'KeyAlreadyUsed' : null;
    }
    if (!('didHash' in order)) throw new Error('not an order for the registry');
    const did = this.dids.get(order.didHash);
    if (did === undefined) return 'DIDUnknown';
    if (did.revoked) return 'DIDRevoked';
    const entitled = order.order === 'acceptOwner' ? did.pending : did.owner;
    if (entitled !== by) {
      if (!relayed || BigInt(entitled) === 0n) return order.order === 'acceptOwner' ? 'NotPendingOwner' : 'NotDIDOwner';
      return this.nonce(entitled) === this.nonce(by) ? 'AuthorizationInvalid' : 'InvalidAccountNonce';
    }
    if (order.order !== 'rotateKeys') return null;
    const { authKey, encKey, didHash } = order;
    if (authKey === did.auth && encKey === did.enc) return 'KeysUnchanged';
    if (authKey !== did.auth && used(didHash, authKey)) return 'KeyAlreadyUsed';
    return encKey !== did.enc && (used(didHash, encKey) || encKey === authKey) ? 'KeyAlreadyUsed' : null;
  }

  apply(order: IdentityOrder, by: Address, relayed: boolean, time: number): void {
    if (relayed) this.nonces.set(by, this.nonce(by) + 1n);
    if (order.order === 'createDID') {
      const { authKey: auth, encKey: enc } = order;
      const didHash = didHashOf(auth, by);
      this.dids.set(didHash, { owner: by, pending: zeroAddress, auth, enc, meta: order.metaCid ?? zeroRoot, version: 1, revoked: false });
      this.keys.set(didHash + auth, { purpose: 'authentication', from: time, until: Infinity });
      this.keys.set(didHash + enc, { purpose: 'encryption', from: time, until: Infinity });
      return;
    }
    const did = 'didHash' in order ? this.dids.get(order.didHash) : undefined;
    if (did === undefined || !('didHash' in order)) throw new Error('an order on nothing');
    const end = (key: Root): void => {
      const validity = this.keys.get(order.didHash + key);
      if (validity !== undefined) validity.until = time;
    };
    if (order.order === 'changeOwner') {
      did.pending = order.newOwner;
      return;
    }
    did.version++;
    if (order.order === 'updateMetadata') did.meta = order.metaCid ?? zeroRoot;
    if (order.order === 'acceptOwner') [did.owner, did.pending] = [did.pending, zeroAddress];
    if (order.order === 'revokeDID') {
      did.revoked = true;
      end(did.auth);
      end(did.enc);
    }
    if (order.order === 'rotateKeys') {
      for (const [key, old, purpose] of [
        [order.authKey, did.auth, 'authentication'],
        [order.encKey, did.enc, 'encryption'],
      ] as const) {
        if (key === old) continue;
        end(old);
        this.keys.set(order.didHash + key, { purpose, from: time, until: Infinity });
      }
      [did.auth, did.enc] = [order.authKey, order.encKey];
    }
  }
}

const zeroAddress = `0x${'0'.repeat(40)}` as Address;
const actors = [3, 4, 5];
const keyPool = [0, 1, 2, 3].map((index) => rootOf(`pool ${index}`));

const kinds = [
  'createDID',
  'rotateKeys',
  'rotateKeys',
  'updateMetadata',
  'changeOwner',
  'acceptOwner',
  'acceptOwner',
  'revokeDID',
] as const;
const steps = fc.record({
  by: fc.constantFrom(...actors),
  relayed: fc.boolean(),
  kind: fc.constantFrom(...kinds),
  which: fc.nat(11),
  authKey: fc.constantFrom(...keyPool),
  encKey: fc.constantFrom(...keyPool),
  account: fc.nat(3),
  meta: fc.nat(2),
});

/** The order of a step, for the accounts there are and the DIDs made by then, or none of them. */
function orderOf(
  step: typeof steps extends fc.Arbitrary<infer S> ? S : never,
  accounts: readonly Address[],
  dids: readonly Root[],
): IdentityOrder {
  const { kind, which, authKey, encKey, account, meta } = step;
  const didHash = dids[which % (dids.length + 1)] ?? rootOf('no DID');
  const metaCid = meta === 0 ? null : rootOf(`meta ${meta}`);
  if (kind === 'createDID') return { order: kind, authKey, encKey, metaCid };
  if (kind === 'rotateKeys') return { order: kind, didHash, authKey, encKey };
  if (kind === 'updateMetadata') return { order: kind, didHash, metaCid };
  if (kind === 'changeOwner') return { order: kind, didHash, newOwner: accounts[account] ?? zeroAddress };
  return { order: kind, didHash };
}

test('after any calls by anybody, in both forms, the registry holds what the model does, and a DID keeps its hash', async () => {
  const accounts = actors.map(accountOf);
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 4, maxLength: 20 }), (history) =>
      chain.reverting(async () => {
        const model = new Model();
        for (const account of accounts) model.nonces.set(account, await identity.self(0).nonce('didRegistry', account));
        for (const step of history) {
          const { by, relayed } = step;
          const order = orderOf(step, accounts, [...model.dids.keys()]);
          const expected = model.error(order, accountOf(by), relayed);
          const sent = (relayed ? identity.relayed(by) : identity.self(by)).send(order);
          const met = await sent.then(
            () => null,
            (error: unknown) => (error instanceof MusterError ? error.details['error'] : error),
          );
          expect(met).toBe(expected);
          if (met === null) model.apply(order, accountOf(by), relayed, await identity.time());
          for (const account of accounts) expect(await identity.self(0).nonce('didRegistry', account)).toBe(model.nonce(account));
        }
        await agrees(model);
      }),
    ),
    { numRuns: 30 },
  );
});

async function agrees(model: Model): Promise<void> {
  const reader = identity.self(0);
  for (const [didHash, did] of model.dids) {
    const { owner, auth: authKey, enc: encKey, version, revoked } = did;
    const metaCid = did.meta === zeroRoot ? null : did.meta;
    const document = await reader.document(didHash);
    expect(document).toMatchObject({ didHash, owner, authKey, encKey, metaCid, version, revoked });
    const versions = await reader.history(didHash);
    expect(versions.map((item) => item.document.version)).toEqual(Array.from({ length: version }, (_, index) => version - index));
    expect(versions[0]?.document).toEqual(document);
    expect(versions.every((item) => item.document.didHash === didHash)).toBe(true);
    // Revoked is the end.
    expect(versions.findIndex((item) => item.document.revoked)).toBe(revoked ? 0 : -1);
    const times = versions.flatMap(({ document: { updatedAt } }) => [updatedAt - 1, updatedAt, updatedAt + 1]);
    for (const key of keyPool) {
      const known = model.keys.get(didHash + key);
      for (const time of times) {
        for (const purpose of ['authentication', 'encryption'] as const) {
          const valid = known?.purpose === purpose && known.from <= time && time < known.until;
          expect(await reader.keyValidAt(didHash, purpose, key, time)).toBe(valid);
        }
      }
    }
  }
}

test('other contracts see who controls a DID, and whether it was one at a time', async () => {
  const { didRegistry: address } = identity.contracts;
  const { client } = openConnection({ transport: chain.transport });
  const contract = { address, abi: arthaDIDRegistryAbi } as const;
  const order = creation('seen');
  const didHash = didHashOf(order.authKey, accountOf(1));
  const seen = async () => ({
    controller: await client.readContract({ ...contract, functionName: 'controllerOf', args: [didHash] }),
    pending: await client.readContract({ ...contract, functionName: 'pendingOwnerOf', args: [didHash] }),
    block: await client.readContract({ ...contract, functionName: 'changedBlockOf', args: [didHash] }),
  });
  const activeAt = (time: number) => client.readContract({ ...contract, functionName: 'activeAt', args: [didHash, BigInt(time)] });
  expect(await client.readContract({ ...contract, functionName: 'didHashOf', args: [order.authKey, accountOf(1)] })).toBe(didHash);
  const nobody = getAddress(zeroAddress);
  expect(await seen()).toEqual({ controller: [nobody, false], pending: nobody, block: 0n });
  expect(await activeAt(await identity.time())).toBe(false);

  const { block } = await identity.self(1).send(order);
  const created = await identity.time();
  await identity.self(1).send({ order: 'changeOwner', didHash, newOwner: accountOf(2) });
  const [alice, bob] = [getAddress(accountOf(1)), getAddress(accountOf(2))];
  expect(await seen()).toEqual({ controller: [alice, true], pending: bob, block: BigInt(block) });
  await identity.self(1).send({ order: 'revokeDID', didHash });
  const ended = await identity.time();
  expect(await seen()).toMatchObject({ controller: [alice, false], pending: nobody });
  expect(await Promise.all([created - 1, created, ended - 1, ended, ended + 1000].map(activeAt))).toEqual([
    false,
    true,
    true,
    false,
    false,
  ]);
});
