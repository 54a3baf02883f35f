/**
 * What a node's home remembers of the network that it joined, so that its operator's commands find it: `membership.json`. No keys.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bool, type Infer, integer, MusterError, struct, text } from '@muster/protocol';
import { contractsSchema, writeFileAtomically } from './home.ts';

const membershipSchema = struct({
  version: integer(1, 1),
  /** The coordinator. */
  url: text(2048),
  rpcUrl: text(2048),
  /** Whether the coordinator's relay pays for what the account signs. */
  relay: bool,
  chainId: integer(1),
  contracts: contractsSchema,
});
export type Membership = Infer<typeof membershipSchema>;

const fileIn = (nodeHome: string): string => join(nodeHome, 'membership.json');

/** The network that the node in `nodeHome` joined last; null where it joined none. Throws FIELD_INVALID for a damaged file. */
export async function readMembership(nodeHome: string): Promise<Membership | null> {
  const file = fileIn(nodeHome);
  let source: string;
  try {
    source = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    return membershipSchema(JSON.parse(source) as unknown, file);
  } catch (cause) {
    if (cause instanceof MusterError) throw cause;
    throw new MusterError('FIELD_INVALID', `${file} is not JSON`, { file }, { cause });
  }
}

export async function writeMembership(nodeHome: string, membership: Membership): Promise<void> {
  await writeFileAtomically(fileIn(nodeHome), `${JSON.stringify(membership, null, 2)}\n`);
}
