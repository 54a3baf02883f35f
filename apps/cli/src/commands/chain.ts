/**
 * `muster chain deploy` and `muster chain status`: the contracts on any EVM chain, and what stands there.
 *
 * What is deployed is kept in the home, `chain/addresses-<chain id>.json`; the key never is.
 */
import { readFile } from 'node:fs/promises';
import {
  type AddressBook,
  type ChainFact,
  chainIdOf,
  type ChainStatus,
  defaultSettings,
  deployToFolder,
  type DeploymentPlan,
  type DeploymentProgress,
  type DeploymentSettings,
  type DeployOptions,
  estimateDeployment,
  readAddressBook,
  readChainStatus,
} from '@muster/adapters';
import type { ChainInfo } from '@muster/ports';
import { type Address, MusterError, parseAddress } from '@muster/protocol';
import { type Command, Option } from 'commander';
import { chainUrl, type HomePaths, readNetwork } from '../home.ts';
import { ether, type Output } from '../output.ts';
import { type Context, contextOf } from './context.ts';

export interface DeployFlags {
  readonly rpc: string;
  readonly key: string;
  readonly owner?: string;
  readonly minStake?: string;
  readonly set: readonly string[];
  readonly chainId?: string;
  readonly confirmations?: string;
  readonly estimate?: boolean;
  readonly restart?: boolean;
}

export interface StatusFlags {
  readonly rpc?: string;
  readonly confirmations?: string;
}

/** Deploys, or finishes what an interrupted run began. */
export async function deployCommand({ paths, output }: Context, flags: DeployFlags): Promise<void> {
  const privateKey = await keyFrom(flags.key);
  const options: DeployOptions = {
    rpcUrl: rpcUrl(flags.rpc),
    privateKey,
    ...settingsFrom(flags),
    ...(flags.chainId === undefined ? {} : { chainId: count('--chain-id', flags.chainId, 1) }),
    ...(flags.confirmations === undefined ? {} : { confirmations: count('--confirmations', flags.confirmations) }),
    onProgress: (progress) => tell(output, progress),
  };
  if (flags.estimate === true) {
    tellPlan(output, await estimateDeployment(options), false);
    return;
  }
  const book = await deployToFolder(paths.chain, { ...options, restart: flags.restart === true });
  const { chainId, contracts, codeHashes, block } = book;
  output.event('chain.deployed', { chainId, block, contracts, codeHashes, file: bookFile(paths, chainId) }, null);
  output.line(`deployed on chain ${chainId} from block ${block} on; the code at every address is this repository's`);
  output.line(`addresses are in ${bookFile(paths, chainId)}`);
}

/** Prints what stands on the chain; false where a contract's code is not this repository's. */
export async function statusCommand({ paths, output }: Context, flags: StatusFlags): Promise<boolean> {
  const { url, info, settings, book } = await whichChain(paths, flags);
  const depth = flags.confirmations === undefined ? (book?.confirmations ?? null) : count('--confirmations', flags.confirmations);
  const status = await readChainStatus({ rpcUrl: url, ...(depth === null ? {} : { confirmations: depth }) }, info, settings);
  output.event('chain.status', { ...status, deployed: book === null ? null : { block: book.block, deployer: book.deployer } }, null);
  printStatus(output, status);
  return status.verified;
}

interface FoundChain {
  readonly url: string;
  readonly info: ChainInfo;
  readonly settings: DeploymentSettings;
  readonly book: AddressBook | null;
}

/** The chain of --rpc or of the home's network, with the contracts that the home knows there. */
async function whichChain(paths: HomePaths, flags: StatusFlags): Promise<FoundChain> {
  const network = await readNetwork(paths);
  if (flags.rpc === undefined && network === null) {
    throw new MusterError('USAGE', `there is no network in ${paths.root}: say which chain with --rpc, or name another --home`, {
      home: paths.root,
    });
  }
  const url = flags.rpc === undefined && network !== null ? chainUrl(network) : rpcUrl(flags.rpc ?? '');
  const chainId = flags.rpc === undefined && network !== null ? network.chainId : await chainIdOf({ rpcUrl: url });
  const book = await readAddressBook(paths.chain, chainId);
  if (network !== null && network.chainId === chainId) {
    const settings = book?.settings ?? defaultSettings(network.accounts.organizer);
    return { url, info: { chainId, contracts: network.contracts }, settings, book };
  }
  if (book === null) {
    throw new MusterError(
      'USAGE',
      `${bookFile(paths, chainId)} is not there: deploy with \`muster chain deploy --rpc ${new URL(url).origin}\``,
      {
        chainId,
        home: paths.root,
      },
    );
  }
  return { url, info: { chainId, contracts: book.contracts }, settings: book.settings, book };
}

const bookFile = (paths: HomePaths, chainId: number): string => `${paths.chain}/addresses-${chainId}.json`;

function rpcUrl(given: string): string {
  if (!URL.canParse(given) || !/^https?:$/.test(new URL(given).protocol)) {
    throw new MusterError('USAGE', '--rpc must be the http or https address of a JSON-RPC endpoint', { option: '--rpc' });
  }
  return given;
}

/** The key in a file, or with `env:NAME` in an environment variable. It is read, and never written or repeated. */
async function keyFrom(source: string): Promise<`0x${string}`> {
  const variable = source.startsWith('env:') ? source.slice('env:'.length) : null;
  let text: string;
  try {
    text = variable === null ? await readFile(source, 'utf8') : (process.env[variable] ?? '');
  } catch (cause) {
    throw new MusterError('USAGE', `--key: ${source} cannot be read`, { option: '--key' }, { cause });
  }
  const key = text
    .trim()
    .toLowerCase()
    .replace(/^(?:0x)?/, '0x');
  if (!/^0x[0-9a-f]{64}$/.test(key)) {
    const what = variable === null ? source : `the environment variable ${variable}`;
    throw new MusterError('USAGE', `--key: ${what} does not hold a private key of 32 bytes in hex`, { option: '--key' });
  }
  return key as `0x${string}`;
}

function count(option: string, text: string, least = 0): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number) || number < least) {
    throw new MusterError('USAGE', `${option} must be a whole number of at least ${least}`, { option });
  }
  return number;
}

/** Wei of an amount in ether, with up to 18 decimals. */
function weiOf(option: string, text: string): bigint {
  const parts = /^(\d{1,27})(?:\.(\d{1,18}))?$/.exec(text);
  if (parts === null) throw new MusterError('USAGE', `${option} must be an amount in ether, such as 0.5`, { option });
  return BigInt(parts[1] ?? '0') * 10n ** 18n + BigInt((parts[2] ?? '').padEnd(18, '0'));
}

/** Settings named by options; amounts in ether, numbers as they are, accounts as addresses. */
function settingsFrom(flags: DeployFlags): Partial<DeploymentSettings> {
  const settings: Record<string, bigint | number | Address> = {};
  const examples: Readonly<Record<string, unknown>> = { ...defaultSettings(`0x${'0'.repeat(40)}` as Address) };
  const given = [...flags.set];
  if (flags.owner !== undefined) given.push(`owner=${flags.owner}`);
  if (flags.minStake !== undefined) given.push(`minStakeWei=${flags.minStake}`);
  for (const text of given) {
    const at = text.indexOf('=');
    const [name, value] = [text.slice(0, at), text.slice(at + 1)];
    const example = at > 0 && Object.hasOwn(examples, name) ? examples[name] : undefined;
    if (example === undefined) {
      throw new MusterError('USAGE', `--set ${text}: give one of ${Object.keys(examples).join(', ')} as name=value`, { option: '--set' });
    }
    if (typeof example === 'bigint') settings[name] = weiOf(name, value);
    else if (typeof example === 'number') settings[name] = count(name, value);
    else settings[name] = parseAddress(value.toLowerCase());
  }
  return settings;
}

function tell(output: Output, progress: DeploymentProgress): void {
  switch (progress.step) {
    case 'planned':
      tellPlan(output, progress, progress.resumed);
      return;
    case 'sending':
    case 'created': {
      const { step, name, address, transaction } = progress;
      output.event(
        `chain.${step}`,
        { contract: name, address, transaction },
        step === 'created' ? `  ${name.padEnd(22)} ${address}` : null,
      );
      return;
    }
    case 'settling':
      output.event('chain.settling', { confirmations: progress.confirmations }, `waiting for ${progress.confirmations} confirmations`);
      return;
    default:
      return progress satisfies never;
  }
}

function tellPlan(output: Output, plan: DeploymentPlan, resumed: boolean): void {
  const { chainId, deployer, remaining, gas, costWei, mostWei, balanceWei } = plan;
  output.event('chain.planned', { resumed, ...plan }, null);
  output.line(`${resumed ? 'going on with a deployment' : 'deploying'} on chain ${chainId} as ${deployer}`);
  const cost = costWei === 0n ? 'which costs nothing here' : `about ${ether(costWei)} ether now, at most ${ether(mostWei)}`;
  output.line(`${remaining} contracts to create, ${gas} gas, ${cost}; the account has ${ether(balanceWei)} ether`);
}

function printStatus(output: Output, status: ChainStatus): void {
  const { chainId, client, head, confirmations, contracts, facts, totals } = status;
  output.line(`chain ${chainId}, block ${head}${client === null ? '' : `, ${client}`}, ${confirmations} confirmations`);
  for (const { name, address, problem, balanceWei } of contracts) {
    const money = balanceWei === 0n ? '' : `  ${ether(balanceWei)} ether`;
    output.line(`  ${name.padEnd(22)} ${address}  ${problem === null ? 'verified' : `NOT VERIFIED: ${problem}`}${money}`);
  }
  output.line('parameters');
  for (const [contract, found] of Object.entries(facts)) {
    for (const [view, value] of Object.entries(found)) output.line(`  ${`${contract}.${view}`.padEnd(34)} ${factText(value)}`);
  }
  output.line('money, ether');
  for (const [name, wei] of Object.entries(totals)) output.line(`  ${name.replace(/Wei$/, '').padEnd(22)} ${ether(wei)}`);
  if (!status.verified) output.line('Not every contract is this repository’s: do not use this network.');
}

function factText(value: ChainFact): string {
  // Amounts are the only large numbers here.
  if (typeof value === 'bigint') return value >= 10n ** 12n ? `${ether(value)} ether` : value.toString();
  if (typeof value !== 'object') return String(value).toLowerCase();
  return Object.entries(value)
    .map(([field, inner]) => `${field} ${factText(inner)}`)
    .join(', ');
}

const collect = (value: string, all: readonly string[]): readonly string[] => [...all, value];

/** Adds the commands to `program`; `finish` takes whether all is well. */
export function addChain(program: Command, finish: (ok: boolean) => void): void {
  const chain = program.command('chain').description('contracts on any EVM chain: deploy them, see what stands there');
  chain
    .command('deploy')
    .description('put the contracts on a chain; run again, it goes on where it was interrupted')
    .requiredOption('--rpc <url>', 'JSON-RPC endpoint of the chain')
    .requiredOption('--key <source>', 'key of the account that deploys and pays: a file, or env:NAME')
    .option('--owner <address>', 'may change what an owner can change (default: the deploying account)')
    .option('--min-stake <ether>', 'smallest stake of a node')
    .option('--set <name=value>', 'another setting, see docs/spec/28-deployment.md; may be repeated', collect, [])
    .option('--chain-id <n>', 'refuse any other chain')
    .option('--confirmations <n>', 'blocks that must follow (default: 0 on development chains, else 5)')
    .addOption(new Option('--estimate', 'say what it would cost, and send nothing').conflicts('restart'))
    .option('--restart', 'forget an unfinished deployment, or deploy again where one is finished')
    .action(async (flags: DeployFlags, command: Command) => await deployCommand(contextOf(command), flags));
  chain
    .command('status')
    .description('head, contracts and their code, parameters, money; exit code 1 where code is not as it should be')
    .option('--rpc <url>', 'JSON-RPC endpoint (default: the chain of this home)')
    .option('--confirmations <n>', 'blocks that must follow (default: as deployed)')
    .action(async (flags: StatusFlags, command: Command) => finish(await statusCommand(contextOf(command), flags)));
}
