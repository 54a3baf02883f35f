/**
 * Hardhat's in-process chain for the contract tests and for `npx hardhat` in this folder. Bindings come from build.ts, not from here.
 */
import { createRequire } from 'node:module';
import { type HardhatUserConfig } from 'hardhat/config';
import { compilerSettings } from './build.ts';

const config: HardhatUserConfig = {
  // Hardhat's root is the folder of the nearest package.json, one up.
  paths: {
    sources: './contracts/src',
    artifacts: './contracts/artifacts/build',
    cache: './contracts/artifacts/cache',
  },
  solidity: {
    // The compiler that is installed, so that nothing is downloaded.
    compilers: [{ version: '0.8.37', path: createRequire(import.meta.url).resolve('solc/soljson.js'), settings: compilerSettings }],
  },
  networks: {
    default: { type: 'edr-simulated', chainId: 31337, hardfork: 'cancun', blockGasLimit: 60_000_000n, initialBaseFeePerGas: 0n },
  },
};

export default config;
