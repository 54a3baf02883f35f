import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeAbiParameters, getAddress, type Hex, keccak256, toHex } from 'viem';
import {
  abiEncodeWords,
  type Address,
  assignmentLeaf,
  bytesToHex,
  commitmentOf,
  holderOf,
  type JobId,
  keccakOfWords,
  type NodeId,
  type Root,
  roundKey,
} from '@muster/protocol';

const hexOf = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes): Hex => `0x${Buffer.from(bytes).toString('hex')}`);
const bytes32 = hexOf(32);
const account = hexOf(20);
const uint64 = fc.nat(Number.MAX_SAFE_INTEGER);
const uint32 = fc.nat(2 ** 32 - 1);

const encoded = (types: readonly string[], values: readonly unknown[]): Hex =>
  encodeAbiParameters(
    types.map((type) => ({ type })),
    values as unknown[],
  );

describe('static words', () => {
  it('are encoded as an ABI coder encodes them', () => {
    fc.assert(
      fc.property(bytes32, account, uint64, fc.bigInt(0n, 2n ** 256n - 1n), uint32, (word, address, long, integer, short) => {
        const types = ['bytes32', 'address', 'uint64', 'uint256', 'uint32'];
        expect(bytesToHex(abiEncodeWords([word, address, long, integer, short]))).toBe(
          encoded(types, [word, getAddress(address), BigInt(long), integer, short]),
        );
      }),
      { numRuns: 1000 },
    );
  });

  it('of which there are none take no bytes', () => {
    expect(abiEncodeWords([])).toHaveLength(0);
    expect(keccakOfWords([])).toBe(keccak256('0x'));
  });
});

describe('digests that contracts make too', () => {
  it('are keccak-256 of the ABI encoding of their parts', () => {
    fc.assert(
      fc.property(
        fc.record({
          job: bytes32,
          round: uint64,
          task: uint32,
          slot: uint32,
          node: bytes32,
          operator: account,
          salt: bytes32,
          root: bytes32,
        }),
        ({ job, round, task, slot, node, operator, salt, root }) => {
          const key = keccak256(encoded(['bytes32', 'uint64'], [job, BigInt(round)]));
          expect(roundKey(job as JobId, round)).toBe(key);
          const holder = holderOf(node as NodeId, operator as Address);
          expect(holder).toBe(`0x${keccak256(encoded(['bytes32', 'address'], [node, getAddress(operator)])).slice(-40)}`);
          const leaf = ['bytes32', 'uint32', 'uint32', 'address'];
          expect(assignmentLeaf(job as JobId, round, task, slot, holder)).toBe(
            keccak256(encoded(leaf, [key, task, slot, getAddress(holder)])),
          );
          expect(commitmentOf(job as JobId, round, task, slot, holder, salt as Root, root as Root)).toBe(
            keccak256(encoded([...leaf, 'bytes32', 'bytes32'], [key, task, slot, getAddress(holder), salt, root])),
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  it('have pinned values', () => {
    const job = keccak256(toHex('job')) as JobId;
    const node = keccak256(toHex('node')) as NodeId;
    const holder = holderOf(node, '0x00000000000000000000000000000000000000ff' as Address);
    const root = keccak256(toHex('root')) as Root;
    expect([roundKey(job, 3), holder, assignmentLeaf(job, 3, 2, 1, holder), commitmentOf(job, 3, 2, 1, holder, root, root)]).toEqual([
      '0xb3d42b8c512055e7323c598f6eaaa6a0595333c09442f375dde43dea39c819db',
      '0xb3b36b9635379262407330638ebdd8c2f2e19150',
      '0x267f0c524ddeed6877d8f88e96c5ea412aa5fd44a1ec5dfc8c81c670cf989f46',
      '0x024689fea173383b99052abb886f8f25087c4344baf317eeaa29c023514278cc',
    ]);
  });

  it('bind the account: a node that another account operates is another holder', () => {
    fc.assert(
      fc.property(bytes32, account, account, (node, first, second) => {
        fc.pre(first !== second);
        expect(holderOf(node as NodeId, first as Address)).not.toBe(holderOf(node as NodeId, second as Address));
      }),
    );
  });
});
