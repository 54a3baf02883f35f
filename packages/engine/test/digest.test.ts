import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { installSha256, keccak256, leafHash, merkleRoot, sha256, bytesToHex, hexToBytes, type Root } from '@muster/protocol';
import { describe, expect, it } from 'vitest';
import {
  bytesRoot,
  lossRoot,
  type NamedTensor,
  onChainDigest,
  openElement,
  openTensor,
  openTraceEntry,
  requireFinite,
  resultRoot,
  stateLeaf,
  stateRoot,
  type Tensor,
  tensorBytes,
  tensorFromBytes,
  tensorRoot,
  tensorTree,
  traceRoot,
  verifyElement,
  verifyTensor,
  verifyTraceEntry,
} from '../src/index.ts';

const nodeSha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest());

const floats = (...values: number[]): Tensor => ({ dtype: 'float32', shape: [values.length], data: Float32Array.from(values) });
const counting = (length: number): Tensor => ({
  dtype: 'uint32',
  shape: [length],
  data: Uint32Array.from({ length }, (_, i) => i * 2654435761),
});
const state: NamedTensor[] = [
  { name: 'w', ...floats(1, -0, 3.5) },
  { name: 'b', dtype: 'bool', shape: [2, 1], data: Uint8Array.of(1, 0) },
  { name: 'step', dtype: 'int32', shape: [], data: Int32Array.of(-7) },
];
const root = (byte: number) => bytesToHex(new Uint8Array(32).fill(byte)) as Root;

describe('tensor digests', () => {
  it('canonical bytes are little-endian and come back as they were', () => {
    expect([...tensorBytes(floats(1, -0))]).toEqual([0, 0, 0x80, 0x3f, 0, 0, 0, 0x80]);
    for (const tensor of state) {
      const { dtype, shape, data } = tensor;
      expect(tensorFromBytes({ dtype, shape }, tensorBytes(tensor))).toEqual({ dtype, shape, data });
    }
  });

  it('a tensor root is the Merkle root over 1 KiB leaves, the last one shorter', () => {
    const tensor = counting(600);
    const bytes = tensorBytes(tensor);
    const leaves = [leafHash(bytes.subarray(0, 1024)), leafHash(bytes.subarray(1024, 2048)), leafHash(bytes.subarray(2048))];
    expect(tensorRoot(tensor)).toBe(bytesToHex(merkleRoot(leaves)));
    expect(tensorTree(tensor).levels.map((level) => level.length / 32)).toEqual([3, 2, 1]);
  });

  it('an empty tensor has the root of no leaves', () => {
    expect(tensorRoot({ dtype: 'float32', shape: [0, 3], data: new Float32Array(0) })).toBe(bytesToHex(sha256(new Uint8Array(0))));
  });

  it('a view into a larger buffer has the root of its own bytes', () => {
    const whole = Float32Array.from({ length: 700 }, (_, i) => i / 3);
    const part = whole.subarray(100, 500);
    expect(tensorRoot({ dtype: 'float32', shape: [400], data: part })).toBe(
      tensorRoot({ dtype: 'float32', shape: [400], data: part.slice() }),
    );
  });

  it('a state of 800 KB costs about 1 600 hashes: one per leaf and one per node', () => {
    let calls = 0;
    installSha256((bytes) => {
      calls++;
      return nodeSha256(bytes);
    });
    calls = 0;
    tensorRoot({ dtype: 'float32', shape: [200_000], data: new Float32Array(200_000) });
    installSha256(nodeSha256);
    expect(calls).toBe(782 + 781);
  });

  it('opens any element and refuses every other claim about it', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('float32', 'int32', 'uint32', 'bool'),
        fc.integer({ min: 1, max: 1500 }),
        fc.nat(),
        fc.nat(1023),
        (dtype, length, at, place) => {
          const index = at % length;
          const source = Uint8Array.from({ length: length * (dtype === 'bool' ? 1 : 4) }, (_, i) =>
            dtype === 'bool' ? i % 2 : (i * 37) % 120,
          );
          const type = { dtype, shape: [length] };
          const tensor = tensorFromBytes(type, source);
          const opening = openElement(tensor, index);
          const own = tensorRoot(tensor);
          expect(verifyElement(own, type, index, opening)).toBe(tensor.data[index]);
          const { leaf, proof } = opening;
          const changed = leaf.with(place % leaf.length, (leaf[place % leaf.length] as number) ^ 1);
          expect(verifyElement(own, type, index, { leaf: changed, proof })).toBeNull();
          expect(verifyElement(own, type, index, { leaf: leaf.subarray(1), proof })).toBeNull();
          expect(verifyElement(own, type, index, { leaf, proof: { ...proof, size: proof.size + 1 } })).toBeNull();
          expect(verifyElement(root(1), type, index, opening)).toBeNull();
          expect(verifyElement(own, { dtype, shape: [length + 2048] }, index, opening)).toBeNull();
        },
      ),
    );
  });

  it('refuses lengths, bools and elements that do not fit', () => {
    const mismatch = expect.objectContaining({ code: 'TENSOR_MISMATCH' });
    expect(() => tensorRoot({ dtype: 'float32', shape: [3], data: new Float32Array(2) })).toThrow(mismatch);
    expect(() => tensorFromBytes({ dtype: 'int32', shape: [2] }, new Uint8Array(7))).toThrow(mismatch);
    expect(() => tensorFromBytes({ dtype: 'bool', shape: [1] }, Uint8Array.of(2))).toThrow(mismatch);
    const invalid = expect.objectContaining({ code: 'FIELD_INVALID' });
    expect(() => openElement(floats(1), 1)).toThrow(invalid);
    expect(() =>
      verifyElement(root(1), { dtype: 'bool', shape: [0] }, 0, { leaf: new Uint8Array(0), proof: { index: 0, size: 1, path: [] } }),
    ).toThrow(invalid);
  });
});

describe('state and result digests', () => {
  it('a state root does not depend on the order given', () => {
    expect(stateRoot(state.toReversed())).toBe(stateRoot(state));
  });

  it('a state root is the Merkle root over leaves sorted by name', () => {
    const leaves = ['b', 'step', 'w'].map((name) => {
      const tensor = state.find((candidate) => candidate.name === name) as NamedTensor;
      return leafHash(stateLeaf(name, tensor, tensorRoot(tensor)));
    });
    expect(stateRoot(state)).toBe(bytesToHex(merkleRoot(leaves)));
  });

  it('a state root binds name, dtype, shape and every bit', () => {
    const [w, ...rest] = state as [NamedTensor, ...NamedTensor[]];
    const changed: NamedTensor[] = [
      { ...w, name: 'v' },
      { ...w, shape: [3, 1] },
      { ...w, dtype: 'int32', data: new Int32Array(w.data.slice().buffer) },
      { ...w, data: Float32Array.of(1, 0, 3.5) },
    ];
    const roots = new Set([w, ...changed].map((tensor) => stateRoot([tensor, ...rest])));
    expect(roots.size).toBe(5);
    expect(roots).not.toContain(stateRoot(rest));
  });

  it('a state leaf ends with the 32 bytes of the tensor root', () => {
    const leaf = stateLeaf('w', floats(1), root(9));
    expect(leaf.slice(-32)).toEqual(new Uint8Array(32).fill(9));
    expect(leaf.slice(0, -32)).toEqual(stateLeaf('w', floats(1), root(8)).slice(0, -32));
  });

  it('opens a tensor of a state by name', () => {
    const own = stateRoot(state);
    for (const tensor of state) {
      const proof = openTensor(state, tensor.name);
      expect(verifyTensor(own, tensor.name, tensor, tensorRoot(tensor), proof)).toBe(true);
      expect(verifyTensor(own, `${tensor.name}x`, tensor, tensorRoot(tensor), proof)).toBe(false);
      expect(verifyTensor(own, tensor.name, { ...tensor, shape: [9] }, tensorRoot(tensor), proof)).toBe(false);
      expect(verifyTensor(own, tensor.name, tensor, root(1), proof)).toBe(false);
    }
    expect(() => openTensor(state, 'nothing')).toThrow(expect.objectContaining({ code: 'FIELD_INVALID' }));
    expect(() => stateRoot([...state, ...state])).toThrow(expect.objectContaining({ code: 'FIELD_INVALID' }));
  });

  it('trace and result roots are Merkle roots over their roots in order', () => {
    const roots = [1, 2, 3, 4].map(root) as [Root, Root, Root, Root];
    const [a, b, c, d] = roots;
    const expected = bytesToHex(merkleRoot(roots.map((r) => leafHash(hexToBytes(r)))));
    expect(traceRoot(roots)).toBe(expected);
    expect(resultRoot({ state: a, update: b, loss: c, trace: d })).toBe(expected);
    expect(resultRoot({ state: b, update: a, loss: c, trace: d })).not.toBe(expected);
    roots.forEach((entry, index) => {
      const proof = openTraceEntry(roots, index);
      expect(verifyTraceEntry(expected as Root, entry, proof)).toBe(true);
      expect(verifyTraceEntry(expected as Root, root(7), proof)).toBe(false);
    });
  });

  it('a loss root is the tensor root of its losses', () => {
    expect(lossRoot(Float32Array.of(1, 2))).toBe(tensorRoot(floats(1, 2)));
  });

  it('an on-chain digest is keccak-256 over the root and the byte length as two words', () => {
    const words = new Uint8Array(64);
    words.fill(5, 0, 32);
    words.set([0x0c, 0x35, 0x00], 61); // 800 000
    expect(onChainDigest(root(5), 800_000)).toBe(bytesToHex(keccak256(words)));
  });

  it('bytes have the root of a bool tensor of the same bytes', () => {
    const data = Uint8Array.from({ length: 3000 }, (_, i) => i % 2);
    expect(bytesRoot(data)).toBe(tensorRoot({ dtype: 'bool', shape: [3000], data }));
  });

  it('an infinity or NaN in a state is a fault with its place', () => {
    requireFinite(state);
    for (const bad of [NaN, Infinity, -Infinity]) {
      expect(() => requireFinite([...state, { name: 'm', ...floats(0, bad, bad) }])).toThrow(
        expect.objectContaining({ code: 'NUMERIC_FAULT', details: { tensor: 'm', element: 1 } }),
      );
    }
  });
});
