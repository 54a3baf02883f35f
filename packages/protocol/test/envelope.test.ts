import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bytesToHex,
  cidOfBytes,
  decodeCanonical,
  encodeCanonical,
  encodeLinked,
  type EnvelopeFields,
  hexToBytes,
  linkOf,
  MusterError,
  networkName,
  type NodeId,
  objectKinds,
  openEnvelope,
  parseAddress,
  sealEnvelope,
  type SignatureCheck,
  type Signer,
  signingBytes,
  signObject,
  verifyObject,
} from '@muster/protocol';

function signerOf(seed: number): Signer {
  const der = Buffer.concat([hexToBytes('0x302e020100300506032b657004220420'), new Uint8Array(32).fill(seed)]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const node = bytesToHex(createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(-32)) as NodeId;
  return { node, sign: (message) => new Uint8Array(sign(null, message, key)) };
}

const check: SignatureCheck = (node, message, signature) => {
  const der = Buffer.concat([hexToBytes('0x302a300506032b6570032100'), hexToBytes(node)]);
  return verify(null, message, createPublicKey({ key: der, format: 'der', type: 'spki' }), signature);
};

const key = signerOf(1);
const network = networkName(31_337, parseAddress(`0x${'ab'.repeat(20)}`));
const nowMs = 1_700_000_000_000;
const fields: EnvelopeFields = {
  kind: 'commit',
  network,
  nonce: new Uint8Array(16).fill(5),
  issuedAtMs: nowMs,
  body: { task: 3, list: [1, null] },
};
const options = { network, kinds: ['commit', 'reveal'], verify: check, nowMs, windowMs: 60_000 };

function refusal(bytes: Uint8Array, changed: Partial<typeof options & { maxBytes: number }> = {}): MusterError {
  try {
    openEnvelope(bytes, { ...options, ...changed });
  } catch (error) {
    if (error instanceof MusterError) return error;
    throw error;
  }
  throw new Error('the envelope was accepted');
}

const parts = (): { payload: Uint8Array; signature: Uint8Array } =>
  decodeCanonical(sealEnvelope(key, fields)) as { payload: Uint8Array; signature: Uint8Array };

/** An envelope with any payload, signed as it should be. */
function sealed(payload: unknown, signer: Signer = key): Uint8Array {
  const bytes = encodeCanonical(payload);
  return encodeCanonical({ payload: bytes, signature: signer.sign(signingBytes('muster-envelope-v1', cidOfBytes(bytes, 'dag-cbor'))) });
}

describe('sealed envelope', () => {
  it('opens to what was sealed, with its sender', () => {
    expect(openEnvelope(sealEnvelope(key, fields), options)).toEqual({ ...fields, node: key.node });
  });

  it('carries any body', () => {
    for (const body of [null, 0, 'text', [], {}, new Uint8Array(3), linkOf(cidOfBytes(Uint8Array.of(1), 'raw')), { a: { b: [1.5] } }]) {
      const opened = openEnvelope(sealEnvelope(key, { ...fields, body }), options);
      expect(encodeCanonical(opened.body)).toEqual(encodeCanonical(body));
    }
  });

  it('is the same bytes for the same fields, so that a retry can be recognised', () => {
    expect(sealEnvelope(key, fields)).toEqual(sealEnvelope(key, { ...fields }));
  });

  it('is signed over its domain and the content id of its payload', () => {
    const { payload, signature } = parts();
    const cid = cidOfBytes(payload, 'dag-cbor');
    const message = Buffer.concat([Buffer.from('muster-envelope-v1', 'ascii'), linkOf(cid).bytes]);
    expect(signingBytes('muster-envelope-v1', cid)).toEqual(new Uint8Array(message));
    expect(check(key.node, message, signature)).toBe(true);
  });

  it('is refused as unsigned where there is no signature', () => {
    const { payload } = parts();
    const unsigned = [new Uint8Array(0), payload, encodeCanonical(fields.body), encodeCanonical({ payload, signature: new Uint8Array(0) })];
    unsigned.push(encodeCanonical({ payload, signature: null }), encodeCanonical({ payload }), encodeCanonical([]), encodeCanonical(7));
    for (const bytes of unsigned) expect(refusal(bytes).code).toBe('SIGNATURE_MISSING');
  });

  it('is refused where the signature is of another key, other bytes or another domain', () => {
    const { payload, signature } = parts();
    const foreign = signerOf(2).sign(signingBytes('muster-envelope-v1', cidOfBytes(payload, 'dag-cbor')));
    const domain = key.sign(signingBytes('muster-object-v1/verdict', cidOfBytes(payload, 'dag-cbor')));
    const flipped = signature.slice();
    flipped[10] = (flipped[10] ?? 0) ^ 1;
    for (const bad of [foreign, domain, flipped, new Uint8Array(64)]) {
      const refused = refusal(encodeCanonical({ payload, signature: bad }));
      expect(refused.code).toBe('SIGNATURE_INVALID');
      expect(refused.details).toEqual({ claimedNode: key.node });
    }
    const other = encodeCanonical({ ...(decodeCanonical(payload) as object), body: 'other' });
    expect(refusal(encodeCanonical({ payload: other, signature })).code).toBe('SIGNATURE_INVALID');
  });

  it('is refused outside the window to either side, and accepted at its edge', () => {
    for (const issuedAtMs of [nowMs - 60_001, nowMs + 60_001, 0]) {
      const refused = refusal(sealEnvelope(key, { ...fields, issuedAtMs }));
      expect(refused.code).toBe('REQUEST_EXPIRED');
      expect(refused.details).toMatchObject({ node: key.node, kind: 'commit', issuedAtMs });
    }
    for (const issuedAtMs of [nowMs - 60_000, nowMs + 60_000]) openEnvelope(sealEnvelope(key, { ...fields, issuedAtMs }), options);
  });

  it('is refused on another network and for a kind not taken there, naming the sender', () => {
    const elsewhere = refusal(sealEnvelope(key, { ...fields, network: 'eip155:1:0x00' }));
    expect(elsewhere).toMatchObject({ code: 'FIELD_INVALID', details: { field: 'envelope.network', node: key.node, kind: 'commit' } });
    const kind = refusal(sealEnvelope(key, { ...fields, kind: 'constructor' }));
    expect(kind).toMatchObject({ code: 'FIELD_INVALID', details: { field: 'envelope.kind', node: key.node } });
  });

  it('is refused for wrong, missing and unknown fields', () => {
    const good = { version: 1, ...fields, node: key.node };
    const { kind: _kind, ...withoutKind } = good;
    const wrong: readonly unknown[] = [
      { ...good, version: 2 },
      { ...good, extra: 1 },
      withoutKind,
      { ...good, kind: 'Not A Kind' },
      { ...good, nonce: new Uint8Array(15) },
      { ...good, node: '0x00' },
      { ...good, issuedAtMs: -1 },
      { ...good, issuedAtMs: 1.5 },
      { ...good, network: '' },
      [],
      null,
    ];
    for (const payload of wrong) expect(refusal(sealed(payload)).code).toBe('FIELD_INVALID');
    const { payload, signature } = parts();
    expect(refusal(encodeCanonical({ payload, signature, more: 1 })).code).toBe('FIELD_INVALID');
    expect(refusal(encodeCanonical({ payload, signature: new Uint8Array(63) })).code).toBe('FIELD_INVALID');
    expect(refusal(encodeCanonical({ payload: 'text', signature })).code).toBe('FIELD_INVALID');
  });

  it('cannot be sealed with fields that would be refused', () => {
    for (const bad of [{ kind: 'A' }, { nonce: new Uint8Array(3) }, { network: '' }, { issuedAtMs: -5 }]) {
      expect(() => sealEnvelope(key, { ...fields, ...bad })).toThrow(expect.objectContaining({ code: 'FIELD_INVALID' }));
    }
  });

  it('is refused over the limit, malformed, or not canonical, inside and outside', () => {
    expect(refusal(sealEnvelope(key, fields), { maxBytes: 50 }).code).toBe('BYTES_TOO_LARGE');
    expect(refusal(Uint8Array.of(0xff)).code).toBe('BYTES_MALFORMED');
    expect(refusal(Uint8Array.from([...sealEnvelope(key, fields), 0])).code).toBe('BYTES_MALFORMED');
    const payload = Uint8Array.of(0x18, 0x01);
    const signature = key.sign(signingBytes('muster-envelope-v1', cidOfBytes(payload, 'dag-cbor')));
    expect(refusal(encodeCanonical({ payload, signature })).code).toMatch(/^BYTES_/);
  });

  it('answers any bytes, and any change of good bytes, with a coded error', () => {
    const good = sealEnvelope(key, fields);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(refusal(bytes)).toBeInstanceOf(MusterError);
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (place, flip) => {
        const changed = good.slice();
        changed[place] = (changed[place] ?? 0) ^ flip;
        expect(refusal(changed).code).toMatch(/^(?:BYTES_|SIGNATURE_|FIELD_INVALID)/);
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.nat(good.length - 1), (length) => {
        expect(refusal(good.slice(0, length)).code).toMatch(/^(?:BYTES_|SIGNATURE_MISSING)/);
      }),
    );
  });
});

describe('signed object', () => {
  const object = cidOfBytes(encodeCanonical({ any: 'object' }), 'dag-cbor');

  it('holds for its kind, object and node only', () => {
    const signed = signObject(key, 'verdict', object);
    verifyObject('verdict', signed, check);
    const wrong = [
      () => verifyObject('checkpoint', signed, check),
      () => verifyObject('verdict', { ...signed, object: cidOfBytes(Uint8Array.of(1), 'dag-cbor') }, check),
      () => verifyObject('verdict', { ...signed, node: signerOf(2).node }, check),
    ];
    for (const run of wrong) expect(run).toThrow(expect.objectContaining({ code: 'SIGNATURE_INVALID' }));
  });

  it('has the form that objectKinds.signed reads back', () => {
    const signed = signObject(key, 'verdict', object);
    const { bytes } = encodeLinked(signed);
    expect(objectKinds.signed.schema(decodeCanonical(bytes), 'signed')).toEqual(signed);
  });

  it('cannot have a domain outside printable ASCII', () => {
    expect(() => signingBytes('ünsafe', object)).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
  });
});
