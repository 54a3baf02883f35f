import { accessLogHead, encodeOrder, encodeSignedOrder, type IdentityContracts, type IdentityOrder, signOrder } from '@muster/adapters';
import { type Address, bytesToHex, hexToBytes, MusterError, type Root } from '@muster/protocol';
import * as fc from 'fast-check';
import { encodeAbiParameters, keccak256 } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { openConnection } from '../../packages/adapters/src/evm/contracts/connection.ts';
import { contractOf } from '../../packages/adapters/src/evm/identity/orders.ts';
import { dataConsentAbi } from '../../packages/adapters/src/evm/generated/index.ts';
import { refusal, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';
import { creation, deliver, deployIdentity, deployPair, forward, type Identity } from './identity.ts';

let chain: TestChain;
let identity: Identity;
let count = 0;
/** DIDs of actor 1, who owns data, and of actor 2, who wants it. Fresh for each test. */
let ownerDid: Root;
let granteeDid: Root;
beforeAll(async () => {
  chain = await startTestChain();
  identity = await deployIdentity(chain);
});
beforeEach(async () => {
  count++;
  ownerDid = (await identity.self(1).send(creation(`owner ${count}`))).id;
  granteeDid = (await identity.self(2).send(creation(`grantee ${count}`))).id;
});
afterAll(() => chain.close());

const accountOf = (index: number): Address => privateKeyToAccount(chain.keyOf(index)).address.toLowerCase() as Address;
const [datasetCid, purpose] = [rootOf('data set'), rootOf('training')];

async function granting(changed: Partial<IdentityOrder & { order: 'grant' }> = {}): Promise<IdentityOrder & { order: 'grant' }> {
  const expiresAt = (await identity.time()) + 1000;
  return { order: 'grant', datasetCid, ownerDid, granteeDid, purpose, permissionKeyCid: rootOf('wrapped key'), expiresAt, ...changed };
}
const allowed = (time: number, what: Partial<Record<'owner' | 'data' | 'grantee' | 'purpose', Root>> = {}) =>
  identity.self(0).isAllowed(what.owner ?? ownerDid, what.data ?? datasetCid, what.grantee ?? granteeDid, what.purpose ?? purpose, time);
const access = (consentId: Root, what: string): IdentityOrder => ({ order: 'logAccess', consentId, accessCid: rootOf(what) });

test('a consent allows one grantee one purpose with one data set of one owner, from the grant to the expiry', async () => {
  const order = await granting();
  const { id } = await identity.self(1).send(order);
  const { order: _, ...terms } = order;
  const grantedAt = await identity.time();
  const record = { ...terms, consentId: id, grantedAt, revokedAt: null, accessCount: 0, accessHead: zeroRoot };
  expect(await identity.self(0).consent(id)).toEqual(record);
  expect(await Promise.all([grantedAt - 1, grantedAt, order.expiresAt - 1, order.expiresAt].map((time) => allowed(time)))).toEqual([
    false,
    true,
    true,
    false,
  ]);
  for (const what of ['owner', 'data', 'grantee', 'purpose'] as const) {
    expect(await allowed(grantedAt, { [what]: rootOf('other') })).toBe(false);
  }
  // Nobody allows themselves: the owner asked for is another one.
  expect(await allowed(grantedAt, { owner: granteeDid })).toBe(false);
});

test('a grant is refused without data, in the past, for a DID that is not there, by a stranger, and twice', async () => {
  const alice = identity.self(1);
  const nobody = rootOf('no DID');
  expect(await refusal(alice.send(await granting({ datasetCid: zeroRoot })))).toEqual({ error: 'DatasetMissing' });
  const expiresAt = await identity.time();
  expect(await refusal(alice.send(await granting({ expiresAt })))).toMatchObject({ error: 'ExpiryPast', expiresAt: BigInt(expiresAt) });
  expect(await refusal(alice.send(await granting({ ownerDid: nobody })))).toEqual({ error: 'DIDNotActive', didHash: nobody });
  expect(await refusal(alice.send(await granting({ granteeDid: nobody })))).toEqual({ error: 'DIDNotActive', didHash: nobody });
  const stranger = { error: 'NotDIDController', didHash: ownerDid, caller: accountOf(2) };
  expect(await refusal(identity.self(2).send(await granting()))).toEqual(stranger);
  const { id } = await alice.send(await granting({ permissionKeyCid: null }));
  expect(await refusal(alice.send(await granting()))).toEqual({ error: 'ConsentStillLive', consentId: id });
  expect(await alice.consent(id)).toMatchObject({ permissionKeyCid: null });
  expect(await alice.consent(rootOf('none'))).toBeNull();
});

test('a consent taken back ends at once, and may be given again', async () => {
  const [alice, bob] = [identity.self(1), identity.self(2)];
  const { id } = await alice.send(await granting());
  const stranger = { error: 'NotDIDController', didHash: ownerDid, caller: bob.account };
  expect(await refusal(bob.send({ order: 'revokeConsent', consentId: id }))).toEqual(stranger);
  await alice.send({ order: 'revokeConsent', consentId: id });
  const revokedAt = await identity.time();
  expect(await Promise.all([revokedAt - 1, revokedAt].map((time) => allowed(time)))).toEqual([true, false]);
  const revoked = { error: 'ConsentRevokedAt', consentId: id, revokedAt: BigInt(revokedAt) };
  expect(await refusal(alice.send({ order: 'revokeConsent', consentId: id }))).toEqual(revoked);
  expect(await refusal(bob.send(access(id, 'late')))).toEqual(revoked);
  await chain.elapse(100);
  const again = await alice.send(await granting());
  expect(again.id).not.toBe(id);
  const regrantedAt = await identity.time();
  const times = [revokedAt - 1, revokedAt, regrantedAt - 1, regrantedAt];
  expect(await Promise.all(times.map((time) => allowed(time)))).toEqual([true, false, false, true]);
  expect(await alice.grants(ownerDid)).toEqual([again.id, id]);
  expect(await alice.grants(granteeDid)).toEqual([]);
  const { client } = openConnection({ transport: chain.transport });
  const contract = { address: identity.contracts.dataConsent, abi: dataConsentAbi } as const;
  const args = [ownerDid, datasetCid, granteeDid, purpose] as const;
  expect(await client.readContract({ ...contract, functionName: 'consentsFor', args })).toEqual([id, again.id]);
  const unknown = { error: 'ConsentUnknown', consentId: rootOf('none') };
  for (const order of [{ order: 'revokeConsent', consentId: rootOf('none') } as const, access(rootOf('none'), 'x')]) {
    for (const by of [identity.self(1), identity.relayed(1)]) expect(await refusal(by.send(order))).toEqual(unknown);
  }
});

test('the grantee logs accesses while the consent is live, and the owner reads a log that gives the head on chain', async () => {
  const [alice, bob] = [identity.self(1), identity.self(2)];
  const order = await granting();
  const { id } = await alice.send(order);
  expect(await alice.accessLog(id)).toEqual([]);
  expect(await refusal(alice.send(access(id, 'a')))).toEqual({ error: 'NotDIDController', didHash: granteeDid, caller: alice.account });
  expect(await refusal(bob.send({ order: 'logAccess', consentId: id, accessCid: zeroRoot }))).toEqual({ error: 'AccessRecordMissing' });
  await bob.send(access(id, 'first'));
  await identity.relayed(2).send(access(id, 'second'));
  // Two in one transaction: both stand in one block.
  await forward(identity, 2, [access(id, 'third'), access(id, 'third')]);
  const log = await alice.accessLog(id);
  expect(log.map(({ index, accessCid }) => [index, accessCid])).toEqual(
    ['first', 'second', 'third', 'third'].map((what, index) => [index, rootOf(what)]),
  );
  const record = await alice.consent(id);
  expect(record).toMatchObject({ accessCount: 4, accessHead: accessLogHead(id, log) });
  // By hand, as the interface says it.
  let head: Root = zeroRoot;
  for (const { index, accessCid, time } of log) {
    const types = ['bytes32', 'bytes32', 'uint64', 'bytes32', 'uint64'].map((type) => ({ type }));
    head = keccak256(encodeAbiParameters(types, [head, id, BigInt(index), accessCid, BigInt(time)])) as Root;
  }
  expect(record?.accessHead).toBe(head);

  await chain.elapse(1000);
  const expired = { error: 'ConsentExpired', consentId: id, expiresAt: BigInt(order.expiresAt) };
  expect(await refusal(bob.send(access(id, 'late')))).toEqual(expired);
  // Expired, so it may be given again, and the old log stays.
  await alice.send(await granting());
  expect(await alice.accessLog(id)).toEqual(log);
});

test('a revoked DID neither grants nor receives nor logs, but its owner still takes consents back', async () => {
  const [alice, bob] = [identity.self(1), identity.self(2)];
  const { id } = await alice.send(await granting());
  await chain.reverting(async () => {
    const lastAllowed = await identity.time();
    await bob.send({ order: 'revokeDID', didHash: granteeDid });
    const inactive = { error: 'DIDNotActive', didHash: granteeDid };
    expect(await refusal(bob.send(access(id, 'x')))).toEqual(inactive);
    expect(await refusal(identity.relayed(2).send(access(id, 'x')))).toEqual(inactive);
    expect(await refusal(alice.send(await granting({ purpose: rootOf('other') })))).toEqual(inactive);
    expect(await Promise.all([lastAllowed, await identity.time()].map((time) => allowed(time)))).toEqual([true, false]);
  });
  await alice.send({ order: 'revokeDID', didHash: ownerDid });
  const inactive = { error: 'DIDNotActive', didHash: ownerDid };
  expect(await refusal(bob.send(access(id, 'x')))).toEqual(inactive);
  for (const by of [alice, identity.relayed(1)]) {
    expect(await refusal(by.send(await granting({ purpose: rootOf('other') })))).toEqual(inactive);
  }
  expect(await allowed(await identity.time())).toBe(false);
  await alice.send({ order: 'revokeConsent', consentId: id });
});

test('whoever takes a DID over takes its consents over', async () => {
  const [alice, carol] = [identity.self(1), identity.self(3)];
  const { id } = await alice.send(await granting());
  await alice.send({ order: 'changeOwner', didHash: ownerDid, newOwner: carol.account });
  await carol.send({ order: 'acceptOwner', didHash: ownerDid });
  const stranger = { error: 'NotDIDController', didHash: ownerDid, caller: alice.account };
  expect(await refusal(alice.send({ order: 'revokeConsent', consentId: id }))).toEqual(stranger);
  await identity.relayed(3).send({ order: 'revokeConsent', consentId: id });
});

test('signed orders are delivered once, in their time, on their chain, to their contract, unchanged', async () => {
  const account = privateKeyToAccount(chain.keyOf(1));
  const { contracts } = identity;
  const twin = await deployPair(chain, identity.forwarder);
  const order = await granting();
  const nonce = await identity.self(1).nonce('dataConsent', accountOf(1));
  const deadline = BigInt((await identity.time()) + 1000);
  const request = async (where: IdentityContracts, said: IdentityOrder = order, terms = { nonce, deadline }) =>
    encodeSignedOrder(order, contracts, accountOf(1), terms, await signOrder(account, where, said, terms));
  const invalid = { error: 'AuthorizationInvalid', signer: accountOf(1) };
  const other = { ...contracts, chainId: contracts.chainId + 1 };
  expect(await refusal(deliver(chain, 5, await request(other)))).toEqual(invalid);
  expect(await refusal(deliver(chain, 5, await request(twin)))).toEqual(invalid);
  expect(await refusal(deliver(chain, 5, await request(contracts, { ...order, purpose: rootOf('another purpose') })))).toEqual(invalid);
  const late = BigInt((await identity.time()) - 1);
  const expired = await request(contracts, order, { nonce, deadline: late });
  expect(await refusal(deliver(chain, 5, expired))).toMatchObject({ error: 'AuthorizationExpired', deadline: late });
  const good = await request(contracts);
  await deliver(chain, 5, good);
  const [id] = await identity.self(1).grants(ownerDid);
  if (id === undefined) throw new Error('no grant');
  // What was taken back does not come back by repeating the grant.
  await identity.relayed(1).send({ order: 'revokeConsent', consentId: id });
  const replayed = { error: 'InvalidAccountNonce', account: accountOf(1), currentNonce: nonce + 2n };
  expect(await refusal(deliver(chain, 5, good))).toEqual(replayed);

  const fresh = (await identity.self(1).send(order)).id;
  const logging = access(fresh, 'said by another');
  const granteeNonce = await identity.self(2).nonce('dataConsent', accountOf(2));
  const terms = { nonce: granteeNonce, deadline };
  const forged = encodeSignedOrder(logging, contracts, accountOf(2), terms, await signOrder(account, contracts, logging, terms));
  expect(await refusal(deliver(chain, 5, forged))).toEqual({ error: 'AuthorizationInvalid', signer: accountOf(2) });
});

test('bytes that are not the signature of the very order move nothing in either contract', async () => {
  const { contracts } = identity;
  const consentId = (await identity.self(1).send(await granting())).id;
  await identity.self(1).send({ order: 'changeOwner', didHash: ownerDid, newOwner: accountOf(2) });
  const didHash = ownerDid;
  const orders: readonly (readonly [signer: number, order: IdentityOrder])[] = [
    [3, creation('signed by nobody')],
    [1, { order: 'rotateKeys', didHash, authKey: rootOf('a'), encKey: rootOf('e') }],
    [1, { order: 'updateMetadata', didHash, metaCid: rootOf('m') }],
    [1, { order: 'changeOwner', didHash, newOwner: accountOf(5) }],
    [2, { order: 'acceptOwner', didHash }],
    [1, { order: 'revokeDID', didHash }],
    [1, await granting({ purpose: rootOf('other') })],
    [1, { order: 'revokeConsent', consentId }],
    [2, access(consentId, 'x')],
  ];
  const deadline = BigInt((await identity.time()) + 1_000_000);
  const nonceOf = (index: number, order: IdentityOrder): Promise<bigint> =>
    identity.self(index).nonce(contractOf(order, contracts) === contracts.didRegistry ? 'didRegistry' : 'dataConsent', accountOf(index));
  const before = [await identity.self(0).document(didHash), await identity.self(0).consent(consentId)];
  // A good signature with some bit of it turned over, one for a later deadline, or no signature at all.
  const flaws = fc.oneof(
    fc.record({ kind: fc.constant('bit' as const), bit: fc.nat(65 * 8 - 1) }),
    fc.record({ kind: fc.constant('deadline' as const), later: fc.bigInt({ min: 1n, max: 1n << 40n }) }),
    fc.record({ kind: fc.constant('bytes' as const), bytes: fc.uint8Array({ maxLength: 100 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(orders.length - 1), flaws, async (which, flaw) => {
      const [signer, order] = orders[which] ?? [3, creation('signed by nobody')];
      const terms = { nonce: await nonceOf(signer, order), deadline };
      const good = hexToBytes(await signOrder(privateKeyToAccount(chain.keyOf(signer)), contracts, order, terms));
      if (flaw.kind === 'bit') good[flaw.bit >> 3] = (good[flaw.bit >> 3] ?? 0) ^ (1 << (flaw.bit & 7));
      const signature = bytesToHex(flaw.kind === 'bytes' ? flaw.bytes : good);
      const said = flaw.kind === 'deadline' ? { ...terms, deadline: deadline + flaw.later } : terms;
      const request = encodeSignedOrder(order, contracts, accountOf(signer), said, signature);
      expect(await refusal(deliver(chain, 5, request))).toEqual({ error: 'AuthorizationInvalid', signer: accountOf(signer) });
      expect(await nonceOf(signer, order)).toBe(terms.nonce);
    }),
    { numRuns: 60 },
  );
  expect([await identity.self(0).document(didHash), await identity.self(0).consent(consentId)]).toEqual(before);
});

test('the forwarder carries a grant, and nobody else speaks for the owner', async () => {
  const order = await granting();
  await forward(identity, 1, [order]);
  expect(await identity.self(0).grants(ownerDid)).toHaveLength(1);
  const { to, data, valueWei } = encodeOrder(await granting({ purpose: rootOf('other') }), identity.contracts);
  const forged = { to, data: `${data}${accountOf(1).slice(2)}` as const, valueWei };
  const stranger = { error: 'NotDIDController', didHash: ownerDid, caller: accountOf(5) };
  expect(await refusal(deliver(chain, 5, forged))).toEqual(stranger);
});

interface ModelConsent {
  readonly id: Root;
  readonly purpose: Root;
  readonly grantedAt: number;
  readonly expiresAt: number;
  revokedAt: number;
  readonly log: { accessCid: Root; time: number }[];
}

const steps = fc.oneof(
  fc.record({ kind: fc.constant('grant' as const), purpose: fc.nat(1), life: fc.integer({ min: -2, max: 40 }) }),
  fc.record({ kind: fc.constant('revoke' as const), which: fc.nat(7) }),
  fc.record({ kind: fc.constant('access' as const), which: fc.nat(7), what: fc.nat(5) }),
  fc.record({ kind: fc.constant('wait' as const), seconds: fc.integer({ min: 1, max: 30 }) }),
);
const acting = fc.record({ step: steps, by: fc.constantFrom(1, 2, 3), relayed: fc.boolean() });

test('after any grants, revocations, accesses and waits, consents and logs are what the model says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(acting, { minLength: 3, maxLength: 18 }), (history) =>
      chain.reverting(async () => {
        const consents: ModelConsent[] = [];
        const purposes = [rootOf('purpose 0'), rootOf('purpose 1')];
        for (const { step, by, relayed } of history) {
          if (step.kind === 'wait') {
            await chain.elapse(step.seconds);
            continue;
          }
          const before = await identity.time();
          // The clock of the machine has no say in which second a call falls into.
          const time = before + 1;
          await chain.request('evm_setNextBlockTimestamp', [time]);
          const writer = relayed ? identity.relayed(by) : identity.self(by);
          const target = step.kind === 'grant' ? undefined : consents[step.which % (consents.length + 1)];
          const sought = step.kind === 'grant' ? (purposes[step.purpose] ?? purpose) : purpose;
          const order: IdentityOrder =
            step.kind === 'grant'
              ? await granting({ purpose: sought, expiresAt: before + step.life })
              : step.kind === 'revoke'
                ? { order: 'revokeConsent', consentId: target?.id ?? rootOf('none') }
                : access(target?.id ?? rootOf('none'), `access ${step.what}`);
          const result = await writer.send(order).then(
            ({ id }) => ({ id, error: null }),
            (error: unknown) => ({ id: null, error: error instanceof MusterError ? error.details['error'] : error }),
          );
          if (result.error === null) expect(await identity.time()).toBe(time);
          const allowedTo = step.kind === 'access' ? 2 : 1;
          const live = (consent: ModelConsent): boolean => time < consent.expiresAt && time < consent.revokedAt;
          if (step.kind !== 'grant' && target === undefined) expect(result.error).toBe('ConsentUnknown');
          else if (by !== allowedTo) {
            expect(result.error).toBeOneOf(relayed ? ['AuthorizationInvalid', 'InvalidAccountNonce'] : ['NotDIDController']);
          } else if (step.kind === 'grant') {
            const rival = consents.find((consent) => consent.purpose === sought && live(consent));
            expect(result.error).toBe(step.life <= time - before ? 'ExpiryPast' : rival === undefined ? null : 'ConsentStillLive');
            const expiresAt = before + step.life;
            const made = { purpose: sought, grantedAt: time, expiresAt, revokedAt: Infinity, log: [] };
            if (result.id !== null) consents.push({ id: result.id, ...made });
          } else if (target !== undefined && step.kind === 'revoke') {
            expect(result.error).toBe(target.revokedAt === Infinity ? null : 'ConsentRevokedAt');
            if (result.error === null) target.revokedAt = time;
          } else if (target !== undefined && step.kind === 'access') {
            const ended = target.revokedAt === Infinity ? 'ConsentExpired' : 'ConsentRevokedAt';
            expect(result.error).toBe(live(target) ? null : ended);
            if (result.error === null) target.log.push({ accessCid: rootOf(`access ${step.what}`), time });
          }
        }
        const reader = identity.self(0);
        expect(await reader.grants(ownerDid)).toEqual(consents.map(({ id }) => id).reverse());
        const times = consents.flatMap(({ grantedAt, expiresAt, revokedAt }) => [grantedAt - 1, grantedAt, expiresAt, revokedAt]);
        for (const { id, log, ...rest } of consents) {
          expect(await reader.accessLog(id)).toMatchObject(log);
          expect((await reader.consent(id))?.revokedAt ?? Infinity).toBe(rest.revokedAt);
        }
        for (const time of times.filter(Number.isFinite)) {
          for (const sought of purposes) {
            const expected = consents.some(
              (consent) => consent.purpose === sought && consent.grantedAt <= time && time < consent.expiresAt && time < consent.revokedAt,
            );
            expect(await allowed(time, { purpose: sought })).toBe(expected);
          }
        }
      }),
    ),
    { numRuns: 30 },
  );
});
