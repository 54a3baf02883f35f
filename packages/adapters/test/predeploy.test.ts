import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import * as fc from 'fast-check';
import { encodeFunctionData, type Hex, pad } from 'viem';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Address, encodeHyperParameters } from '@muster/protocol';
import { canonicalGenesis, type GenesisAccount, identityOf, type StorageWord } from '../src/evm/embedded/genesis.ts';
import { type EmbeddedChain, openEmbeddedChain } from '../src/evm/embedded/index.ts';
import { trainRequestAddress, trainRequestGenesis } from '../src/evm/embedded/predeploy.ts';
import { planContracts } from '../src/evm/contracts/catalogue.ts';
import { deployContracts } from '../src/evm/contracts/deploy.ts';
import { aiJobManagerAbi, trainRequestAbi, trainRequestBytecode } from '../src/evm/generated/index.ts';
import { inProcessTransport } from '../src/evm/in-process.ts';
import { openVerifiedChain, verifyChainFile } from '../src/evm/verify/index.ts';
import { CHAIN_ID, ETHER, openTestChain, publicClient, RICH, testAccount, walletClient } from './embedded-chain-helpers.ts';

const [jobManager, forwarder, coordinator, validator] = [11, 12, 13, 14].map((index) => testAccount(index).address) as [
  Address,
  Address,
  Address,
  Address,
];
const configuration = {
  jobManager,
  forwarder,
  owner: RICH[0]!.address as Address,
  coordinator,
  validator,
};
const constructorArgs = Object.values(configuration) as [Address, Address, Address, Address, Address];
const people: GenesisAccount[] = RICH.map(({ address }) => ({ address, balanceWei: 1000n * ETHER }));
const lower = (address: string): Address => address.toLowerCase() as Address;
const slotOf = (slot: number): Hex => pad(`0x${slot.toString(16)}`, { size: 32 });
const call = (functionName: 'setOperator' | 'transferOwnership', args: readonly [Address, Address] | readonly [Address]): Hex =>
  encodeFunctionData({ abi: trainRequestAbi, functionName, args });

let folder: string;
let predeploy: GenesisAccount;
beforeAll(async () => {
  predeploy = await trainRequestGenesis(configuration);
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-predeploy-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('TRAIN_REQUEST at 0x14', () => {
  let chain: EmbeddedChain;
  beforeAll(async () => {
    chain = await openTestChain({ genesis: { accounts: [...people, predeploy] } });
  });
  afterAll(() => chain.close());

  test('it has the code and the storage that its constructor leaves at an ordinary address', async () => {
    const client = publicClient(chain);
    const hash = await walletClient(chain, RICH[1]!).deployContract({
      abi: trainRequestAbi,
      bytecode: trainRequestBytecode,
      args: constructorArgs,
    });
    const { contractAddress } = await client.getTransactionReceipt({ hash });
    const ordinary = contractAddress!;
    expect(await client.getCode({ address: trainRequestAddress })).toBe(await client.getCode({ address: ordinary }));
    for (let slot = 0; slot < 8; slot++) {
      const word = await client.getStorageAt({ address: trainRequestAddress, slot: slotOf(slot) });
      expect(word, `slot ${slot}`).toBe(await client.getStorageAt({ address: ordinary, slot: slotOf(slot) }));
    }
  });

  test('it knows its configuration from the first block on', async () => {
    const client = publicClient(chain);
    const read = (functionName: 'jobManager' | 'trustedForwarder' | 'owner' | 'coordinator' | 'validator') =>
      client.readContract({ abi: trainRequestAbi, address: trainRequestAddress, functionName, blockNumber: 0n });
    expect(await read('jobManager')).toBe(configuration.jobManager);
    expect(await read('trustedForwarder')).toBe(configuration.forwarder);
    expect(await read('owner')).toBe(configuration.owner);
    expect(await read('coordinator')).toBe(configuration.coordinator);
    expect(await read('validator')).toBe(configuration.validator);
  });
});

describe('a chain file with predeployed code and storage', () => {
  const options = { chainId: CHAIN_ID, genesis: { accounts: [] as GenesisAccount[] } };
  beforeAll(() => {
    options.genesis.accounts = [...people, predeploy];
  });

  async function record(path: string): Promise<void> {
    const chain = await openTestChain({ path, genesis: options.genesis });
    const owner = walletClient(chain, RICH[0]!);
    for (const data of [
      call('setOperator', [RICH[1]!.address as Address, RICH[2]!.address as Address]),
      call('transferOwnership', [jobManager]),
    ]) {
      await owner.sendTransaction({ to: trainRequestAddress, data });
    }
    await chain.close();
  }

  test('continues after it was closed, with what changed and what did not', async () => {
    const path = join(folder, 'chain.sqlite');
    await record(path);
    const chain = await openTestChain({ path, genesis: options.genesis });
    const client = publicClient(chain);
    const at = (slot: number) => client.getStorageAt({ address: trainRequestAddress, slot: slotOf(slot) });
    expect(await at(0)).toBe(pad(jobManager.toLowerCase() as Hex));
    expect(await at(2)).toBe(pad(jobManager.toLowerCase() as Hex));
    expect(await at(3)).toBe(pad(RICH[1]!.address.toLowerCase() as Hex));
    await chain.close();
  });

  test('is verified by executing it again, and the rebuilt record answers from that storage', async () => {
    const path = join(folder, 'chain.sqlite');
    await record(path);
    const { report, chain } = await openVerifiedChain(path, options);
    expect(report).toMatchObject({ transactions: 2, logs: 2 });
    const coordinatorNow = await publicClient(chain).readContract({
      abi: trainRequestAbi,
      address: trainRequestAddress,
      functionName: 'coordinator',
    });
    expect(coordinatorNow).toBe(RICH[1]!.address);
    await chain.close();
  });

  test('is refused where the genesis expected has no predeploy, other code or one other word of storage', async () => {
    const path = join(folder, 'chain.sqlite');
    await record(path);
    const words = predeploy.storage!;
    const others: GenesisAccount[][] = [
      people,
      [...people, { ...predeploy, code: `${predeploy.code!}00` }],
      [...people, { ...predeploy, balanceWei: 1n }],
      [...people, { ...predeploy, storage: words.slice(1) }],
      ...words.map(([slot], index) => [
        ...people,
        { ...predeploy, storage: words.map((word, other) => (other === index ? ([slot, pad('0x99', { size: 32 })] as const) : word)) },
      ]),
    ];
    for (const accounts of others) {
      await expect(verifyChainFile(path, { chainId: CHAIN_ID, genesis: { accounts } })).rejects.toMatchObject({
        code: 'AUDIT_FAILED',
        details: { object: 'block 0' },
      });
      await expect(openTestChain({ path, genesis: { accounts } })).rejects.toMatchObject({ code: 'FIELD_INVALID' });
    }
  });

  test('is refused where a stored word of the predeploy was changed in the file', async () => {
    const path = join(folder, 'chain.sqlite');
    await record(path);
    const copy = join(folder, 'changed.sqlite');
    await copyFile(path, copy);
    const database = new DatabaseSync(copy);
    // In the file the word stands with its leading zeros cut off; what follows it is not part of a node.
    const change = database.prepare("UPDATE nodes SET value = CAST(value || x'00' AS BLOB) WHERE instr(hex(value), ?) > 0");
    const { changes } = change.run(validator.slice(2).toUpperCase());
    database.close();
    expect(Number(changes)).toBeGreaterThan(0);
    await expect(verifyChainFile(copy, options)).rejects.toMatchObject({ code: 'AUDIT_FAILED' });
  });
});

describe('a network whose job manager knows TRAIN_REQUEST at 0x14 before it exists', () => {
  const privateKey: Hex = `0x${'1'.padStart(64, '0')}`;
  const [deployer, requester] = [RICH[0]!, RICH[1]!];
  const settings = { owner: lower(deployer.address), coordinator: lower(RICH[2]!.address), validator: lower(RICH[3]!.address) };
  const planned = planContracts(lower(deployer.address), 0, { trainRequest: trainRequestAddress });
  const hyperParameters = encodeHyperParameters({
    version: 1,
    tasks: 1,
    redundancy: 1,
    localSteps: 1,
    batchSize: 1,
    learningRate: 1_000_000,
    optimizer: 'sgd',
    strategy: 'fedavg',
    jobKind: 'singleNode',
    settlement: 'direct',
    rewardModel: 'perRound',
    gpuSecondsPerTask: 0,
    bonusBasisPoints: 0,
    targetGainBasisPoints: 0,
    roundTimeout: 3600,
    seed: 1n,
  });

  test('takes a request there, escrows its budget, gives it back, and all of it is verified again', async () => {
    const account = await trainRequestGenesis({ ...planned, ...settings });
    const genesis = { accounts: [...people, account] };
    const path = join(folder, 'chain.sqlite');
    const chain = await openTestChain({ path, genesis });
    const info = await deployContracts({
      transport: inProcessTransport(chain),
      privateKey,
      existing: { trainRequest: trainRequestAddress },
      ...settings,
      pollMs: 1,
    });
    expect(info.contracts).toEqual(planned);
    const word: Hex = `0x${'5a'.repeat(32)}`;
    const args = [word, word, 2, 1, hyperParameters] as const;
    const client = publicClient(chain);
    const predicted = await client.readContract({
      abi: trainRequestAbi,
      address: trainRequestAddress,
      functionName: 'predictJobId',
      args: [requester.address, ...args],
    });
    const wallet = walletClient(chain, requester);
    const hash = await wallet.writeContract({
      abi: trainRequestAbi,
      address: trainRequestAddress,
      functionName: 'requestTraining',
      args,
      value: ETHER,
    });
    expect((await client.getTransactionReceipt({ hash })).status).toBe('success');
    const manager = { abi: aiJobManagerAbi, address: info.contracts.jobManager } as const;
    expect(await client.readContract({ ...manager, functionName: 'job', args: [predicted] })).toMatchObject({
      owner: requester.address,
      coordinator: RICH[2]!.address,
      validator: RICH[3]!.address,
      budget: ETHER,
    });
    await wallet.writeContract({ ...manager, functionName: 'cancelJob', args: [predicted] });
    expect(await client.readContract({ ...manager, functionName: 'credits', args: [requester.address] })).toBe(ETHER);
    await wallet.writeContract({ ...manager, functionName: 'withdraw' });
    expect(await client.getBalance({ address: requester.address })).toBe(1000n * ETHER);
    await chain.close();
    await verifyChainFile(path, { chainId: CHAIN_ID, genesis });
  });
});

describe('genesis storage', () => {
  const address = RICH[0]!.address;
  const code = '0x600160005260206000f3';
  const one = slotOf(1);
  const identity = (storage: readonly StorageWord[]): string =>
    identityOf(1, canonicalGenesis([{ address, balanceWei: 0n, code, storage }]));

  test('is checked before anything is written', async () => {
    const wrong: GenesisAccount[] = [
      { address, balanceWei: 0n, code, storage: [['0x01', one]] },
      { address, balanceWei: 0n, code, storage: [[one, '0x01']] },
      {
        address,
        balanceWei: 0n,
        code,
        storage: [
          [`0x${'ab'.repeat(32)}`, one],
          [`0x${'AB'.repeat(32)}`, one],
        ],
      },
      { address, balanceWei: 0n, storage: [[one, one]] },
    ];
    for (const account of wrong) {
      const opening = openEmbeddedChain({
        path: join(folder, 'chain.sqlite'),
        chainId: CHAIN_ID,
        genesis: { accounts: [account] },
        clock: { now: () => 0 },
      });
      await expect(opening).rejects.toMatchObject({ code: 'FIELD_INVALID', details: { field: 'storage' } });
    }
  });

  test('has one form whatever the order, the case and the words of zeros it is given in', () => {
    const word = fc.bigInt({ min: 0n, max: (1n << 256n) - 1n }).map((value): Hex => pad(`0x${value.toString(16)}`, { size: 32 }));
    const lists = fc
      .uniqueArray(fc.tuple(word, word), { selector: ([slot]) => slot, maxLength: 8 })
      .chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })));
    fc.assert(
      fc.property(lists, word, ([list, shuffled], unused) => {
        const upper = shuffled.map(([slot, value]): StorageWord => [`0x${slot.slice(2).toUpperCase()}`, value]);
        const zero: StorageWord[] = list.some(([slot]) => slot === unused) ? [] : [[unused, slotOf(0)]];
        expect(identity([...zero, ...upper])).toBe(identity(list));
      }),
      { numRuns: 50 },
    );
  });

  test('does not change how a chain without it calls itself', () => {
    const accounts = canonicalGenesis([{ address, balanceWei: 5n }]);
    expect(identityOf(7, accounts)).toBe(`{"chainId":7,"genesis":[["${address.toLowerCase()}","5",""]]}`);
  });
});
