import { describe, expect, test } from 'vitest';
import { contourLevels, formatCount, formatNumber, formatTicks, linearTicks, logTicks, niceStep } from '../src/core/ticks';
import { random } from './frames';

const isRound = (v: number) => v === 0 || [1, 2, 2.5, 5].some((m) => {
  const k = Math.log10(Math.abs(v) / m);
  return Math.abs(k - Math.round(k)) < 1e-9;
});

describe('linear ticks', () => {
  test('by hand', () => {
    expect(linearTicks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(linearTicks(-1, 1, 4)).toEqual([-1, -0.5, 0, 0.5, 1]);
    expect(linearTicks(0.13, 6.4, 6)).toEqual([2, 4, 6]);
    expect(linearTicks(3, 3, 5)).toEqual([3]);
  });

  test('lie inside, evenly, at a round step, near the wanted number', () => {
    const next = random(1);
    for (let n = 0; n < 500; n++) {
      const low = (next() - 0.5) * 10 ** (12 * next() - 6);
      const high = low + 10 ** (12 * next() - 6);
      const ticks = linearTicks(low, high, 6);
      const slack = 1e-6 * (high - low);
      expect(ticks.length).toBeLessThanOrEqual(8);
      expect(ticks.length).toBeGreaterThanOrEqual(2);
      expect(ticks[0]).toBeGreaterThanOrEqual(low - slack);
      expect(ticks[ticks.length - 1]).toBeLessThanOrEqual(high + slack);
      expect(isRound(niceStep((high - low) / 6))).toBe(true);
    }
  });
});

describe('logarithmic ticks', () => {
  test('by hand', () => {
    expect(logTicks(0.01, 100, 6)).toEqual([0.01, 0.1, 1, 10, 100]);
    expect(logTicks(1e-12, 1, 6)).toEqual([1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1]);
    expect(logTicks(2.1, 2.4, 6)).toEqual([2.1, 2.15, 2.2, 2.25, 2.3, 2.35, 2.4]);
  });

  test('always at least two within a range that spans a factor of 1.2', () => {
    const next = random(2);
    for (let n = 0; n < 500; n++) {
      const low = 10 ** (20 * next() - 10);
      const high = low * (1.2 + 10 ** (8 * next()));
      const ticks = logTicks(low, high, 6);
      expect(ticks.length).toBeGreaterThanOrEqual(2);
      expect(ticks.length).toBeLessThanOrEqual(9);
      for (const t of ticks) expect(t >= low * 0.999999 && t <= high * 1.000001).toBe(true);
      expect([...ticks].sort((a, b) => a - b)).toEqual(ticks);
    }
  });
});

describe('contour levels', () => {
  test('hold every tick inside the range, on both scales', () => {
    const next = random(3);
    for (let n = 0; n < 500; n++) {
      const log = n % 2 === 0;
      const low = 10 ** (8 * next() - 4);
      const high = low * (1.05 + 10 ** (6 * next() - 1));
      const ticks = log ? logTicks(low, high, 6) : linearTicks(low, high, 6);
      const { values, major } = contourLevels(low, high, log, ticks, 12);
      const inside = ticks.filter((t) => t > low * (1 + 1e-9) && t < high * (1 - 1e-9));
      for (const t of inside) expect(values.some((v) => Math.abs(v - t) <= 1e-6 * Math.abs(t))).toBe(true);
      expect(major.filter(Boolean).length).toBeGreaterThanOrEqual(inside.length);
      expect(values.length).toBeLessThanOrEqual(40);
      expect([...values].sort((a, b) => a - b)).toEqual(values);
    }
  });

  test('none are wanted, none are there; nor in a constant field', () => {
    expect(contourLevels(0, 1, false, [0, 0.5, 1], 0).values).toEqual([]);
    expect(contourLevels(2, 2, false, [2], 12).values).toEqual([]);
  });

  test('follow the wanted number', () => {
    const few = contourLevels(0, 6, false, [0, 1, 2, 3, 4, 5, 6], 5).values.length;
    const many = contourLevels(0, 6, false, [0, 1, 2, 3, 4, 5, 6], 25).values.length;
    expect(few).toBe(5);
    expect(many).toBe(23);
  });
});

test.each([
  [0, '0'], [1234.5, '1,235'], [-0.5, '−0.5'], [0.012, '0.012'], [3.2e-7, '3.2×10⁻⁷'], [1e9, '10⁹'], [-2.5e12, '−2.5×10¹²'],
  [NaN, 'not a number'], [-Infinity, '−∞'], [0.1 + 0.2, '0.3'], [999999, '999,999'],
])('%s is written %s', (value, text) => {
  expect(formatNumber(value, value === 999999 ? 6 : 4)).toBe(text);
});

test('labels of one axis share their decimals', () => {
  expect(formatTicks([-1, -0.5, 0, 0.5, 1])).toEqual(['−1.0', '−0.5', '0', '0.5', '1.0']);
  expect(formatTicks([0, 0.25, 0.5])).toEqual(['0', '0.25', '0.50']);
  expect(formatTicks([0, 2000, 4000])).toEqual(['0', '2,000', '4,000']);
  expect(formatTicks([0.01, 0.1, 1, 10, 100], true)).toEqual(['0.01', '0.1', '1', '10', '100']);
  expect(formatTicks([2e-5, 4e-5])).toEqual(['2×10⁻⁵', '4×10⁻⁵']);
  expect(formatTicks([2.30001, 2.30002])).toEqual(['2.30001', '2.30002']);
});

test('counts are grouped', () => {
  expect([1, 81, 4225, 1234567].map(formatCount)).toEqual(['1', '81', '4,225', '1,234,567']);
});
