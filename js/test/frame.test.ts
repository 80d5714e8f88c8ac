import { describe, expect, test } from 'vitest';
import { heightOf, makeField, sampleHeight } from '../src/core/field';
import { decimal, decodeFrame, FrameError, nearest } from '../src/core/frame';
import { maskedText, pointText, summary } from '../src/core/summary';
import { formatNumber } from '../src/core/ticks';
import { rawFrame } from './frames';

const ramp = (x: number, y: number) => 10 * x + y;

describe('decoding', () => {
  test('value (i, j) of metric m is where it belongs, on a grid that is not square', () => {
    const frame = decodeFrame(rawFrame((x, y, m) => 100 * m + ramp(x, y), { nx: 5, ny: 3, metrics: ['loss', 'error'] }));
    for (let m = 0; m < 2; m++) {
      for (let i = 0; i < 5; i++) {
        for (let j = 0; j < 3; j++) expect(frame.values[m]![i * 3 + j]).toBeCloseTo(100 * m + ramp(frame.x[i]!, frame.y[j]!), 4);
      }
    }
  });

  test.each([0, 1, 2, 3, 4])('a buffer that starts %i bytes into a message', (offset) => {
    const raw = rawFrame(ramp, { nx: 4, ny: 3 });
    const shifted = new Uint8Array(offset + raw.values.byteLength);
    shifted.set(new Uint8Array(raw.values.buffer), offset);
    const frame = decodeFrame({ ...raw, values: new DataView(shifted.buffer, offset) });
    expect([...frame.values[0]!]).toEqual([...decodeFrame(raw).values[0]!]);
  });

  const good = rawFrame(ramp, { nx: 4, ny: 3 });
  const swapped = new DataView(new Float32Array([0, 2, 1, 3]).buffer);
  test.each([
    [null, 'frame must be an object, got object.'],
    [{ ...good, shape: [4, 1] }, 'shape must be two whole numbers of at least 2, got [4,1].'],
    [{ ...good, shape: [1e6, 1e6] }, 'shape must hold at most 16777216 points, got 1000000 x 1000000.'],
    [{ ...good, shape: [3, 4] }, 'x must be 12 bytes long for this shape, got 16.'],
    [{ ...good, values: new DataView(new ArrayBuffer(8)) }, 'values must be 48 bytes long for this shape, got 8.'],
    [{ ...good, evaluated: undefined }, 'evaluated must be binary, got undefined.'],
    [{ ...good, x: swapped }, 'x must be finite and strictly increasing, got 1 at index 2.'],
    [{ ...good, metric: 'acc' }, 'metric must be one of loss, got acc.'],
    [{ ...good, errors: [] }, 'errors must hold one number or null for each of the 1 metrics, got [].'],
    [{ ...good, metrics: [] }, 'metrics must name at least one metric, got none.'],
  ])('refuses %#', (raw, message) => {
    expect(() => decodeFrame(raw)).toThrow(FrameError);
    expect(() => decodeFrame(raw)).toThrow(`frame: ${message}`);
  });
});

describe('field', () => {
  test('range, place of the minimum, and what is masked', () => {
    const raw = rawFrame((x, y) => (x > 0.9 ? NaN : x < -0.9 ? Infinity : x * x + (y - 0.25) ** 2 - 0.05), { nx: 9, ny: 9 });
    const field = makeField(decodeFrame(raw));
    expect(field.notFinite).toBe(18);
    expect(field.min).toBeCloseTo(-0.05, 6);
    expect(field.argmin).toBe(4 * 9 + 5);
    expect(maskedText(field)).toBe('18 of 81 values are not finite');
    const rims = new Uint8Array(81).fill(1);
    for (let j = 1; j < 9; j++) rims[j] = 0;
    const partly = decodeFrame({ ...raw, evaluated: new DataView(rims.buffer) });
    expect(maskedText(makeField(partly))).toBe('10 of 81 values are not finite; 8 of 81 values were not measured and cannot be interpolated');
    expect(pointText(partly, 0, 3)).toMatchObject({ metrics: [['loss', 'not known']], how: 'not measured' });
    expect(pointText(partly, 0, 0)).toMatchObject({ metrics: [['loss', formatNumber(Infinity, 5)]], how: 'measured' });
    const logarithmic = makeField(decodeFrame({ ...raw, log: true }));
    expect(logarithmic.notPositive).toBeGreaterThan(0);
    expect(logarithmic.min).toBeGreaterThan(0);
    expect(maskedText(logarithmic)).toContain('not positive and cannot be drawn on a log scale');
  });

  test('heights run from 0 to 1, a constant lies in the middle', () => {
    const heights = makeField(decodeFrame(rawFrame((x) => 10 ** (4 * x), { log: true, nx: 5, ny: 2 }))).heights;
    [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1, 1].forEach((h, k) => expect(heights[k]).toBeCloseTo(h, 5));
    expect(heightOf(3, 3, false)(3)).toBe(0.5);
  });

  test('interpolation is exact for bilinear functions and knows holes', () => {
    const frame = decodeFrame(rawFrame((x, y) => 1 + x + 2 * y + 3 * x * y, { nx: 5, ny: 3, x: [0, 4], y: [0, 2] }));
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
  const raw = rawFrame((x, y, m) => (m ? 0.5 : x * x + y * y), { nx: 9, ny: 5, metrics: ['loss', 'error'], errors: [0.01, null], every: 2 });

  test('the summary says what is drawn, where it is least, and how sure it is', () => {
    expect(summary(makeField(decodeFrame(raw)))).toBe(
      'loss from 0 at (0, 0) to 2 · 15 of 45 points measured (33 %) · interpolation error at most about 0.01 (0.5 % of the range)',
    );
  });

  test('a point tells every metric and how it is known', () => {
    const frame = decodeFrame(raw);
    expect(pointText(frame, 4, 2)).toEqual({ where: 'alpha = 0, beta = 0', metrics: [['loss', '0'], ['error', '0.5']], how: 'measured' });
    expect(pointText(frame, 1, 1).how).toBe('interpolated, within 0.01 (loss), not known yet (error)');
    expect(pointText(decodeFrame(rawFrame(ramp, { every: 2, errors: [0.012] })), 1, 1).how).toBe('interpolated, within 0.012');
    expect(pointText(decodeFrame(rawFrame(ramp, { every: 2 })), 1, 1).how).toBe('interpolated, error not known yet');
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
