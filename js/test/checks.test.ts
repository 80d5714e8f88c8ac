import { expect, test } from 'vitest';
import { countText, passText } from '../src/parts/checks';
import { colormap, COLORMAPS } from '../src/pictures/surface/colormaps';

test('checks are counted in words', () => {
  const checks = (states: string) => states.split(' ').map((state) => ({ state }));
  expect(countText(checks('pass pass warn'))).toBe('2 passed, 1 warning');
  expect(countText(checks('fail fail info pending'))).toBe('2 failures, 1 note, 1 pending');
  expect(countText(checks('constructor toString pass'))).toBe('1 passed, 2 notes');
  expect(countText([])).toBe('nothing checked yet');
});

test('a page says how many pass, and what of those that do not', () => {
  const checks = (states: string) => states.split(' ').map((state) => ({ state }));
  expect(passText(checks('pass pass pass'))).toBe('3 checks pass');
  expect(passText(checks('pass info'))).toBe('1 check passes');
  expect(passText(checks('pass pass fail warn info'))).toBe('2 of 4 checks pass: 1 failure, 1 warning');
  expect(passText(checks('info'))).toBe('1 note');
  expect(passText([])).toBe('nothing checked yet');
});

test.each(COLORMAPS)('%s gets lighter all the way', (name) => {
  const table = colormap(name);
  let last = -1;
  for (let k = 0; k < 256; k += 8) {
    const light = 0.2126 * table[4 * k]! + 0.7152 * table[4 * k + 1]! + 0.0722 * table[4 * k + 2]!;
    expect(light).toBeGreaterThan(last);
    last = light;
  }
});
