/**
 * The code that a contract of this repository leaves at its address: its creation code run here, with the arguments that it should have
 * had, at the address and on the chain where it stands. Every immutable is thereby checked, whatever it is made of.
 *
 * Assumes constructors that neither call other contracts nor keep the block they ran in in an immutable.
 */
import type { ChainInfo } from '@muster/ports';
import { MusterError } from '@muster/protocol';
import { type Hex, hexToBytes, toHex } from 'viem';
import { type ContractName, creationOf, type DeploymentSettings } from './catalogue.ts';

/** Enough for any constructor within the size limit of code. */
const CREATION_GAS = 30_000_000n;

/** Runtime code of `name`. Throws INTERNAL where the constructor refuses its arguments. */
export async function expectedCode(name: ContractName, info: ChainInfo, settings: DeploymentSettings): Promise<Hex> {
  // The machine takes a while to load, and most who deploy never verify.
  const [{ chainRules }, { createEVM }, { Account, Address }] = await Promise.all([
    import('../embedded/machine.ts'),
    import('@ethereumjs/evm'),
    import('@ethereumjs/util'),
  ]);
  const machine = await createEVM({ common: chainRules(info.chainId) });
  const place = new Address(hexToBytes(info.contracts[name]));
  // A creation finds its account there, with the first nonce used (EIP-161).
  await machine.stateManager.putAccount(place, new Account(1n));
  const { exceptionError, returnValue } = await machine.runCode({
    code: hexToBytes(creationOf(name, info.contracts, settings)),
    to: place,
    gasLimit: CREATION_GAS,
  });
  if (exceptionError !== undefined) {
    throw new MusterError('INTERNAL', `the constructor of ${name} fails with these settings: ${exceptionError.error}`, { contract: name });
  }
  return toHex(returnValue);
}
