import { describe, expect, test } from 'vitest';
import { decodeCompanion } from '../src/document/companion';
import { leaves, partsInside, type Path, pathPointAt, pieces } from '../src/pictures/surface/paths';
import { outsideText, pathPointText, pathsText } from '../src/pictures/surface/summary';
import { documentOf, drawnAt, slider, study, surface, Table } from './companions';
import { frameOf, random } from './frames';

const unit = { x: Float32Array.of(0, 1), y: Float32Array.of(0, 1), names: null };
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
    const frame = { x: Float32Array.of(-1, 0, 3), y: Float32Array.of(10, 30), names: null };
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
  async function opened(paths: (table: Table) => unknown) {
    const table = new Table();
    return decodeCompanion(await documentOf(table, study([], ['surface'], [[0]], [surface(table, ramp, { nx: 3, ny: 2 }, { paths: paths(table) })])));
  }
  const plain = (paths: Path[]) => paths.map((path) => Object.fromEntries(Object.entries(path).map(([name, value]) => [name, value instanceof Float32Array ? [...value] : value])));

  test('come back to the last bit; a picture may have none', async () => {
    const companion = await opened((table) => [
      stored(table, [0, 0.5, 2], [1, -1, 0.25], { dashed: true, time: table.floats([0, 1, 2]), loss: table.floats([4, 2, 1]), residual: null }),
      stored(table, [0, 1], [0, 1], { label: '' }),
    ]);
    expect(plain(drawnAt(companion).paths)).toEqual([
      { x: [0, 0.5, 2], y: [1, -1, 0.25], label: 'p', color: '#0072B2', dashed: true, time: [0, 1, 2], loss: [4, 2, 1] },
      { x: [0, 1], y: [0, 1], label: '', color: '#0072B2', dashed: false },
    ]);
    expect(drawnAt(await opened(() => undefined)).paths).toEqual([]);
  });

  test.each<[string, (table: Table) => unknown, string]>([
    ['one that is no list', () => ({}), 'paths must be a list, got an object.'],
    ['one without coordinates', (t) => [{ ...stored(t, [0, 1], [0, 1]), y: undefined }], 'paths[0].y must be an object, got nothing.'],
    ['coordinates of unequal length', (t) => [stored(t, [0, 1], [0, 1, 2])], 'paths[0].y must have shape [2], got [3].'],
    ['a grid of coordinates', (t) => [{ ...stored(t, [0, 1], [0, 1]), x: t.floats([0, 1, 2, 3], [2, 2]) }], 'paths[0].x must have shape [n], got [2, 2].'],
    ['a colour that fetches', (t) => [stored(t, [0, 1], [0, 1], { color: 'url(//x)' })], 'paths[0].color must be a colour such as #0072b2, got "url(//x)".'],
    ['dashes of words', (t) => [stored(t, [0, 1], [0, 1]), stored(t, [0, 1], [0, 1], { dashed: 'yes' })], 'paths[1].dashed must be true or false, got "yes".'],
    ['a time for two points of three', (t) => [stored(t, [0, 1, 2], [0, 1, 2], { time: t.floats([0, 1]) })], 'paths[0].time must have shape [3], got [2].'],
  ])('refuses %s', async (_, paths, message) => {
    await expect(opened(paths)).rejects.toThrow(`companion: pictures[0].${message}`);
  });

  test('are mixed between positions, unless another path is there', async () => {
    const table = new Table();
    const at = (s: number, more: object = {}) => surface(table, ramp, { nx: 3, ny: 2 }, { paths: [stored(table, [s, 2 * s, 4], [0, s * s, 1], more)] });
    const companion = await decodeCompanion(await documentOf(table, study(
      [slider('s', [0, 1, 2], { kind: 'number', between: 'interpolate' })], ['surface'], [[0], [1], [2]], [at(0), at(1, { color: '#ff0000' }), at(2, { label: 'other' })],
    )));
    expect(plain(drawnAt(companion, [0.25]).paths)[0]).toMatchObject({ x: [0.25, 0.5, 4], y: [0, 0.25, 1], label: 'p', color: '#0072B2' });
    expect(drawnAt(companion, [0.25])).toMatchObject({ mixed: ['grids', 'paths'], kept: [] });
    expect(plain(drawnAt(companion, [1.75]).paths)[0]).toMatchObject({ x: [2, 4, 4], y: [0, 4, 1], label: 'other' });
    expect(drawnAt(companion, [1.75])).toMatchObject({ mixed: ['grids'], kept: ['paths'] });
  });
});

describe('what is known of a path', () => {
  test('where it leaves the picture, in the plane', () => {
    const frame = { x: Float32Array.of(-1, 1), y: Float32Array.of(0, 10), names: null };
    expect(leaves(path([[0, 5], [0.5, 9], [2, 9]]), frame)).toEqual([expect.closeTo(1, 4), 9]);
    expect(leaves(path([[0, 5], [0, 15]]), frame)).toEqual([0, expect.closeTo(10, 4)]);
    expect(leaves(path([[-3, 5], [0, 5], [-3, 6]]), frame)).toEqual([expect.closeTo(-1, 4), expect.closeTo(5 + 1 / 3, 4)]); // it comes from outside, and goes back
    expect(leaves(path([[-1, 0], [1, 10]]), frame)).toBeNull();
    expect(leaves(path([[0, 1], [NaN, NaN], [0.5, 2]]), frame)).toBeNull(); // a gap is no way out
    expect(leaves(path([[5, 5], [6, 6]]), frame)).toBeUndefined();
    const paths = [path([[0, 5], [2, 5]], { label: 'GD' }), path([[5, 5], [6, 6]])];
    const marker = (x: number) => ({ x, y: 5, label: '' });
    expect(outsideText(paths, [marker(0), marker(2), marker(3)], frame)).toEqual([
      'path “GD” leaves the picture at (1, 5)', 'a path lies outside the picture', '2 of 3 markers lie outside the picture',
    ]);
    expect(outsideText([], [marker(0)], frame)).toEqual([]);
  });

  test('far off the plane it is dashed, and the caption says from where', () => {
    const off = path([[0, 0], [1, 0], [2, 0], [3, 0], [4, 0]], { label: 'SGD', residual: [0, 0.1, 0.3, 0.5, 2] }); // a tenth of 4 is 0.4
    expect(pieces(off).map(({ x, dashed }) => [[...x], dashed])).toEqual([[[0, 1, 2], false], [[2, 3, 4], true]]);
    expect(pieces(path([[0, 0], [1, 1]]))).toHaveLength(1);
    const frame = { x: Float32Array.of(0, 4), y: Float32Array.of(-1, 1), names: null };
    expect(outsideText([off], [], frame)).toEqual(['path “SGD” is dashed where it is more than 0.4 off the plane']);
    expect(outsideText([path([[0, 0], [4, 0]], { residual: [0, 0.1] })], [], frame)).toEqual([]);
  });

  test('time, loss and residual of the point nearest to where a reader points', () => {
    const frame = frameOf((x) => x, { nx: 21, ny: 21 });
    const run = path([[-1, -1], [0, 0], [0.5, 0.5]], { label: 'GD', time: [0, 10, 20], loss: [2, 1, 0.125], residual: [0, 0.25, 0.5] });
    const found = pathPointAt([path([[0.1, 0.1]]), run], frame, 15, 15)!; // one without more to tell is passed over
    expect(found).toEqual({ path: run, k: 2 });
    expect(pathPointText(run, found.k)).toBe('GD: at time 20, loss 0.125, 0.5 off the plane');
    expect(pathPointText({ ...run, label: '', residual: undefined, time: undefined }, 1)).toBe('path: loss 1');
    expect(pathPointAt([run], frame, 15, 5)).toBeNull();
  });
});
