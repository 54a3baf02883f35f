/** The custom error that a read through viem was refused with. */
import { BaseError, ContractFunctionRevertedError } from 'viem';

/** Name and arguments of the error; `''` where the contract gave none. Fails where the read succeeds or fails otherwise. */
export async function revertOf(reading: Promise<unknown>): Promise<{ readonly error: string; readonly args: readonly unknown[] }> {
  try {
    await reading;
  } catch (error) {
    const reverted = error instanceof BaseError ? error.walk((cause) => cause instanceof ContractFunctionRevertedError) : null;
    if (!(reverted instanceof ContractFunctionRevertedError)) throw error;
    return { error: reverted.data?.errorName ?? '', args: reverted.data?.args ?? [] };
  }
  throw new Error('the read was not refused');
}
