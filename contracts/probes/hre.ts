/**
 * Stands in for `hardhat/hre` while coverage is measured: chains note which probes ran, in calls, transactions and creations, also where
 * they were reverted.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { createHardhatRuntimeEnvironment as createPlain } from 'hardhat/hre';
import { coverageFolder } from './compile-instrumented.ts';

/** Probes this process has seen, so that each is written once. */
const seen = new Set<number>();

/** Called with the numbers of probes that ran. */
export type HitListener = (ids: readonly number[]) => void;

/** Hardhat's environment with `listener` on every chain that it makes. */
export async function createListeningEnvironment(
  listener: HitListener,
  ...given: Parameters<typeof createPlain>
): ReturnType<typeof createPlain> {
  const [config, ...others] = given;
  const networks = Object.fromEntries(
    Object.entries(config.networks ?? {}).map(([name, network]) => [
      name,
      // Probes make contracts longer and dearer than they are.
      network.type === 'edr-simulated' ? { ...network, allowUnlimitedContractSize: true, blockGasLimit: 1_000_000_000n } : network,
    ]),
  );
  const environment = await createPlain({ ...config, networks }, ...others);
  environment.hooks.registerHandlers('network', {
    onCoverageData: (_context: unknown, tags: readonly string[]) => {
      listener(tags.map((tag) => Number.parseInt(tag, 16)));
      return Promise.resolve();
    },
  });
  return environment;
}

/** As Hardhat's, and every probe that runs is noted in the folder of the coverage run. */
export function createHardhatRuntimeEnvironment(...given: Parameters<typeof createPlain>): ReturnType<typeof createPlain> {
  const file = join(coverageFolder(), `${process.pid}.hits`);
  return createListeningEnvironment(
    (ids) => {
      const fresh = ids.filter((id) => !seen.has(id));
      for (const id of fresh) seen.add(id);
      if (fresh.length > 0) appendFileSync(file, `${fresh.join('\n')}\n`);
    },
    ...given,
  );
}
