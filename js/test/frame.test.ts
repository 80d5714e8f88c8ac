import { describe, expect, test } from 'vitest';
import { formatNumber } from '../src/core/ticks';
import { heightOf, makeField, sampleHeight } from '../src/pictures/surface/field';
import { decimal, nearest, unitOfGrid, unitPoint } from '../src/pictures/surface/frame';
import { maskedText, outsideText, pointText, summary } from '../src/pictures/surface/summary';
import { frameOf } from './frames';

const ramp = (x: number, y: number) => 10 * x + y;

describe('field', () => {
  test('range, place of the minimum, and what is masked', () => {
    const raw = frameOf((x, y) => (x > 0.9 ? NaN : x < -0.9 ? Infinity : x * x + (y - 0.25) ** 2 - 0.05), { nx: 9, ny: 9 });
    const field = makeField(raw);
    expect(field.notFinite).toBe(18);
    expect(field.min).toBeCloseTo(-0.05, 6);
    expect(field.argmin).toBe(4 * 9 + 5);
    expect(maskedText(field)).toBe('18 of 81 values are not finite');
    const rims = new Uint8Array(81).fill(1);
    for (let j = 1; j < 9; j++) rims[j] = 0;
    const partly = { ...raw, evaluated: rims };
    expect(maskedText(makeField(partly))).toBe('10 of 81 values are not finite; 8 of 81 values were not measured and cannot be interpolated');
    expect(pointText(partly, 0, 3)).toMatchObject({ metrics: [['loss', 'not known']], how: 'not measured' });
    expect(pointText(partly, 0, 0)).toMatchObject({ metrics: [['loss', formatNumber(Infinity, 5)]], how: 'measured' });
    const logarithmic = makeField({ ...raw, log: true });
    expect(logarithmic.notPositive).toBeGreaterThan(0);
    expect(logarithmic.min).toBeGreaterThan(0);
    expect(maskedText(logarithmic)).toContain('not positive and cannot be drawn on a log scale');
  });

  test('heights run from 0 to 1, a constant lies in the middle', () => {
    const heights = makeField(frameOf((x) => 10 ** (4 * x), { log: true, nx: 5, ny: 2 })).heights;
    [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1, 1].forEach((h, k) => expect(heights[k]).toBeCloseTo(h, 5));
    expect(heightOf(3, 3, false)(3)).toBe(0.5);
  });

  test('interpolation is exact for bilinear functions and knows holes', () => {
    const frame = (frameOf((x, y) => 1 + x + 2 * y + 3 * x * y, { nx: 5, ny: 3, x: [0, 4], y: [0, 2] }));
    const at = (u: number, v: number) => sampleHeight(frame.values[0]!, 5, 3, u, v);
    expect(at(1.3, 0.7)).toBeCloseTo(1 + 1.3 + 1.4 + 3 * 1.3 * 0.7, 5);
    expect(at(4, 2)).toBeCloseTo(1 + 4 + 4 + 24, 5);
    const holed = Float32Array.from(frame.values[0]!);
    holed[1 * 3 + 1] = NaN;
    expect(sampleHeight(holed, 5, 3, 1.5, 1.5)).toBeNaN();
    expect(sampleHeight(holed, 5, 3, 2.5, 1.5)).not.toBeNaN();
  });
});

describe('words', () => {
  const raw = frameOf((x, y, m) => (m ? 0.5 : x * x + y * y), { nx: 9, ny: 5, metrics: ['loss', 'error'], errors: [0.01, null], every: 2 });

  test('the summary says what is drawn, where it is least, and how sure it is', () => {
    expect(summary(makeField(raw))).toBe(
      'loss from 0 at (0, 0) to 2 · 15 of 45 points measured (33 %) · interpolation error at most about 0.01 (0.5 % of the range)',
    );
  });

  test('a point tells every metric and how it is known', () => {
    const frame = raw;
    expect(pointText(frame, 4, 2)).toEqual({ where: 'alpha = 0, beta = 0', metrics: [['loss', '0'], ['error', '0.5']], how: 'measured' });
    expect(pointText(frame, 1, 1).how).toBe('interpolated, within 0.01 (loss), not known yet (error)');
    expect(pointText((frameOf(ramp, { every: 2, errors: [0.012] })), 1, 1).how).toBe('interpolated, within 0.012');
    expect(pointText((frameOf(ramp, { every: 2 })), 1, 1).how).toBe('interpolated, error not known yet');
  });
});

test('nearest grid line', () => {
  const x = Float32Array.of(0, 1, 2, 4);
  expect([-5, 0.4, 0.6, 2.9, 3.1, 9].map((v) => nearest(x, v))).toEqual([0, 0, 1, 2, 3, 3]);
});

test('a float32 is written as the decimal it stands for', () => {
  expect(decimal(Math.fround(0.3))).toBe(0.3);
  expect(decimal(-1)).toBe(-1);
});

describe('cells', () => {
  const names: [string[], string[]] = [['cat', 'dog', 'eel'], ['low', 'high']];
  const frame = frameOf((x, y) => 10 * x + y, { nx: 3, ny: 2, x: [0, 2], y: [0, 1], names });

  test('are called by their names, and lie in the middle of their squares', () => {
    expect(pointText(frame, 2, 1)).toMatchObject({ where: 'alpha = eel, beta = high', metrics: [['loss', '21']] });
    expect(summary(makeField(frame))).toBe('loss from 0 at (cat, low) to 21 · all 6 cells measured');
    expect([unitOfGrid(frame, 0, 0), unitOfGrid(frame, 2, 1)]).toEqual([[1 / 6, 0.25], [5 / 6, 0.75]]);
    expect([unitPoint(frame, 0, 0), unitPoint(frame, 2, 1), unitPoint(frame, 0.5, 0)]).toEqual([[1 / 6, 0.25], [5 / 6, 0.75], [1 / 3, 0.25]]);
    expect(unitPoint({ ...frame, x: Float32Array.of(1, 10, 1000) }, 505, 0)[0]).toBeCloseTo(2 / 3, 6); // half way from one cell to the next
  });

  test('a marker beside them lies outside', () => {
    expect(outsideText([], [{ x: 2.4, y: 0, label: '' }, { x: 2.6, y: 0, label: '' }], frame)).toEqual(['1 of 2 markers lies outside the picture']);
  });

  test('one row of them is enough', () => {
    const row = frameOf((x) => x, { nx: 3, ny: 1, x: [0, 2], names: [names[0], ['only']] });
    expect(summary(makeField(row))).toContain('from 0 at (cat, only) to 2');
    expect([unitOfGrid(row, 1, 0), unitPoint(row, 1, row.y[0]!)]).toEqual([[0.5, 0.5], [0.5, 0.5]]);
  });
});
