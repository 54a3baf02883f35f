/**
 * Muster's own digits: pictures of handwritten-like digits, drawn from a seed, for trying things without a download.
 *
 * Every picture bends, slants, turns, scales and shifts a glyph and draws it with a pen of random width. The arithmetic is integers
 * and + − × ÷ of float64, which ECMAScript defines to the bit, so the content id is the same everywhere. Not a benchmark: figures
 * reached on these digits say nothing about MNIST.
 */
import { integer } from '@muster/protocol';
import type { RawDataset, RawSplit } from '../dataset.ts';
import type { SplitName } from '../manifest.ts';
import { RandomStream } from '../random.ts';
import { type Glyph, glyphs, type Stroke } from './glyphs.ts';

/** Pictures are uint8 [28, 28], ink 255 on 0, as in MNIST. */
export const digitSize = 28;

export interface DigitsRequest {
  readonly seed: number;
  /** Records of the train split, from 1. */
  readonly train: number;
  /** Records of the test split; 0 for none. */
  readonly test: number;
}

/** The dataset: record i of a split depends on (seed, split, i) only, so a larger request begins with the smaller one. */
export function drawDigits(request: DigitsRequest): RawDataset {
  integer()(request.seed, 'seed');
  integer(1, 10_000_000)(request.train, 'train');
  integer(0, 10_000_000)(request.test, 'test');
  const splits = [drawSplit('train', request.train, request.seed)];
  if (request.test > 0) splits.push(drawSplit('test', request.test, request.seed));
  return {
    name: 'muster-digits',
    record: { feature: { dtype: 'uint8', shape: [digitSize, digitSize] }, target: { kind: 'class', classes: 10, names: null } },
    splits,
  };
}

function drawSplit(name: SplitName, records: number, seed: number): RawSplit {
  const size = digitSize * digitSize;
  const features = new Uint8Array(records * size);
  const targets = new Uint8Array(records);
  for (let record = 0; record < records; record++) {
    const random = new RandomStream(seed, 'digit', name, record);
    const digit = random.below(10);
    targets[record] = digit;
    drawDigit(digit, random, features.subarray(record * size, (record + 1) * size));
  }
  return { name, records, features, targets };
}

type Point = readonly [number, number];

/** Draws `digit` into `pixels`, uint8 [28 · 28], all zero before. */
function drawDigit(digit: number, random: RandomStream, pixels: Uint8Array): void {
  const variants = glyphs[digit] ?? [];
  const glyph = variants[random.below(variants.length)] ?? [];
  const place = randomPlacement(random);
  const radius = uniform(random, 0.7, 1.6);
  const softness = uniform(random, 0.45, 0.8);
  const ink = uniform(random, 0.75, 1);
  const coverage = new Float64Array(pixels.length);
  for (const stroke of bend(glyph, random)) {
    const path = (stroke.smooth ? splinePoints(stroke.points) : stroke.points).map(place);
    for (let i = 1; i < path.length; i++) {
      const from = path[i - 1];
      const to = path[i];
      if (from !== undefined && to !== undefined) drawSegment(coverage, from, to, radius, softness);
    }
  }
  for (let i = 0; i < pixels.length; i++) {
    const grain = random.below(17) - 8;
    const shade = Math.floor((coverage[i] ?? 0) * ink * 255 + 0.5);
    pixels[i] = Math.max(0, Math.min(255, shade === 0 ? (random.below(40) === 0 ? random.below(60) : 0) : shade + grain));
  }
}

/** A number in [low, high), one of 2¹⁶ steps. */
function uniform(random: RandomStream, low: number, high: number): number {
  return low + ((high - low) * random.below(65_536)) / 65_536;
}

/** About normal with standard deviation 1, in (−2.45, 2.45): three uniform numbers added. */
function bell(random: RandomStream): number {
  return (uniform(random, -1, 1) + uniform(random, -1, 1) + uniform(random, -1, 1)) * (1 / 1.2247);
}

/** The glyph with every point moved a little, joints of strokes included. */
function bend(glyph: Glyph, random: RandomStream): Stroke[] {
  return glyph.map(({ smooth, points }) => ({
    smooth,
    points: points.map(([x, y]): Point => [x + 4 * bell(random), y + 4 * bell(random)]),
  }));
}

/** From glyph coordinates to pixels: scale, slant, turn, shift. Turning by 2·atan(t) needs no sine: ((1 − t²), 2t) / (1 + t²). */
function randomPlacement(random: RandomStream): (point: Point) => Point {
  const half = 0.085 * bell(random);
  const cosine = (1 - half * half) / (1 + half * half);
  const sine = (2 * half) / (1 + half * half);
  const slant = 0.2 * bell(random);
  const wide = uniform(random, 0.14, 0.22);
  const high = uniform(random, 0.16, 0.22);
  const left = digitSize / 2 + 1.2 * bell(random);
  const top = digitSize / 2 + 1.2 * bell(random);
  return ([x, y]) => {
    const across = (x - 50) * wide - (y - 50) * high * slant;
    const down = (y - 50) * high;
    return [left + across * cosine - down * sine, top + across * sine + down * cosine];
  };
}

const spanSteps = 5;

/** Points along the Catmull–Rom spline through `points`, the ends doubled. */
function splinePoints(points: readonly Point[]): Point[] {
  const path: Point[] = [];
  for (let span = 0; span + 1 < points.length; span++) {
    const p1 = points[span] ?? [0, 0];
    const p2 = points[span + 1] ?? p1;
    const p0 = points[span - 1] ?? p1;
    const p3 = points[span + 2] ?? p2;
    for (let step = span === 0 ? 0 : 1; step <= spanSteps; step++) {
      const t = step / spanSteps;
      path.push([catmullRom(p0[0], p1[0], p2[0], p3[0], t), catmullRom(p0[1], p1[1], p2[1], p3[1], t)]);
    }
  }
  return path;
}

function catmullRom(a: number, b: number, c: number, d: number, t: number): number {
  return 0.5 * (2 * b + t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * b - a - 3 * c + d))));
}

/**
 * Raises `coverage` along a segment: 1 within radius − softness of it, 0 beyond radius + softness, between them linear in the
 * squared distance (no square root).
 */
function drawSegment(coverage: Float64Array, from: Point, to: Point, radius: number, softness: number): void {
  const [x0, y0] = from;
  const dx = to[0] - x0;
  const dy = to[1] - y0;
  const lengthSquared = dx * dx + dy * dy;
  const reach = radius + softness;
  const outer = reach * reach;
  const inner = (radius - softness) * Math.max(0, radius - softness);
  for (let row = clampPixel(Math.min(y0, to[1]) - reach); row <= clampPixel(Math.max(y0, to[1]) + reach); row++) {
    for (let column = clampPixel(Math.min(x0, to[0]) - reach); column <= clampPixel(Math.max(x0, to[0]) + reach); column++) {
      const px = column + 0.5 - x0;
      const py = row + 0.5 - y0;
      const along = lengthSquared === 0 ? 0 : Math.max(0, Math.min(1, (px * dx + py * dy) / lengthSquared));
      const ex = px - along * dx;
      const ey = py - along * dy;
      const distanceSquared = ex * ex + ey * ey;
      const shade = Math.max(0, Math.min(1, (outer - distanceSquared) / (outer - inner)));
      const at = row * digitSize + column;
      if (shade > (coverage[at] ?? 0)) coverage[at] = shade;
    }
  }
}

function clampPixel(value: number): number {
  return Math.max(0, Math.min(digitSize - 1, Math.floor(value)));
}
