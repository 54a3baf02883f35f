/**
 * Puts the contracts of the catalogue on any EVM chain.
 *
 * They know one another by immutable addresses, worked out from the deployer's nonce beforehand; there is no moment at which anybody could
 * set them, and nobody can change them later. Every creation is signed for its own nonce and, with a journal, written down before it is
 * sent: a deployment that is interrupted anywhere goes on with the same addresses.
 */
import type { ChainInfo } from '@muster/ports';
import { type Address, MusterError } from '@muster/protocol';
import { type Hex, keccak256, parseTransaction, type RpcTransactionReceipt } from 'viem';
import {
  type AddressBook,
  addressBookFile,
  type DeploymentJournal,
  fileJournal,
  publicPartOf,
  readAddressBook,
  writeAddressBook,
} from './address-book.ts';
import { type ContractName, contractNames, creationOf } from './catalogue.ts';
import { confirmationsOf } from './confirmations.ts';
import { chainIdOf } from './connection.ts';
import { verifyCode } from './deployment.ts';
import {
  type DeploymentPlan,
  type DeploymentProgress,
  type DeploymentRun,
  type DeployOptions,
  estimateBySize,
  prepareDeployment,
  withHeadroom,
} from './deployment-plan.ts';
import { requestError } from './errors.ts';
import { include, type SignedTransaction } from './inclusion.ts';
import { type Included, includedBy, signTransaction } from './transactions.ts';

export type { DeploymentPlan, DeploymentProgress, DeployOptions } from './deployment-plan.ts';

/**
 * Deploys what the catalogue lists, or finishes what the journal says was begun. Throws CHAIN_UNREACHABLE, FIELD_INVALID for settings, and
 * CHAIN_REVERTED with `error`: WrongChain, InsufficientFunds (with `neededWei`), DeploymentFailed; DEPLOYMENT_REFUSED: DeployerBusy,
 * DeploymentUnfinished (the journal holds another deployment), DeploymentDisturbed (the account was used by something else: the addresses
 * are lost).
 */
export async function deploy(options: DeployOptions): Promise<AddressBook> {
  const run = await prepareDeployment(options);
  const { connection, plan, state, names, journal } = run;
  const report = async (progress: DeploymentProgress): Promise<void> => await options.onProgress?.(progress);
  await report({ step: 'planned', resumed: run.resumed, ...plan });
  if (plan.balanceWei < plan.costWei) throw insufficientFunds(plan);

  const begun: (readonly Hex[])[] = [...state.begun];
  const save = (): Promise<void> => journal?.write({ ...state, begun }) ?? Promise.resolve();
  await save();
  for (const [position, name] of names.entries()) {
    const address = plan.contracts[name];
    const raws = await signedCreations(run, name, position, begun[position] ?? []);
    begun[position] = raws;
    await save();
    const transaction = keccak256(raws.at(-1) ?? '0x');
    await report({ step: 'sending', name, address, transaction });
    const included = await createdBy(run, name, position, raws, 0);
    await report({ step: 'created', name, address, transaction: included.transaction });
  }
  const depth = await confirmationsOf(connection);
  if (depth > 0) await report({ step: 'settling', confirmations: depth });
  const transactions: Partial<Record<ContractName, AddressBook['transactions'][ContractName]>> = {};
  let block = Number.MAX_SAFE_INTEGER;
  for (const [position, name] of names.entries()) {
    const { transaction, block: found, gasUsed } = await createdBy(run, name, position, begun[position] ?? [], depth);
    transactions[name] = { transaction, block: found, gasUsed };
    block = Math.min(block, found);
  }
  const { chainId, contracts, settings, deployer } = plan;
  const reports = await verifyCode(options, { chainId, contracts }, settings);
  for (const { name, problem } of reports) if (problem !== null) throw failed(name, contracts[name], problem);
  const book: AddressBook = {
    version: 1,
    chainId,
    rpcUrl: 'rpcUrl' in options ? publicPartOf(options.rpcUrl) : null,
    deployer,
    contracts,
    settings,
    confirmations: options.confirmations ?? null,
    block: names.length === 0 ? 0 : block,
    transactions: everyContract((name) => transactions[name] ?? null),
    codeHashes: Object.fromEntries(reports.map(({ name, codeHash }) => [name, codeHash])) as AddressBook['codeHashes'],
  };
  return book;
}

/** `deploy`, for whoever needs only the addresses. */
export async function deployContracts(options: DeployOptions): Promise<ChainInfo> {
  const { chainId, contracts } = await deploy(options);
  return { chainId, contracts };
}

/**
 * `deploy` with a journal in `folder`, and the address book beside it when all is done; `restart` forgets an unfinished one. Throws also
 * DEPLOYMENT_REFUSED (`AlreadyDeployed`) where an address book of the chain is there, unless `restart`.
 */
export async function deployToFolder(folder: string, options: DeployOptions & { readonly restart?: boolean }): Promise<AddressBook> {
  const chainId = await chainIdOf(options);
  const journal = fileJournal(folder, chainId);
  if (options.restart === true) await journal.clear();
  else if ((await readAddressBook(folder, chainId)) !== null) throw alreadyDeployed(addressBookFile(folder, chainId), chainId);
  const book = await deploy({ ...options, chainId: options.chainId ?? chainId, journal });
  await writeAddressBook(folder, book);
  await journal.clear();
  return book;
}

/** What `deploy` would do and cost; nothing is signed or sent. Throws as `deploy`, except for a lack of funds. */
export async function estimateDeployment(options: DeployOptions): Promise<DeploymentPlan> {
  return (await prepareDeployment(options)).plan;
}

/** Nodes take another transaction for the same nonce only with fees an eighth higher. */
const raised = (fee: bigint, old: bigint | undefined): bigint => (old === undefined || fee > old + old / 4n ? fee : old + old / 4n + 1n);

/** The signed creations of a contract so far and, where there is none or the fee of the last has become too low, a new one. */
async function signedCreations(run: DeploymentRun, name: ContractName, position: number, raws: readonly Hex[]): Promise<readonly Hex[]> {
  const { account, plan, state, fees } = run;
  const last = raws.at(-1);
  const before = last === undefined ? null : parseTransaction(last);
  if (before !== null && (before.maxFeePerGas ?? 0n) >= fees.baseFee) return raws;
  const data = creationOf(name, plan.contracts, plan.settings);
  const estimated = run.estimates.get(name) ?? estimateBySize(data);
  const signed = await signTransaction(
    account,
    plan.chainId,
    { to: null, data, valueWei: 0n },
    {
      nonce: state.firstNonce + position,
      gas: before?.gas ?? withHeadroom(estimated) + 50_000n,
      maxFeePerGas: raised(fees.maxFeePerGas, before?.maxFeePerGas),
      maxPriorityFeePerGas: raised(fees.maxPriorityFeePerGas, before?.maxPriorityFeePerGas),
    },
  );
  return [...raws, signed.raw];
}

/** The transaction that created `name`, `depth` deep, whichever of `raws` it was. */
async function createdBy(run: DeploymentRun, name: ContractName, position: number, raws: readonly Hex[], depth: number): Promise<Included> {
  const { connection, plan, state } = run;
  const nonce = state.firstNonce + position;
  const signed = raws.map((raw): SignedTransaction => ({ raw, hash: keccak256(raw), from: plan.deployer, nonce }));
  let receipt: RpcTransactionReceipt | 'superseded' = 'superseded';
  // Only one of them can be in the chain; the newest is the one to send.
  for (const transaction of signed.toReversed()) {
    receipt = await include(connection, `creating ${name}`, transaction, depth);
    if (receipt !== 'superseded') break;
  }
  const address = plan.contracts[name];
  if (receipt === 'superseded') throw disturbed(name, plan.deployer, nonce, run.journal);
  if (receipt.status !== '0x1') throw failed(name, address, await whyFailed(run, name, receipt));
  return includedBy(receipt);
}

async function whyFailed(run: DeploymentRun, name: ContractName, receipt: RpcTransactionReceipt): Promise<string> {
  const { connection, plan } = run;
  const call = { from: plan.deployer, data: creationOf(name, plan.contracts, plan.settings) };
  try {
    await connection.client.request({ method: 'eth_call', params: [call, receipt.blockNumber] });
    return `its creation ran out of gas or failed: ${Number(receipt.gasUsed)} gas used`;
  } catch (error) {
    return requestError('creating', error).message;
  }
}

const everyContract = <T>(value: (name: ContractName) => T): Record<ContractName, T> =>
  Object.fromEntries(contractNames.map((name) => [name, value(name)])) as Record<ContractName, T>;

function insufficientFunds({ deployer, balanceWei, costWei, mostWei }: DeploymentPlan): MusterError {
  const details = { error: 'InsufficientFunds', account: deployer, balanceWei, neededWei: costWei, advisedWei: mostWei };
  return new MusterError(
    'CHAIN_REVERTED',
    `${deployer} has ${balanceWei} wei; the deployment costs about ${costWei} wei now: send it ${mostWei - balanceWei} wei to be on the safe side`,
    details,
  );
}

function disturbed(name: ContractName, account: Address, nonce: number, journal: DeploymentJournal | undefined): MusterError {
  const details = { error: 'DeploymentDisturbed', account, nonce, contract: name };
  const advice = journal === undefined ? 'deploy again' : `begin anew with --restart, which forgets ${journal.place}`;
  return new MusterError(
    'DEPLOYMENT_REFUSED',
    `nonce ${nonce} of ${account} was used by something else before ${name} was created, so the planned addresses are lost: ${advice}`,
    details,
  );
}

function failed(name: ContractName, address: Address, problem: string): MusterError {
  const details = { error: 'DeploymentFailed', contract: name, address, problem };
  return new MusterError('CHAIN_REVERTED', `${name} at ${address}: ${problem}`, details);
}

function alreadyDeployed(file: string, chainId: number): MusterError {
  const details = { error: 'AlreadyDeployed', file, chainId };
  return new MusterError(
    'DEPLOYMENT_REFUSED',
    `${file} already holds contracts on chain ${chainId}: deploy others with --restart`,
    details,
  );
}
