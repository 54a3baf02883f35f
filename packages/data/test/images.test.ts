import { encode as encodePng } from 'fast-png';
import { zlibSync } from 'fflate';
import * as fc from 'fast-check';
import { encode as encodeJpeg } from 'jpeg-js';
import { describe, expect, test } from 'vitest';
import { decodePicture, ImageCollector, noHeldOut, packDataset } from '../src/index.ts';
import { errorOf, onlyCoded } from './support.ts';

const file = (name: string, bytes: Uint8Array) => ({ name, bytes });
const png = (channels: number, data: readonly number[], width = 2, height = 1, depth: 8 | 16 = 8) =>
  encodePng({ width, height, channels, depth, data: depth === 8 ? Uint8Array.from(data) : Uint16Array.from(data) });
const pixels = (bytes: Uint8Array) => [...decodePicture(file('p', bytes)).rgb];

const word = (value: number) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

/** A PNG of given chunks, with right checksums. */
function rawPng(chunks: readonly (readonly [string, readonly number[] | Uint8Array])[]): Uint8Array {
  const bytes = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
  for (const [type, content] of chunks) {
    const body = Array.from({ length: 4 }, (_, i) => type.charCodeAt(i)).concat(...content);
    let crc = 0xffffffff;
    for (const byte of body) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
    bytes.push(...word(content.length), ...body, ...word(~crc >>> 0));
  }
  return Uint8Array.from(bytes);
}
const header = (width: number, height: number, depth: number, type: number, interlace = 0) =>
  ['IHDR', [0, 0, width >> 8, width & 255, 0, 0, height >> 8, height & 255, depth, type, 0, 0, interlace]] as const;

const message = (bytes: Uint8Array) => {
  const error = errorOf(() => decodePicture(file('p.png', bytes)));
  expect(error.code).toBe('DATA_MALFORMED');
  expect(error.details['file']).toBe('p.png');
  return error.message;
};

describe('PNG', () => {
  test('of every sample type becomes RGB', () => {
    expect(pixels(png(1, [7, 200]))).toEqual([7, 7, 7, 200, 200, 200]);
    expect(pixels(png(3, [1, 2, 3, 4, 5, 6]))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(pixels(png(2, [100, 255, 100, 128]))).toEqual([100, 100, 100, 50, 50, 50]);
    expect(pixels(png(4, [9, 8, 7, 255, 9, 8, 7, 0]))).toEqual([9, 8, 7, 0, 0, 0]);
    expect(pixels(png(1, [0x1234, 0xffff], 2, 1, 16))).toEqual([0x12, 0x12, 0x12, 255, 255, 255]);
  });

  test('of few bits and with a palette becomes RGB', () => {
    const bits = rawPng([
      header(10, 2, 1, 0),
      ['IDAT', zlibSync(Uint8Array.of(0, 0b10100000, 0b01000000, 0, 0, 0b10000000))],
      ['IEND', []],
    ]);
    const grey = decodePicture(file('p', bits)).rgb.filter((_, i) => i % 3 === 0);
    expect([...grey]).toEqual([255, 0, 255, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0]);
    const two = rawPng([header(3, 1, 2, 0), ['IDAT', zlibSync(Uint8Array.of(0, 0b00011000))], ['IEND', []]]);
    expect(pixels(two)).toEqual([0, 0, 0, 85, 85, 85, 170, 170, 170]);
    const indexed = rawPng([header(2, 1, 4, 3), ['PLTE', [1, 2, 3, 40, 50, 60]], ['IDAT', zlibSync(Uint8Array.of(0, 0x10))], ['IEND', []]]);
    expect(pixels(indexed)).toEqual([40, 50, 60, 1, 2, 3]);
  });

  test('keeps its pixels whatever ancillary chunks it carries, even a bomb in a colour profile', () => {
    const profile = new Uint8Array([97, 0, 0, ...zlibSync(new Uint8Array(1_000_000))]);
    const bytes = rawPng([header(1, 1, 8, 0), ['iCCP', profile], ['tEXt', [0x41]], ['IDAT', zlibSync(Uint8Array.of(0, 77))], ['IEND', []]]);
    expect(pixels(bytes)).toEqual([77, 77, 77]);
  });

  test('is refused if it is a bomb, too large, short of pixels or cut', () => {
    expect(message(rawPng([header(1, 1, 8, 0), ['IDAT', zlibSync(new Uint8Array(5_000_000))], ['IEND', []]]))).toContain(
      'more than 2 bytes',
    );
    expect(message(rawPng([header(60000, 60000, 8, 0), ['IDAT', []], ['IEND', []]]))).toContain('60000 × 60000');
    expect(message(rawPng([header(4, 4, 8, 0), ['IDAT', zlibSync(Uint8Array.of(0, 1))], ['IEND', []]]))).toContain('as many pixels');
    expect(
      message(
        rawPng([
          ['IDAT', []],
          ['IEND', []],
        ]),
      ),
    ).toContain('header');
    const good = png(3, [1, 2, 3, 4, 5, 6]);
    for (let length = 8; length < good.length; length++) message(good.subarray(0, length));
    good[good.length - 20]! ^= 1;
    message(good);
  });
});

test('JPEG becomes RGB near the original', () => {
  const data = Uint8Array.from({ length: 16 * 16 * 4 }, (_, i) => (i % 4 === 3 ? 255 : [200, 40, 90][i % 4]!));
  const jpeg = encodeJpeg({ width: 16, height: 16, data }, 95).data;
  const { width, height, rgb } = decodePicture(file('p', jpeg));
  expect([width, height, rgb.length]).toEqual([16, 16, 768]);
  expect(Math.max(...rgb.map((value, i) => Math.abs(value - [200, 40, 90][i % 3]!)))).toBeLessThan(6);
  const huge = jpeg.slice();
  const frame = huge.findIndex((byte, i) => byte === 0xff && huge[i + 1] === 0xc0);
  huge.set([0xff, 0xff, 0xff, 0xff], frame + 5);
  expect(errorOf(() => decodePicture(file('p', huge))).code).toBe('DATA_MALFORMED');
});

test('random and damaged pictures give coded errors only', () => {
  const shades = Array.from({ length: 64 * 3 }, (_, i) => (i * 37) % 256);
  const samples = [
    png(3, shades, 8, 8),
    png(1, shades.slice(0, 64), 8, 8),
    Uint8Array.from(encodeJpeg({ width: 8, height: 8, data: new Uint8Array(256).fill(99) }, 60).data),
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...samples),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      fc.nat(),
      (bytes, edits, cut) => {
        const changed = bytes.slice(0, cut % 4 === 0 ? cut % bytes.length : bytes.length);
        for (const [at, byte] of edits) if (changed.length > 0) changed[at % changed.length] = byte;
        onlyCoded(() => decodePicture(file('x', changed)), ['DATA_MALFORMED']);
      },
    ),
    { numRuns: 1500 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      onlyCoded(() => decodePicture(file('x', bytes)), ['DATA_MALFORMED']);
      onlyCoded(() => decodePicture(file('x', Uint8Array.of(0xff, 0xd8, 0xff, ...bytes))), ['DATA_MALFORMED']);
    }),
    { numRuns: 500 },
  );
});

describe('a folder of pictures', () => {
  test('of grey ones has the shape [height, width], under a pinned content id', () => {
    const collector = new ImageCollector('auto', 1000);
    collector.add('train', 'one', file('one/a.png', png(1, [7, 200])));
    collector.add('train', 'dot', file('dot/b.png', png(3, [9, 9, 9, 1, 1, 1])));
    collector.add('test', 'dot', file('dot/c.png', png(1, [0, 3])));
    const dataset = collector.finish('pictures', noHeldOut);
    expect(dataset.record).toEqual({
      feature: { dtype: 'uint8', shape: [1, 2] },
      target: { kind: 'class', classes: 2, names: ['dot', 'one'] },
    });
    expect(dataset.splits.map((split) => [...split.features])).toEqual([
      [7, 200, 9, 1],
      [0, 3],
    ]);
    expect(dataset.splits.map((split) => [...split.targets])).toEqual([[1, 0], [0]]);
    expect(packDataset(dataset).cid).toMatchInlineSnapshot(`"bafyreia5eecjiqeto3zh2pitia6lgnbcvgkxtpopzixzti76g4sm43cufq"`);
  });

  test('of which one has colour has three planes', () => {
    const collector = new ImageCollector('auto', 1000);
    collector.add('train', 'a', file('a/1.png', png(1, [7, 200])));
    collector.add('train', 'a', file('a/2.png', png(3, [1, 2, 3, 4, 5, 6])));
    const dataset = collector.finish('pictures', noHeldOut);
    expect(dataset.record.feature.shape).toEqual([3, 1, 2]);
    expect([...dataset.splits[0]!.features]).toEqual([7, 200, 7, 200, 7, 200, 1, 4, 2, 5, 3, 6]);
  });

  test('is made grey or kept in planes as asked', () => {
    const grey = new ImageCollector(true, 1000);
    grey.add('train', 'a', file('a/1.png', png(3, [255, 0, 0, 10, 10, 10])));
    expect([...grey.finish('p', noHeldOut).splits[0]!.features]).toEqual([77, 10]);
    const planes = new ImageCollector(false, 1000);
    planes.add('train', 'a', file('a/1.png', png(1, [1, 2])));
    expect(planes.finish('p', noHeldOut).record.feature.shape).toEqual([3, 1, 2]);
  });

  test('is refused with pictures of two sizes, none, too many bytes, or a class only tested', () => {
    const collector = new ImageCollector('auto', 10);
    expect(errorOf(() => collector.finish('p', noHeldOut)).code).toBe('DATA_MALFORMED');
    collector.add('train', 'a', file('a/1.png', png(1, [1, 2])));
    expect(errorOf(() => collector.add('train', 'a', file('a/2.png', png(1, [1, 2, 3], 3)))).details['file']).toBe('a/2.png');
    expect(
      errorOf(() => {
        for (let i = 0; i < 9; i++) collector.add('train', 'a', file('a/3.png', png(1, [1, 2])));
      }).code,
    ).toBe('BYTES_TOO_LARGE');
    const tested = new ImageCollector('auto', 1000);
    tested.add('train', 'a', file('a/1.png', png(1, [1, 2])));
    tested.add('test', 'b', file('b/1.png', png(1, [1, 2])));
    expect(errorOf(() => tested.finish('p', noHeldOut)).details['file']).toBe('b/1.png');
    expect(errorOf(() => decodePicture(file('x.gif', Uint8Array.of(71, 73, 70)))).code).toBe('DATA_MALFORMED');
  });
});
