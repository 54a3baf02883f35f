import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bytesToHex,
  hexToBytes,
  inclusionProof,
  keccak256,
  keccakProof,
  keccakRoot,
  leafHash,
  merkleRoot,
  merkleTree,
  nodeHash,
  sha256,
  treeNode,
  treeRoot,
  verifyInclusion,
  verifyKeccak,
} from '../src/index.ts';

// Published test vectors of Certificate Transparency (RFC 6962): leaves, the root after each, and inclusion paths.
const leaves = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map((hex) =>
  leafHash(hexToBytes(`0x${hex}`)),
);
const roots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];
const paths = [
  { index: 0, size: 1, path: [] },
  {
    index: 0,
    size: 8,
    path: [
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ],
  },
  {
    index: 5,
    size: 8,
    path: [
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  },
  { index: 2, size: 3, path: ['fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'] },
  {
    index: 1,
    size: 5,
    path: [
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
    ],
  },
];

const hex = (bytes: Uint8Array) => bytesToHex(bytes).slice(2);
const numbered = (count: number) => Array.from({ length: count }, (_, i) => sha256(Uint8Array.of(i & 255, i >> 8)));

const pair = (x: Uint8Array, y: Uint8Array) => keccak256(Uint8Array.from(hex(x) < hex(y) ? [...x, ...y] : [...y, ...x]));

/** The recursive definition of RFC 9162 §2.1.1. */
function recursiveRoot(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length === 0) return sha256(new Uint8Array(0));
  if (hashes.length === 1) return hashes[0] as Uint8Array;
  let split = 1;
  while (split * 2 < hashes.length) split *= 2;
  return nodeHash(recursiveRoot(hashes.slice(0, split)), recursiveRoot(hashes.slice(split)));
}

describe('SHA-256 Merkle tree', () => {
  it('gives the published roots of Certificate Transparency', () => {
    expect(hex(merkleRoot([]))).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    roots.forEach((root, index) => expect(hex(merkleRoot(leaves.slice(0, index + 1)))).toBe(root));
  });

  it('gives the published inclusion paths of Certificate Transparency', () => {
    for (const { index, size, path } of paths) {
      const proof = inclusionProof(leaves.slice(0, size), index);
      expect(proof.path.map(hex)).toEqual(path);
      expect(verifyInclusion(hexToBytes(`0x${roots[size - 1]}`), leaves[index] as Uint8Array, proof)).toBe(true);
    }
  });

  it('equals the recursive definition for every size up to 70', () => {
    for (let size = 0; size <= 70; size++) {
      const hashes = numbered(size);
      const expected = hex(recursiveRoot(hashes));
      expect(hex(merkleRoot(hashes))).toBe(expected);
      expect(hex(treeRoot(merkleTree(hashes)))).toBe(expected);
    }
  });

  it('proves every leaf of every size, from a list, a flat buffer or a tree', () => {
    for (let size = 1; size <= 40; size++) {
      const hashes = numbered(size);
      const flat = Uint8Array.from(hashes.flatMap((hash) => [...hash]));
      const root = merkleRoot(flat);
      const tree = merkleTree(flat);
      for (let index = 0; index < size; index++) {
        const proof = inclusionProof(tree, index);
        expect(inclusionProof(hashes, index)).toEqual(proof);
        expect(verifyInclusion(root, hashes[index] as Uint8Array, proof)).toBe(true);
        expect(treeNode(tree, 0, index)).toEqual(hashes[index]);
      }
    }
  });

  it('refuses a proof with anything changed', () => {
    const proofs = fc
      .integer({ min: 1, max: 50 })
      .chain((size) => fc.record({ size: fc.constant(size), index: fc.nat(size - 1), bit: fc.nat(255), part: fc.nat() }));
    fc.assert(
      fc.property(proofs, ({ size, index, bit, part }) => {
        const hashes = numbered(size);
        const root = merkleRoot(hashes);
        const leaf = hashes[index] as Uint8Array;
        const proof = inclusionProof(hashes, index);
        const flip = (bytes: Uint8Array) => bytes.with(bit >> 3, (bytes[bit >> 3] as number) ^ (1 << (bit & 7)));
        expect(verifyInclusion(flip(root), leaf, proof)).toBe(false);
        expect(verifyInclusion(root, flip(leaf), proof)).toBe(false);
        expect(verifyInclusion(root, leaf, { ...proof, path: [...proof.path, leaf] })).toBe(false);
        expect(verifyInclusion(root, leaf, { ...proof, index: size })).toBe(false);
        expect(verifyInclusion(root, leaf, { ...proof, index: -1 })).toBe(false);
        expect(verifyInclusion(root, leaf.subarray(1), proof)).toBe(false);
        if (proof.path.length > 0) {
          const at = part % proof.path.length;
          expect(verifyInclusion(root, leaf, { ...proof, path: proof.path.with(at, flip(proof.path[at] as Uint8Array)) })).toBe(false);
          expect(verifyInclusion(root, leaf, { ...proof, path: proof.path.slice(1) })).toBe(false);
          expect(verifyInclusion(root, leaf, { ...proof, index: (index + 1 + (part % (size - 1))) % size })).toBe(false);
        }
      }),
    );
  });

  it('does not change the leaf hashes it is given', () => {
    const flat = Uint8Array.from(numbered(5).flatMap((hash) => [...hash]));
    const before = flat.slice();
    merkleRoot(flat);
    merkleTree(flat);
    expect(flat).toEqual(before);
  });

  it('refuses what is no leaf, level or hash', () => {
    for (const wrong of [
      () => inclusionProof(leaves, 8),
      () => inclusionProof([], 0),
      () => inclusionProof(leaves, -1),
      () => inclusionProof(leaves, 0.5),
      () => merkleRoot([new Uint8Array(31)]),
      () => merkleRoot(new Uint8Array(33)),
      () => treeNode(merkleTree(leaves), 4, 0),
      () => treeNode(merkleTree(leaves), 3, 1),
    ]) {
      expect(wrong).toThrow(expect.objectContaining({ code: 'FIELD_INVALID' }));
    }
  });
});

describe('keccak tree', () => {
  it('hashes sorted pairs, promotes an odd node and is its own leaf for one', () => {
    const [a, b, c] = numbered(3) as [Uint8Array, Uint8Array, Uint8Array];
    expect(keccakRoot([a])).toEqual(a);
    expect(keccakRoot([a, b])).toEqual(pair(a, b));
    expect(keccakRoot([b, a])).toEqual(pair(a, b));
    expect(keccakRoot([a, b, c])).toEqual(pair(pair(a, b), c));
  });

  it('proves every leaf of every size and nothing else', () => {
    for (let size = 1; size <= 33; size++) {
      const values = numbered(size);
      const root = keccakRoot(values);
      values.forEach((value, index) => {
        const proof = keccakProof(values, index);
        expect(verifyKeccak(root, value, proof)).toBe(true);
        expect(verifyKeccak(root, sha256(value), proof)).toBe(false);
        expect(verifyKeccak(sha256(root), value, proof)).toBe(false);
        expect(verifyKeccak(root, value, [...proof, value])).toBe(false);
        expect(verifyKeccak(root, value.subarray(1), proof)).toBe(false);
      });
    }
  });

  it('refuses an empty tree, an unknown leaf and a leaf of the wrong length', () => {
    for (const wrong of [() => keccakRoot([]), () => keccakProof(numbered(2), 2), () => keccakRoot([new Uint8Array(20)])]) {
      expect(wrong).toThrow(expect.objectContaining({ code: 'FIELD_INVALID' }));
    }
  });
});
