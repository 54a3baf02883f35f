/**
 * That the coverage tool finds exactly what was not run, on a small contract whose answer is known.
 */
import type { Hex } from 'viem';
import { encodeFunctionData, parseAbi } from 'viem';
import { expect, test } from 'vitest';
import { compileInstrumented } from '../probes/compile-instrumented.ts';
import { createListeningEnvironment } from '../probes/hre.ts';
import { coverageOf, describeCoverage, percentOf, totalOf } from '../probes/places.ts';
import config from '../hardhat.config.ts';

const abi = parseAbi([
  'function grade(uint256 points, bool late) pure returns (uint256)',
  'function half(uint256 value) pure returns (uint256)',
  'function attempt(uint256 value) view returns (uint256)',
  'function sum(uint256 count) pure returns (uint256 total)',
]);

const source = `// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;
error Odd(uint256 value); // é: offsets are bytes
contract Fixture {
    function grade(uint256 points, bool late) external pure returns (uint256) {
        if (points >= 90 && !late) return 1;
        else if (points >= 50) return late ? 3 : 2;
        return 4;
    }

    function half(uint256 value) external pure returns (uint256) {
        if (value % 2 == 1) revert Odd(value);
        return value / 2;
    }

    function attempt(uint256 value) external view returns (uint256) {
        try this.half(value) returns (uint256 halved) {
            return halved;
        } catch {
            return 0;
        }
    }

    function sum(uint256 count) external pure returns (uint256 total) {
        for (uint256 i = 0; i < count; i++) total += i;
        assembly ("memory-safe") {
            mstore(0, total)
            if gt(total, 100) { total := 100 }
            switch mload(0)
            case 0 { total := 7 }
            default { total := add(total, 1) }
        }
    }
}
`;

/** Runs `calls` on the contract with probes; what was not covered, as `line what`. */
async function uncoveredBy(calls: readonly Hex[]): Promise<{ results: Hex[]; uncovered: string[]; text: string }> {
  const { contracts, places } = compileInstrumented({ 'src/Fixture.sol': source });
  const hits = new Set<number>();
  const environment = await createListeningEnvironment((ids) => ids.forEach((id) => hits.add(id)), config);
  const connection = await environment.network.connect();
  const { provider } = connection;
  const [from] = (await provider.request({ method: 'eth_accounts' })) as Hex[];
  const hash = await provider.request({ method: 'eth_sendTransaction', params: [{ from, data: contracts['Fixture']?.bytecode }] });
  const receipt = (await provider.request({ method: 'eth_getTransactionReceipt', params: [hash] })) as { contractAddress: Hex };
  const results: Hex[] = [];
  for (const data of calls) {
    results.push((await provider.request({ method: 'eth_call', params: [{ from, to: receipt.contractAddress, data }] })) as Hex);
  }
  await connection.close();
  const files = coverageOf(places, hits);
  return {
    results,
    uncovered: files.flatMap((file) => file.uncovered.map(({ line, what }) => `${line} ${what}`)),
    text: describeCoverage(files),
  };
}

test('what was not run is named by line and condition, in Solidity and in assembly, and results are as without probes', async () => {
  const { results, uncovered, text } = await uncoveredBy([
    encodeFunctionData({ abi, functionName: 'grade', args: [95n, false] }),
    encodeFunctionData({ abi, functionName: 'grade', args: [60n, false] }),
    encodeFunctionData({ abi, functionName: 'half', args: [10n] }),
    encodeFunctionData({ abi, functionName: 'attempt', args: [8n] }),
    encodeFunctionData({ abi, functionName: 'sum', args: [4n] }),
  ]);
  expect(results.map(BigInt)).toEqual([1n, 2n, 5n, 4n, 7n]);
  expect(uncovered).toEqual([
    '6 late is never true',
    '7 points >= 50 is never false',
    '7 late is never true',
    '8 never runs',
    '12 value % 2 == 1 is never true',
    '12 never runs',
    '19 this arm never runs',
    '20 never runs',
    '28 gt(total, 100) is never true',
    '28 never runs',
    '30 this case never runs',
    '30 never runs',
  ]);
  expect(text).toContain('src/Fixture.sol:12 value % 2 == 1 is never true');
});

test('a call that reverts counts, and so does what it had done', async () => {
  const { uncovered } = await uncoveredBy([
    encodeFunctionData({ abi, functionName: 'attempt', args: [7n] }),
    encodeFunctionData({ abi, functionName: 'attempt', args: [8n] }),
  ]);
  expect(uncovered.filter((place) => /^1[0-9] |^2[0-1] /.test(place))).toEqual([]);
});

test('sums are rounded down, so that 100 % means everything', () => {
  const place = { kind: 'branch', file: 'src/A.sol', what: '' } as const;
  const places = Array.from({ length: 3000 }, (_, id) => ({ ...place, id, line: id }));
  const hits = new Set(places.slice(1).map(({ id }) => id));
  const total = totalOf(coverageOf(places, hits));
  expect(percentOf(total.branches)).toBe(99.9);
  expect(percentOf(total.lines)).toBe(100);
  expect(total.lines).toEqual({ covered: 0, total: 0 });
});
