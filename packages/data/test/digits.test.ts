import { expect, test } from 'vitest';
import { digitSize, drawDigits, packDataset } from '../src/index.ts';

test('digits have a pinned content id', () => {
  expect(packDataset(drawDigits({ seed: 1, train: 1000, test: 200 })).cid).toMatchInlineSnapshot(
    `"bafyreicpcfu34cchc57lybknwt2d263egdstwgbr7sdhokfe4bsifntwim"`,
  );
});

test('a larger request begins with the smaller one, and another seed or split draws others', () => {
  const [train, held] = drawDigits({ seed: 3, train: 50, test: 50 }).splits;
  const larger = drawDigits({ seed: 3, train: 80, test: 0 }).splits;
  expect(larger).toHaveLength(1);
  expect(larger[0]!.features.subarray(0, train!.features.length)).toEqual(train!.features);
  expect(held!.features).not.toEqual(train!.features);
  expect(drawDigits({ seed: 4, train: 50, test: 0 }).splits[0]!.features).not.toEqual(train!.features);
});

test('every class occurs about equally often and every picture has ink within the frame', () => {
  const { features, targets, records } = drawDigits({ seed: 2, train: 2000, test: 0 }).splits[0]!;
  const counts = Array.from({ length: 10 }, () => 0);
  for (let record = 0; record < records; record++) {
    counts[targets[record]!]! += 1;
    const picture = features.subarray(record * digitSize * digitSize, (record + 1) * digitSize * digitSize);
    const inked = picture.filter((value) => value > 100).length;
    expect(inked).toBeGreaterThan(10);
    expect(inked).toBeLessThan(350);
  }
  for (const count of counts) expect(Math.abs(count - 200)).toBeLessThan(60);
});

test('the nearest class mean tells most digits apart, but far from all', () => {
  const [train, held] = drawDigits({ seed: 5, train: 3000, test: 600 }).splits;
  const size = digitSize * digitSize;
  const means = Array.from({ length: 10 }, () => new Float64Array(size));
  const counts = Array.from({ length: 10 }, () => 0);
  for (let record = 0; record < train!.records; record++) {
    const digit = train!.targets[record]!;
    counts[digit]! += 1;
    for (let i = 0; i < size; i++) means[digit]![i]! += train!.features[record * size + i]!;
  }
  let right = 0;
  for (let record = 0; record < held!.records; record++) {
    const distances = means.map((mean, digit) => {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += (mean[i]! / counts[digit]! - held!.features[record * size + i]!) ** 2;
      return sum;
    });
    if (distances.indexOf(Math.min(...distances)) === held!.targets[record]) right += 1;
  }
  expect(right / held!.records).toBeGreaterThan(0.6);
  expect(right / held!.records).toBeLessThan(0.93);
});
