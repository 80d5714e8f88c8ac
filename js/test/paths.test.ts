import { describe, expect, test } from 'vitest';
import { type Companion, decodeCompanion } from '../src/core/companion';
import type { HeightPicture } from '../src/core/document';
import { cornersOf, mixPaths } from '../src/core/mixing';
import { partsInside, type Path } from '../src/core/paths';
import { pathsText } from '../src/core/summary';
import { documentOf, heightPicture, slider, study, Table } from './companions';
import { random } from './frames';

const unit = { x: Float32Array.of(0, 1), y: Float32Array.of(0, 1) };
const path = (points: [number, number][], more: Partial<Path> = {}): Path =>
  ({ x: points.map(([x]) => x), y: points.map(([, y]) => y), label: '', color: '#000000', ...more });
const near = (parts: readonly (readonly (readonly number[])[])[]) => parts.map((part) => part.map((p) => p.map((v) => expect.closeTo(v, 4))));

describe('what of a path lies in the picture', () => {
  test.each<[string, [number, number][], [number, number][][]]>([
    ['all of it', [[0, 0], [0.5, 1], [1, 0]], [[[0, 0], [0.5, 1], [1, 0]]]],
    ['the rest of one that leaves', [[0.5, 0.5], [2, 0.5]], [[[0.5, 0.5], [1, 0.5]]]],
    ['the middle of one that passes', [[-1, -0.5], [2, 1]], [[[0, 0], [1, 0.5]]]],
    ['both ends of one that comes back', [[0.5, 0.5], [1.5, 0.5], [1.5, 0.8], [0.5, 0.8]], [[[0.5, 0.5], [1, 0.5]], [[1, 0.8], [0.5, 0.8]]]],
    ['nothing of one beside it', [[-1, 0.5], [-0.1, 2], [2, 2]], []],
    ['a vertical one', [[0.25, -3], [0.25, 4]], [[[0.25, 0], [0.25, 1]]]],
    ['nothing of a horizontal one above', [[0, 1.1], [1, 1.1]], []],
    ['a border that float32 put a little further in', [[0, 1 + 5e-7], [1, 1 + 5e-7]], [[[0, 1], [1, 1]]]],
    ['the point of one that stands still', [[0.5, 0.5], [0.5, 0.5]], [[[0.5, 0.5], [0.5, 0.5]]]],
    ['nothing where a coordinate is no number', [[NaN, 0.5], [0.5, 0.5], [1, 1]], [[[0.5, 0.5], [1, 1]]]],
  ])('%s', (_, points, parts) => {
    expect(partsInside(path(points), unit, Infinity)).toEqual(near(parts));
  });

  test('coordinates are those of the axes', () => {
    const frame = { x: Float32Array.of(-1, 0, 3), y: Float32Array.of(10, 30) };
    expect(partsInside(path([[-1, 10], [1, 30], [3, 20]]), frame, Infinity)).toEqual(near([[[0, 0], [0.5, 1], [1, 0.5]]]));
  });

  test.each([0.1, 0.013])('steps are at most %f, and every one lies on the path', (step) => {
    const next = random(3);
    for (let n = 0; n < 40; n++) {
      const points = Array.from({ length: 6 }, (): [number, number] => [3 * next() - 1, 3 * next() - 1]);
      for (const part of partsInside(path(points), unit, step)) {
        part.forEach((p, k) => {
          if (k) expect(Math.hypot(p[0] - part[k - 1]![0], p[1] - part[k - 1]![1])).toBeLessThan(step * 1.0001);
          expect(Math.max(Math.abs(p[0] - 0.5), Math.abs(p[1] - 0.5))).toBeLessThan(0.50001);
          const off = points.slice(1).map((b, s) => {
            const a = points[s]!;
            const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
            return Math.abs((p[0] - a[0]) * dy - (p[1] - a[1]) * dx) / Math.hypot(dx, dy);
          });
          expect(Math.min(...off)).toBeLessThan(1e-6);
        });
      }
    }
  });
});

test('names are told, and only names', () => {
  expect(pathsText([path([], { label: 'straight' }), path([]), path([], { label: 'curve' })])).toBe('paths: straight, curve');
  expect(pathsText([path([], { label: 'one' })])).toBe('path: one');
  expect(pathsText([path([])])).toBe('');
});

describe('paths of a document', () => {
  const ramp = (x: number) => x;
  const stored = (table: Table, xs: number[], ys: number[], more: object = {}) =>
    ({ x: table.floats(xs), y: table.floats(ys), label: 'p', color: '#0072B2', ...more });
  const pictureOf = ({ studies }: Companion, k = 0) => studies[0]!.frames[k]![0] as HeightPicture;
  async function opened(paths: (table: Table) => unknown) {
    const table = new Table();
    return decodeCompanion(await documentOf(table, study([], ['height_field'], [[0]], [heightPicture(table, ramp, { nx: 3, ny: 2 }, { paths: paths(table) })])));
  }

  test('come back to the last bit; an older document has none', async () => {
    const companion = await opened((table) => [stored(table, [0, 0.5, 2], [1, -1, 0.25], { dashed: true }), stored(table, [0, 1], [0, 1], { label: '' })]);
    const picture = pictureOf(companion);
    expect(mixPaths(companion.arrays, picture, [{ picture, weight: 1 }])).toEqual([
      { x: [0, 0.5, 2], y: [1, -1, 0.25], label: 'p', color: '#0072B2', dashed: true },
      { x: [0, 1], y: [0, 1], label: '', color: '#0072B2', dashed: false },
    ]);
    expect(pictureOf(await opened(() => undefined)).paths).toEqual([]);
  });

  test.each<[string, (table: Table) => unknown, string]>([
    ['one that is no list', () => ({}), 'paths must be a list, got an object.'],
    ['one without coordinates', (t) => [{ ...stored(t, [0, 1], [0, 1]), y: undefined }], 'paths[0].y must be an object, got nothing.'],
    ['coordinates of unequal length', (t) => [stored(t, [0, 1], [0, 1, 2])], 'paths[0].y must have shape [2], got [3].'],
    ['a grid of coordinates', (t) => [{ ...stored(t, [0, 1], [0, 1]), x: t.floats([0, 1, 2, 3], [2, 2]) }], 'paths[0].x must have shape [n], got [2, 2].'],
    ['a colour that fetches', (t) => [stored(t, [0, 1], [0, 1], { color: 'url(//x)' })], 'paths[0].color must be a colour such as #0072b2, got "url(//x)".'],
    ['dashes of words', (t) => [stored(t, [0, 1], [0, 1]), stored(t, [0, 1], [0, 1], { dashed: 'yes' })], 'paths[1].dashed must be true or false, got "yes".'],
  ])('refuses %s', async (_, paths, message) => {
    await expect(opened(paths)).rejects.toThrow(`companion: pictures[0].${message}`);
  });

  test('are mixed between positions, unless another path is there', async () => {
    const table = new Table();
    const at = (s: number, more: object = {}) => heightPicture(table, ramp, { nx: 3, ny: 2 }, { paths: [stored(table, [s, 2 * s, 4], [0, s * s, 1], more)] });
    const companion = await decodeCompanion(await documentOf(table, study(
      [slider('s', [0, 1, 2], { kind: 'number', between: 'interpolate' })], ['height_field'], [[0], [1], [2]], [at(0), at(1, { color: '#ff0000' }), at(2, { label: 'other' })],
    )));
    const mixed = (place: number, nearest: number) => {
      const parts = cornersOf(companion.studies[0]!.sliders, [place]).map(({ frame, weight }) => ({ picture: pictureOf(companion, frame), weight }));
      return mixPaths(companion.arrays, pictureOf(companion, nearest), parts)[0]!;
    };
    expect(mixed(0.25, 0)).toMatchObject({ x: [0.25, 0.5, 4], y: [0, 0.25, 1], label: 'p', color: '#0072B2' });
    expect(mixed(1.75, 2)).toMatchObject({ x: [2, 4, 4], y: [0, 4, 1], label: 'other' });
  });
});
