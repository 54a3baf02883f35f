/** The contents of `vectors/merkle/` and `vectors/seed-tree/`. */
import {
  bytesToHex,
  coverOf,
  delegate,
  inclusionProof,
  keccakProof,
  keccakRoot,
  leafHash,
  leafKey,
  leafRange,
  leafSeed,
  merkleRoot,
  sha256,
} from '@muster/protocol';

const numbered = (count: number) => Array.from({ length: count }, (_, i) => Uint8Array.of(i & 255, i >> 8));

function sha256Trees(): object {
  return {
    about: 'RFC 9162 trees. Leaf i is the two bytes i & 255, i >> 8; path: siblings from the leaf up.',
    trees: [0, 1, 2, 3, 4, 5, 7, 8, 13, 64, 100].map((size) => {
      const hashes = numbered(size).map(leafHash);
      return {
        size,
        root: bytesToHex(merkleRoot(hashes)),
        proofs: hashes
          .map((hash, index) => ({ index, leafHash: bytesToHex(hash), path: inclusionProof(hashes, index).path.map(bytesToHex) }))
          .filter(({ index }) => [0, 1, 2, Math.floor(size / 2), size - 1].includes(index)),
      };
    }),
  };
}

function keccakTrees(): object {
  return {
    about: 'Trees for OpenZeppelin MerkleProof.verify. Leaf value i is SHA-256 of the two bytes i & 255, i >> 8.',
    trees: [1, 2, 3, 5, 8, 13, 33].map((size) => {
      const leaves = numbered(size).map(sha256);
      return {
        size,
        root: bytesToHex(keccakRoot(leaves)),
        proofs: leaves.map((leaf, index) => ({ index, leaf: bytesToHex(leaf), proof: keccakProof(leaves, index).map(bytesToHex) })),
      };
    }),
  };
}

function seedTrees(): object {
  const master = Uint8Array.from({ length: 32 }, (_, i) => i);
  const shapes = [
    { depth: 0, fanout: 2 },
    { depth: 3, fanout: 2 },
    { depth: 2, fanout: 16 },
    { depth: 4, fanout: 5 },
    { depth: 32, fanout: 2 },
  ];
  return {
    about: 'Seed trees of one master seed: leaf seeds and threefry keys, delegated subtrees, covers of ranges.',
    master: bytesToHex(master),
    trees: shapes.map((shape) => {
      const count = shape.fanout ** shape.depth;
      const indices = [...new Set([0, 1, Math.floor(count / 3), count - 1])].filter((index) => index < count);
      const range = { start: Math.floor(count / 5), end: Math.ceil((4 * count) / 5) };
      const cover = coverOf(shape, range);
      return {
        shape,
        leaves: indices.map((index) => {
          const seed = leafSeed(master, shape, index);
          return { index, seed: bytesToHex(seed), key: leafKey(seed) };
        }),
        cover: {
          range,
          subtrees: cover.map((path) => ({ path, leaves: leafRange(shape, path), seed: bytesToHex(delegate(master, shape, path).seed) })),
        },
      };
    }),
  };
}

/** Path below `vectors/` and JSON value of every file. */
export function protocolFiles(): [string, object][] {
  return [
    ['merkle/sha256.json', sha256Trees()],
    ['merkle/keccak.json', keccakTrees()],
    ['seed-tree/seed-tree.json', seedTrees()],
  ];
}
