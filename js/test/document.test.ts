import { describe, expect, test } from 'vitest';
import { CompanionError, decodeCompanion, landscapeCompanion } from '../src/document/companion';
import { placeOf, readSlider, type Slider, valueAt, valueText } from '../src/document/controls';
import { cornersOf, FRAMES, nearestFrame } from '../src/document/frames';
import { kindOf, PICTURES } from '../src/pictures';
import { bandPath, dotsPath, equalBox, linePath, pixelOf, valueAlong } from '../src/pictures/curves/geometry';
import { curves, deflated, documentOf, drawnAt, INJECTIONS, linear, series, slider, study, surface, Table } from './companions';
import { random } from './frames';

const text = study([], ['words'], [[0]], [{ text: 'words' }]);
const arraysOf = async (table: Table) => (await decodeCompanion(await documentOf(table, text))).arrays;

describe('arrays', () => {
  test('float32 and bytes come back to the last bit, at any place in the stream', async () => {
    const table = new Table();
    const numbers = [0, -0, 1 / 3, 1e-40, -3.4e38, NaN, Infinity, -Infinity];
    table.bytes([0, 1, 255]);
    table.floats(numbers, [2, 4]);
    table.bytes([7]);
    const arrays = await arraysOf(table);
    expect([...arrays.bytes(0)]).toEqual([0, 1, 255]);
    expect([...arrays.floats(1)]).toEqual(numbers.map(Math.fround));
    expect([...arrays.bytes(2)]).toEqual([7]);
    expect(arrays.shape(1)).toEqual([2, 4]);
  });

  test('codes stand for values by the rule of the format; three of them for what is not finite', async () => {
    const table = new Table();
    const codes = [0, 65532, 32766, 1, 65533, 65534, 65535, 257, 256, 255];
    table.quantised(codes, -2, 5.5);
    table.quantised([0, 65535, 40000], 3, 3);
    table.quantised([0, 65532, 6553, 65533, 65534, 65535], Math.log(1e-3), Math.log(1e4), { coding: 'l2' });
    const arrays = await arraysOf(table);
    const values = codes.map((c) => (c === 65533 ? -Infinity : c === 65534 ? Infinity : c === 65535 ? NaN : Math.fround(-2 + (7.5 * c) / 65532)));
    expect([...arrays.floats(0)]).toEqual(values);
    expect([...arrays.floats(1)]).toEqual([3, NaN, 3]);
    const logs = [...arrays.floats(2)];
    [1e-3, 1e4, 1e-3 * 10 ** ((7 * 6553) / 65532), 0, Infinity, NaN].forEach((v, k) => (Number.isFinite(v) && v ? expect(logs[k]! / v).toBeCloseTo(1, 6) : expect(logs[k]).toBe(v)));
  });

  test('a long chain of differences reads the same in any order', async () => {
    const next = random(5);
    const table = new Table();
    const all = Array.from({ length: 150 }, () => Array.from({ length: 6 }, () => Math.floor(next() * 65533)));
    // Every fifth array starts a branch of its own further back.
    all.forEach((codes, k) => table.quantised(codes, 0, 65532, { shape: [2, 3], base: k === 0 ? null : k % 5 ? k - 1 : Math.floor(next() * k) }));
    const arrays = await arraysOf(table);
    for (let n = 0; n < 600; n++) {
      const k = n < 150 ? 149 - n : Math.floor(next() * 150);
      expect([...arrays.floats(k)]).toEqual(all[k]);
    }
  });
});

/** A document of a surface over two sliders and a curve; the fault goes in by hand. */
async function good() {
  const table = new Table();
  const pictures = linear(0, 5, 6).map((k) => surface(table, (x, y) => k + x * y, { nx: 3, ny: 2 }));
  const q = table.quantised([1, 2, 3], 0, 1);
  table.quantised([4, 5, 6], 0, 1, { base: q.array });
  const one = study(
    [slider('seed_x', [0, 1]), slider('span', [0.5, 1, 2], { kind: 'number', between: 'interpolate', start: 1 })],
    ['surface', 'curves'],
    linear(0, 5, 6).map((k) => [k, 6]),
    [...pictures, curves([series(table, [0, 1], [0, 1])])],
  );
  return documentOf(table, one);
}

type Loose = Record<string, any>;
const frameOf = (d: Loose, k = 0) => d.studies[0].pictures[k];
const seriesOf = (d: Loose) => d.studies[0].pictures[6].series[0];

describe('documents', () => {
  test('a good one is typed', async () => {
    const companion = await decodeCompanion(await good());
    const { title, studies } = companion;
    expect(title).toBe('A companion');
    const { sliders, panels } = studies[0]!;
    expect(panels.map(({ kind }) => kind)).toEqual([PICTURES.surface, PICTURES.curves]);
    expect(sliders.map(({ continuous, start }) => [continuous, start])).toEqual([[false, 0], [true, 1]]);
    expect(drawnAt(companion, [1, 1])).toMatchObject({ frame: { nx: 3, ny: 2, metric: 'loss' } });
    expect(drawnAt(companion, [1, 1]).frame.values[0][0]).toBe(5);
    const curve = (places: number[]) => (studies[0]!.frames.at(places) as any)[1].near;
    expect(curve([1, 1])).toBe(curve([0, 0])); // read once
  });

  const faults: [string, (d: Loose) => unknown, string][] = [
    ['not an object', () => [1], 'document must be an object, got a list of 1.'],
    ['null', () => null, 'document must be an object, got null.'],
    ['another format', (d) => (d.format = 'x'), 'format must be "lwidgets.companion", got "x".'],
    ['no word of what it needs', (d) => delete d.needs, 'needs must be a list, got nothing.'],
    ['an unknown need', (d) => (d.needs = ['surface', 'hologram']), 'needs must be among what is known here (surface, curves, table, words, recorded, f4, u1, q2, l2), got "hologram". Update lwidgets'],
    ['a need that JavaScript knows', (d) => (d.needs = ['constructor']), 'needs must be among'],
    ['another way to make frames', (d) => (d.studies[0].frames.kind = 'computed'), 'frames.kind must be one of recorded, got "computed".'],
    ['no studies', (d) => (d.studies = []), 'studies must hold at least one study, got none.'],
    ['a frame too few', (d) => d.studies[0].frames.pictures.pop(), 'frames.pictures must hold 6 entries, got 5.'],
    ['a frame too many', (d) => d.studies[0].frames.pictures.push([0, 6]), 'frames.pictures must hold 6 entries, got 7.'],
    ['a view too few', (d) => d.studies[0].frames.pictures[3].pop(), 'frames.pictures[3] must hold 2 entries, got 1.'],
    ['a picture that is not there', (d) => (d.studies[0].frames.pictures[3][0] = 7), 'frames.pictures[3][0] must be a whole number from 0 to 6, got 7.'],
    ['a picture of another kind', (d) => (d.studies[0].frames.pictures[3][0] = 6), 'pictures[6].shape must be a list, got nothing.'],
    ['an unknown kind', (d) => (d.studies[0].panels[0].kind = 'html'), 'panels[0].kind must be a kind of picture that is known here (surface, curves, table, words), got "html".'],
    ['a kind that JavaScript knows', (d) => (d.studies[0].panels[0].kind = 'toString'), 'panels[0].kind must be a kind of picture that is known here'],
    ['a panel beside none', (d) => (d.studies[0].panels[1].beside = 'nowhere'), 'panels[1].beside must name a panel before it, got "nowhere".'],
    ['two panels of one name', (d) => (d.studies[0].panels[1].name = d.studies[0].panels[0].name), 'panels[1].name must be given to one panel, got "surface 0".'],
    ['a check of no known state', (d) => (d.studies[0].checks = [{ name: 'a', state: 'great' }]), 'checks[0].state must be one of pass, fail, warn, info, pending, got "great".'],
    ['a log slider at zero', (d) => Object.assign(d.studies[0].sliders[1], { log: true, positions: [0, 1, 2] }), 'sliders[1].positions[0] must be positive on a log scale, got 0.'],
    ['a log slider of choices', (d) => Object.assign(d.studies[0].sliders[0], { log: true, kind: 'choice' }), 'sliders[0].log must be false where the slider holds no numbers, got true.'],
    ['a slider that plays maybe', (d) => (d.studies[0].sliders[0].play = 'yes'), 'sliders[0].play must be true or false, got "yes".'],
    ['two studies', (d) => d.studies.push({ ...d.studies[0], frames: { kind: 'recorded', pictures: [] } }), 'studies[1].frames.pictures must hold 6 entries, got 0.'],
    ['no positions', (d) => (d.studies[0].sliders[0].positions = []), 'sliders[0].positions must hold at least one position, got none.'],
    ['a start outside', (d) => (d.studies[0].sliders[0].start = 2), 'sliders[0].start must be a whole number from 0 to 1, got 2.'],
    ['a start between', (d) => (d.studies[0].sliders[0].start = 0.5), 'sliders[0].start must be a whole number from 0 to 1, got 0.5.'],
    ['a text for a number', (d) => (d.studies[0].sliders[1].positions[1] = '1'), 'sliders[1].positions[1] must be a finite number, got "1".'],
    ['a pair of one', (d) => Object.assign(d.studies[0].sliders[0], { kind: 'pair' }), 'sliders[0].positions[0] must be a list, got 0.'],
    ['a toggle of numbers', (d) => Object.assign(d.studies[0].sliders[0], { kind: 'toggle' }), 'sliders[0].positions[0] must be true or false, got 0.'],
    ['too many combinations', (d) => d.studies[0].sliders.push(...Array(2).fill(slider('s', Array(1000).fill(1)))), 'sliders must have at most 1000000 combinations of positions, got 6000000.'],
    ['truncated base64', (d) => (d.data = d.data.slice(0, 41)), 'data must be text in base64, got '],
    ['text that is not base64', (d) => (d.data = `${d.data.slice(0, -4)}<b>!`), 'data must be text in base64, got '],
    ['a truncated zlib stream', (d) => (d.data = d.data.slice(0, 4 * Math.floor(d.data.length / 8))), 'data must be a complete zlib stream, got one that breaks after '],
    ['a damaged zlib stream', (d) => (d.data = `${d.data.slice(0, 60)}AAAA${d.data.slice(64)}`), 'data must '],
    ['no data', (d) => delete d.data, 'data must be text in base64, got nothing.'],
    ['a shape that is larger than the data', (d) => d.arrays.push({ coding: 'u1', shape: [9], base: null }), 'data must inflate to '],
    ['a shape that is smaller than the data', (d) => d.arrays.pop(), 'data must inflate to '],
    ['a huge shape', (d) => (d.arrays[0].shape = [100000, 100000]), 'arrays must hold at most 268435456 bytes when decoded, got 40000000000.'],
    ['many large shapes', (d) => d.arrays.push(...Array(5).fill({ coding: 'f4', shape: [2 ** 24], base: null })), 'arrays must hold at most 268435456 bytes when decoded'],
    ['a shape beyond counting', (d) => (d.arrays[0].shape = [1e308]), 'arrays[0].shape[0] must be a whole number from 0 to 268435456, got 1e+308.'],
    ['a negative shape', (d) => (d.arrays[0].shape = [-1]), 'arrays[0].shape[0] must be a whole number'],
    ['an unknown coding', (d) => (d.arrays[0].coding = 'f8'), 'arrays[0].coding must be one of f4, u1, q2, l2, got "f8".'],
    ['no range', (d) => (d.arrays[24].low = null), 'arrays[24].low must be a finite number, got null.'],
    ['a range of not-a-number', (d) => (d.arrays[24].high = NaN), 'arrays[24].high must be a finite number, got NaN.'],
    ['a range that falls', (d) => (d.arrays[24].high = -1), 'arrays[24].high must be at least low, 0, got -1.'],
    ['a base that is the array itself', (d) => (d.arrays[25].base = 25), 'arrays[25].base must be a whole number from 0 to 24, got 25.'],
    ['a base further on', (d) => (d.arrays[24].base = 25), 'arrays[24].base must be a whole number from 0 to 23, got 25.'],
    ['a base before all', (d) => (d.arrays[25].base = -1), 'arrays[25].base must be a whole number'],
    ['a base of another shape', (d) => (d.arrays[25].base = 0), 'arrays[25].base must be a quantised array of the same shape'],
    ['a base where there are no differences', (d) => (d.arrays[1].base = 0), 'arrays[1].base must be a quantised array of the same shape'],
    ['an array that is not there', (d) => (frameOf(d).x.array = 99), 'pictures[0].x.array must be a whole number from 0 to 27, got 99.'],
    ['a grid of another shape', (d) => (frameOf(d).values.arrays[0] = frameOf(d).x.array), 'pictures[0].values[0] must have shape [3, 2], got [3].'],
    ['a metric without grid', (d) => (frameOf(d).values.arrays = []), 'pictures[0].values.arrays must hold 1 entry, got 0.'],
    ['values in bytes', (d) => (frameOf(d).values.arrays[0] = frameOf(d).evaluated.array), 'pictures[0].values[0] must be numbers, of coding f4, q2 or l2, got "u1".'],
    ['evaluated in numbers', (d) => (frameOf(d).evaluated.array = frameOf(d).values.arrays[0]), 'pictures[0].evaluated must be bytes, of coding u1, got "f4".'],
    ['a metric of no name', (d) => (frameOf(d).metric = 'acc'), 'pictures[0].metric must be one of loss, got "acc".'],
    ['a frame of one row', (d) => (frameOf(d).shape = [1, 2]), 'pictures[0].shape must be two whole numbers of at least 2, got [1,2].'],
    ['a frame beyond counting', (d) => (frameOf(d).shape = [1e6, 1e6]), 'pictures[0].shape must hold at most 16777216 points, got 1000000 x 1000000.'],
    ['an error too many', (d) => (frameOf(d).errors = [1, 2]), 'pictures[0].errors must hold 1 entry, got 2.'],
    ['an error in words', (d) => (frameOf(d).errors = ['small']), 'pictures[0].errors[0] must be a finite number, got "small".'],
    ['no metric', (d) => (frameOf(d).metrics = []), 'pictures[0].metrics must name at least one metric, got none.'],
    ['a name for two cells of three', (d) => (frameOf(d).names = [['a', 'b'], ['c', 'd']]), 'pictures[0].names[0] must name 3 points, got 2.'],
    ['a colour map of numbers', (d) => (frameOf(d).colormap = 7), 'pictures[0].colormap must be text, got 7.'],
    ['blind spots in a list', (d) => (frameOf(d).missable = []), 'pictures[0].missable must be text, got a list of 0.'],
    ['an equal aspect of logarithms', (d) => Object.assign(d.studies[0].pictures[6], { equal: true, x_log: true, x_range: [1, 2] }), 'pictures[6].equal must be false on a log scale, got true.'],
    ['a log axis at zero, across', (d) => (d.studies[0].pictures[6].x_log = true), 'pictures[6].x_range must be positive on a log scale, got 0.'],
    ['a marker nowhere', (d) => (d.studies[0].pictures[0].markers = [{ x: 0, y: null }]), 'pictures[0].markers[0].y must be a finite number, got null.'],
    ['an unknown pane', (d) => (d.studies[0].pictures[0].panes = ['table']), 'pictures[0].panes[0] must be one of map, surface, got "table".'],
    ['a camera of words', (d) => (d.studies[0].pictures[0].camera = { yaw: 'x' }), 'pictures[0].camera.yaw must be a finite number, got "x".'],
    ['a range of one', (d) => (d.studies[0].pictures[6].x_range = [0]), 'pictures[6].x_range must hold 2 entries, got 1.'],
    ['an empty range', (d) => (d.studies[0].pictures[6].y_range = [1, 1]), 'pictures[6].y_range must increase, got 1, 1.'],
    ['a log range at zero', (d) => (d.studies[0].pictures[6].y_log = true), 'pictures[6].y_range must be positive on a log scale, got 0.'],
    ['curves of unequal length', (d) => (seriesOf(d).y.array = frameOf(d).x.array), 'pictures[6].series[0].y must have shape [2], got [3].'],
    ['a band with one edge', (d) => (seriesOf(d).style = 'band'), 'pictures[6].series[0].y must have shape [2, 2], got [2].'],
    ['a colour that fetches', (d) => (seriesOf(d).color = 'url(//x)'), 'pictures[6].series[0].color must be a colour such as #0072B2, got "url(//x)".'],
    ['a width of infinity', (d) => (seriesOf(d).width = Infinity), 'pictures[6].series[0].width must be a finite number, got Infinity.'],
    ['an opacity of two', (d) => (seriesOf(d).opacity = 2), 'pictures[6].series[0].opacity must lie in [0, 1], got 2.'],
    ['a title of numbers', (d) => (d.title = 5), 'title must be text, got 5.'],
  ];
  test.each(faults)('refuses %s', async (_, break_, message) => {
    const document = (await good()) as Loose;
    const replaced = break_(document);
    const given = message.startsWith('document') ? replaced : document;
    const error = await decodeCompanion(given).then(() => null, (e: unknown) => e);
    expect(error).toBeInstanceOf(CompanionError);
    expect((error as Error).message).toContain(`companion: ${message}`);
    expect((error as Error).message.length).toBeLessThan(600);
  });

  test.each([['not a number', [0, NaN, 1]], ['infinite', [0, 1, Infinity]], ['falling', [0, 2, 1]]])('refuses coordinates that are %s', async (_, x) => {
    const table = new Table();
    const picture = surface(table, (a, b) => a + b, { nx: 3, ny: 2 });
    picture.x = table.floats(x);
    const document = await documentOf(table, study([], ['surface'], [[0]], [picture]));
    await expect(decodeCompanion(document)).rejects.toThrow(/^companion: pictures\[0\].x must be finite and strictly increasing, got/);
  });

  test('data that inflate to far more than the shapes say are not inflated', async () => {
    const table = new Table();
    table.bytes([1, 2, 3, 4]);
    // Whoever reads on finds that the stream is cut off.
    const data = (await deflated(new Uint8Array(2 ** 26))).slice(0, 2 ** 15);
    const document = { ...(await documentOf(table, text)), data };
    await expect(decodeCompanion(document)).rejects.toThrow('companion: data must inflate to 4 bytes, got more.');
  });

  test('long texts are cut, whatever is in them', async () => {
    const long = '<b>'.repeat(4_000_000);
    const document = (await good()) as Loose;
    document.title = document.studies[0].source = document.studies[0].sliders[0].label = frameOf(document).labels[0] = seriesOf(document).label = long;
    const companion = await decodeCompanion(document);
    const { title, studies } = companion;
    const [plane, curve] = [drawnAt(companion, [0, 0]), drawnAt(companion, [0, 0], 1)];
    for (const got of [title, studies[0]!.source, studies[0]!.sliders[0]!.label, plane.frame.labels[0], curve.curves[0].label]) {
      expect(got.length).toBeLessThan(10_010);
      expect(got.endsWith('…')).toBe(true);
    }
  });

  test('names that mean something to JavaScript mean nothing here', async () => {
    for (const name of ['__proto__', 'constructor', 'toString', ...INJECTIONS]) {
      const document = JSON.parse(JSON.stringify(await good())) as Loose;
      document.studies[0].sliders[0].name = name;
      frameOf(document).colormap = name;
      const hostile = JSON.parse(`{"__proto__": {"title": "polluted"}, ${JSON.stringify(document).slice(1)}`) as unknown;
      const companion = await decodeCompanion(hostile);
      expect(companion.title).toBe('A companion');
      expect(companion.studies[0]!.sliders[0]!.name).toBe(name);
      expect(({} as Loose).title).toBeUndefined();
    }
    Object.defineProperty(Object.prototype, 'source', { value: 'polluted', configurable: true });
    try {
      const document = (await good()) as Loose;
      delete document.studies[0].source;
      expect((await decodeCompanion(document)).studies[0]!.source).toBe('');
    } finally {
      delete (Object.prototype as Loose).source;
    }
  });
});

describe('between positions', () => {
  const sliders = (...sizes: number[]) => sizes.map((n) => ({ positions: linear(0, n - 1, n) }) as unknown as Slider);

  test('corners are those of the cell, the last slider fastest', () => {
    expect(cornersOf(sliders(3, 4), [1, 2])).toEqual([{ frame: 6, weight: 1 }]);
    expect(cornersOf(sliders(3, 4), [2, 3])).toEqual([{ frame: 11, weight: 1 }]);
    expect(cornersOf(sliders(3, 4), [0.25, 2])).toEqual([{ frame: 2, weight: 0.75 }, { frame: 6, weight: 0.25 }]);
    const four = cornersOf(sliders(3, 4), [1.5, 0.25]);
    expect(four.map(({ frame }) => frame)).toEqual([4, 5, 8, 9]);
    expect(four.map(({ weight }) => weight)).toEqual([0.375, 0.125, 0.375, 0.125]);
    expect(nearestFrame(sliders(3, 4), [1.4, 2.6])).toBe(7);
  });

  const f = (s: number, t: number, x: number, y: number) => 1 + 2 * s - t + 3 * s * t + x * (1 + s) - y * t;
  async function surfaces() {
    const table = new Table();
    const pictures = [0, 1].flatMap((s) => [0, 1, 2].map((t) =>
      surface(table, (x, y, m) => (m ? 100 : 1) * f(s, t, x, y), { nx: 4, ny: 3, metrics: ['loss', 'error'], every: t + 1, x: [-1 - s, 1 + s], errors: [s, t] })));
    const interpolate = { kind: 'number', between: 'interpolate' };
    return decodeCompanion(await documentOf(table, study(
      [slider('s', [0, 1], interpolate), slider('t', [0, 1, 2], interpolate)], ['surface'], linear(0, 5, 6).map((k) => [k]), pictures,
    )));
  }

  test.each([[[0, 0]], [[1, 2]], [[0.25, 1]], [[0.75, 1.5]], [[0.1, 0.4]]])('grids and axes at %j are those of a bilinear family; all else is the nearest picture’s', async (at) => {
    const [s, t] = at as [number, number];
    const frame = drawnAt(await surfaces(), at).frame;
    expect([...frame.x]).toEqual(linear(-1 - s, 1 + s, 4).map((v) => expect.closeTo(v, 5)));
    // On the axes of each picture, f is bilinear in s and t at a fixed (i, j) only where x does not move with s: take its corners' own x.
    const own = (S: number, T: number, i: number, j: number) => f(S, T, linear(-1 - S, 1 + S, 4)[i]!, linear(-1, 1, 3)[j]!);
    const [T0, dt] = [Math.min(1, Math.floor(t)), t - Math.min(1, Math.floor(t))];
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 3; j++) {
        const want = (1 - s) * ((1 - dt) * own(0, T0, i, j) + dt * own(0, T0 + 1, i, j)) + s * ((1 - dt) * own(1, T0, i, j) + dt * own(1, T0 + 1, i, j));
        expect(frame.values[0]![3 * i + j]).toBeCloseTo(want, 4);
        expect(frame.values[1]![3 * i + j]).toBeCloseTo(100 * want, 2);
        expect(frame.evaluated[3 * i + j]).toBe(i % (Math.round(t) + 1) === 0 && j % (Math.round(t) + 1) === 0 ? 1 : 0);
      }
    }
    expect(frame.errors).toEqual([Math.round(s), Math.round(t)]);
  });

  test('a hole in one neighbour is a hole in between; grids of another size are not mixed', async () => {
    const table = new Table();
    const at = async (other: object) => decodeCompanion(await documentOf(table, study(
      [slider('s', [0, 1], { kind: 'number', between: 'interpolate' })], ['surface'], [[0], [1]],
      [surface(table, (x) => (x > 0.5 ? NaN : 1), { nx: 3, ny: 2 }), other],
    )));
    const holed = drawnAt(await at(surface(table, () => 3, { nx: 3, ny: 2 })), [0.25]).frame;
    expect([...holed.values[0]!]).toEqual([1.5, 1.5, 1.5, 1.5, NaN, NaN]);
    const snapped = drawnAt(await at(surface(table, () => 3, { nx: 5, ny: 2 })), [0.75]).frame;
    expect([snapped.nx, ...snapped.values[0]!]).toEqual([5, ...Array(10).fill(3)]);
  });

  test('curves: values, coordinates and ranges are mixed; with other curves the nearest picture is shown', async () => {
    const table = new Table();
    const pictures = [
      curves([series(table, [0, 1], [0, 1])], { caption: 'a' }),
      curves([series(table, [0, 2], [4, 1])], { caption: 'b', x_range: [0, 2], y_range: [0, 5] }),
      curves([series(table, [0, 2], [9, 9]), series(table, [0], [1])], { caption: 'c' }),
    ];
    const companion = await decodeCompanion(await documentOf(table, study(
      [slider('s', [0, 1, 2], { kind: 'number', between: 'interpolate' })], ['curves'], [[0], [1], [2]], pictures,
    )));
    const mixed = (at: number) => drawnAt(companion, [at]);
    const between = mixed(0.25);
    expect([...between.curves[0]!.x, ...between.curves[0]!.y]).toEqual([0, 1.25, 1, 1]);
    expect([between.xRange, between.yRange, between.caption]).toEqual([[0, 1.25], [0, 2], 'a']);
    expect(mixed(1.75).curves.map(({ y }: { y: Float32Array }) => [...y])).toEqual([[9, 9], [1]]);
    expect([mixed(1.25).caption, ...mixed(1.25).curves[0]!.y]).toEqual(['b', 4, 1]);
    expect([0.25, 1.25].map((at) => [mixed(at).mixed, mixed(at).kept])).toEqual([[['curves'], ['words']], [[], ['curves', 'words']]]);
    expect(mixed(1)).toMatchObject({ mixed: [], kept: [] });
  });
});

describe('sliders', () => {
  const make = (kind: string, positions: unknown[], continuous = false) => ({ name: 's', kind, positions, continuous }) as unknown as Slider;

  test('a value has a place, and a place a value', () => {
    const span = make('number', [0.5, 1, 3], true);
    expect([0.5, 0.6, 2, 3].map((v) => placeOf(span, v))).toEqual([0, expect.closeTo(0.2, 12), 1.5, 2]);
    expect(placeOf(span, 99)).toBe(2);
    expect([0, 0.5, 1.5, 2].map((at) => valueAt(span, at))).toEqual([0.5, 0.75, 2, 3]);
    expect(placeOf(make('number', [0.5, 1, 3]), 1.9)).toBe(1);
    expect(placeOf(make('pair', [[0, 1], [-1, 2]]), [-0.9, 1.5])).toBe(1);
    expect(placeOf(make('choice', ['a', null, 3]), null)).toBe(1);
    expect(placeOf(make('number', [3, 1, 0.5], true), 2)).toBe(0.5);
  });

  test.each([['choice', ['a'], 'b'], ['integer', [1, 2], 'x'], ['toggle', [true], false], ['pair', [[0, 1]], [1]], ['pair', [[0, 1]], 3], ['number', [1, 2], NaN], ['choice', ['a'], undefined]])(
    'a %s of %j has no place for %j', (kind, positions, value) => {
      expect(() => placeOf(make(kind, positions), value)).toThrow(CompanionError);
    });

  test('a logarithmic slider is even in the logarithm, between positions too', () => {
    const rate = readSlider(slider('rate', [0.001, 0.1, 10], { kind: 'number', between: 'interpolate', log: true }), 'slider');
    expect([0, 0.5, 1.25, 2].map((at) => valueAt(rate, at))).toEqual([0.001, expect.closeTo(0.01, 12), expect.closeTo(0.1 * 100 ** 0.25, 12), 10]);
    for (const at of [0, 0.3, 1, 1.7, 2]) expect(placeOf(rate, valueAt(rate, at))).toBeCloseTo(at, 9);
    expect([-1, 0, 99].map((value) => placeOf(rate, value))).toEqual([0, 0, 2]);
    const snapping = readSlider(slider('rate', [0.001, 0.1, 10], { kind: 'number', log: true }), 'slider');
    expect(placeOf(snapping, 0.02)).toBe(1); // on a straight scale, 0.001 were nearer
  });

  test('only numbers play, and only where there are several', () => {
    const plays = (kind: string, positions: unknown[]) => readSlider(slider('s', positions, { kind, play: true }), 'slider').play;
    expect([plays('integer', [0, 1]), plays('number', [0.5]), plays('toggle', [true, false]), plays('choice', ['a', 'b'])]).toEqual([true, false, false, false]);
  });

  test('values in words', () => {
    expect([[-0.5, 1.25], 3, -7, 0.1 + 0.2, true, null, 'filter'].map(valueText)).toEqual(['−0.5 to 1.25', '3', '−7', '0.3', 'yes', 'none', 'filter']);
  });
});

describe('paths', () => {
  test('pixels on both scales', () => {
    const x = pixelOf(-1, 1, 0, 200);
    expect([-1, 0, 1, NaN, Infinity].map(x)).toEqual([0, 100, 200, NaN, NaN]);
    const y = pixelOf(0.01, 100, 80, 0, true);
    expect([0.01, 1, 100, 0, -1].map(y)).toEqual([80, 40, 0, NaN, NaN]);
  });

  test('gaps, lone points, dots and bands', () => {
    expect(linePath([0, 1, 2, 3, 4, 5], [5, 6, NaN, 7, NaN, 8])).toBe('M0 5L1 6M3 7h0M5 8h0');
    expect(linePath([0, NaN, 2], [1, 1, 1])).toBe('M0 1h0M2 1h0');
    expect(dotsPath([0, 1, 2], [5, 6, NaN])).toBe('M0 5h0M1 6h0');
    expect(bandPath([0, 1, 2, 3], [1, 1, NaN, 1], [2, 3, 4, 2])).toBe('M0 1L1 1L1 3L0 2ZM3 1L3 2Z');
    expect(linePath([], [])).toBe('');
  });
});

describe('one unit as long on both axes', () => {
  const unit = (range: readonly [number, number], pixels: number) => pixels / (range[1] - range[0]);

  test.each<[string, [number, number], [number, number]]>([
    ['a square', [-1, 1], [-1, 1]], ['a wide one', [0, 10], [0, 6]], ['a tall one', [0, 3], [-5, 5]], ['a sliver that lies', [0, 100], [0, 1]], ['a sliver that stands', [0, 0.01], [3, 4]],
  ])('%s', (_, x, y) => {
    const box = equalBox(x, y, 600, 400);
    expect(unit(box.xRange, box.width)).toBeCloseTo(unit(box.yRange, box.height), 6);
    expect(box.width).toBeLessThanOrEqual(600 + 1e-9);
    expect(box.height).toBeLessThanOrEqual(400 + 1e-9);
    expect(Math.min(box.width, box.height)).toBeGreaterThan(100);
    for (const [drawn, wanted] of [[box.xRange, x], [box.yRange, y]] as const) {
      expect(drawn[0]).toBeLessThanOrEqual(wanted[0] + 1e-9);
      expect(drawn[1]).toBeGreaterThanOrEqual(wanted[1] - 1e-9);
      expect(drawn[0] + drawn[1]).toBeCloseTo(wanted[0] + wanted[1], 6); // widened evenly
    }
  });

  test('a share of an axis is a value on it', () => {
    expect([0, 0.25, 1].map((share) => valueAlong(-2, 2, share))).toEqual([-2, -1, 2]);
    expect([0, 0.5, 1].map((share) => valueAlong(0.01, 100, share, true))).toEqual([0.01, expect.closeTo(1, 12), expect.closeTo(100, 9)]);
  });
});

describe('tables and words', () => {
  const read = (kind: string, raw: object) => kindOf(kind, 'kind').read(raw as never, 'p', undefined as never);

  test('are read as they are', () => {
    const raw = { title: 'T', head: ['a', 'b'], rows: [['1', ''], ['2', 'x | y']], colors: ['#ff0000', ''], chosen: 1, notes: ['n'], folded: true };
    expect(read('table', raw)).toEqual(raw);
    expect(read('table', { head: [], rows: [] })).toEqual({ title: '', head: [], rows: [], colors: [], chosen: null, notes: [], folded: false });
    expect(read('words', { text: 'hello' })).toEqual({ text: 'hello', title: '', tone: 'plain' });
  });

  test.each<[string, string, object, string]>([
    ['a row too short', 'table', { head: ['a', 'b'], rows: [['1']] }, 'p.rows[0] must hold 2 entries, got 1.'],
    ['a cell of numbers', 'table', { head: ['a'], rows: [[1]] }, 'p.rows[0][0] must be text, got 1.'],
    ['a cell of nothing', 'table', { head: ['a'], rows: [[null]] }, 'p.rows[0][0] must be text, got null.'],
    ['no rows', 'table', { head: ['a'] }, 'p.rows must be a list, got nothing.'],
    ['a colour too many', 'table', { head: ['a'], rows: [['1']], colors: ['', ''] }, 'p.colors must hold one for each row, or none, got 2 for 1 rows.'],
    ['a colour that fetches', 'table', { head: ['a'], rows: [['1']], colors: ['url(x)'] }, 'p.colors[0] must be a colour such as #0072B2, got "url(x)".'],
    ['a chosen row that is not there', 'table', { head: ['a'], rows: [['1']], chosen: 1 }, 'p.chosen'],
    ['more cells than anyone reads', 'table', { head: ['a', 'b'], rows: Array(10_001).fill(['', '']) }, 'p.rows must hold at most 20000 cells, got 20002.'],
    ['words in a list', 'words', { text: ['a'] }, 'p.text must be text, got a list of 1.'],
    ['another tone', 'words', { text: 'a', tone: 'loud' }, 'p.tone must be one of plain, note, alert, got "loud".'],
  ])('refuse %s', (_, kind, raw, message) => {
    expect(() => read(kind, raw)).toThrow(`companion: ${message}`);
  });

  test('between positions the nearest is said, and that it is', () => {
    const near = read('words', { text: 'near' });
    const far = read('words', { text: 'far' });
    expect(PICTURES.words!.mix(undefined as never, near, [{ picture: near, weight: 0.6 }, { picture: far, weight: 0.4 }])).toMatchObject({ text: 'near', kept: ['words'] });
  });
});

describe('markers', () => {
  test('lie between where the same ones are there, and with the nearest where not', async () => {
    const table = new Table();
    const at = (x: number, ...labels: string[]) => surface(table, () => x, { nx: 3, ny: 2 }, { markers: labels.map((label, k) => ({ x: x + k, y: 0, label })) });
    const companion = await decodeCompanion(await documentOf(table, study(
      [slider('s', [0, 1, 2], { kind: 'number', between: 'interpolate' })], ['surface'], [[0], [1], [2]], [at(0, 'A', 'B'), at(1, 'A', 'B'), at(2, 'A')],
    )));
    expect(drawnAt(companion, [0.25])).toMatchObject({ markers: [{ x: 0.25, y: 0, label: 'A' }, { x: 1.25, y: 0, label: 'B' }], mixed: ['grids', 'markers'], kept: [] });
    expect(drawnAt(companion, [1.25])).toMatchObject({ markers: [{ x: 1 }, { x: 2 }], mixed: ['grids'], kept: ['markers'] });
    expect(drawnAt(companion, [1.75])).toMatchObject({ markers: [{ x: 2, label: 'A' }] });
  });
});

test('every way to make frames has a name of its own', () => {
  for (const name of Object.keys(FRAMES)) expect(Object.hasOwn(PICTURES, name)).toBe(false);
});

describe('landscape files', () => {
  const packed = (values: number[]) => btoa(String.fromCharCode(...new Uint8Array(Float64Array.from(values).buffer)));
  const file = (more: Loose = {}): Loose => ({
    format: 'lwidgets.landscape', version: 1, digest: '', shape: [3, 2],
    axes: [{ name: 'x', label: 'first', coords: packed([-1, 0, 1]) }, { name: 'y', label: 'second', coords: packed([0, 4]) }],
    metrics: [
      { name: 'loss', values: packed([1, 2, 3, NaN, Infinity, 6]), error: packed([0.5]) },
      { name: 'error', values: packed([0, 0, 1, 1, 2, 2]), error: packed([NaN]) },
    ],
    evaluated: btoa('\x01\x00\x01\x00\x01\x00'), evaluations: 3, final: true, provenance: { anything: 1 }, ...more,
  });
  const line = (more: Loose = {}) => file({
    shape: [5], axes: [{ name: 'alpha', label: 'alpha (0 = a, 1 = b)', coords: packed(linear(0, 1, 5)) }], evaluated: btoa('\x01\x00\x01\x00\x01'),
    metrics: [{ name: 'loss', values: packed([1, 2, 5, NaN, 0]), error: packed([0.25]) }], ...more,
  });

  test('a plane becomes a surface with every number in its place', () => {
    const companion = landscapeCompanion(file());
    const { frame } = drawnAt(companion);
    expect(frame).toMatchObject({ nx: 3, ny: 2, labels: ['first', 'second'], metrics: ['loss', 'error'], metric: 'loss', errors: [0.5, null], final: true });
    expect([...frame.x, ...frame.y]).toEqual([-1, 0, 1, 0, 4]);
    expect(frame.values.map((v: Float32Array) => [...v])).toEqual([[1, 2, 3, NaN, Infinity, 6], [0, 0, 1, 1, 2, 2]]);
    expect([...frame.evaluated]).toEqual([1, 0, 1, 0, 1, 0]);
    expect(companion.studies[0]!.fixed).toEqual([{ label: 'evaluations', value: '3' }]);
  });

  test('a line becomes a curve with its measured points', () => {
    const { curves, caption, yRange, xLabel } = drawnAt(landscapeCompanion(line()));
    expect([...curves[0]!.y]).toEqual([1, 2, 5, NaN, 0]);
    expect([[...curves[1]!.x], [...curves[1]!.y], curves[1]!.style]).toEqual([[0, 0.5, 1], [1, 5, 0], 'points']);
    expect(caption).toBe('loss from 0 to 5 · 3 of 5 points measured · interpolation error at most about 0.25 · 1 not measured and without a value');
    expect([xLabel, ...yRange]).toEqual(['alpha (0 = a, 1 = b)', expect.closeTo(-0.15, 9), expect.closeTo(5.15, 9)]);
  });

  test.each<[string, Loose | null, string]>([
    ['nothing', null, 'landscape must be an object, got null.'],
    ['a companion', file({ format: 'lwidgets.companion' }), 'format must be "lwidgets.landscape", got "lwidgets.companion".'],
    ['a newer file', file({ version: 2 }), 'version must be 1'],
    ['a volume', file({ shape: [2, 2, 2] }), 'shape must have one or two axes, got 3.'],
    ['a huge shape', file({ shape: [100000, 100000] }), 'shape must hold 2 or more points an axis, and at most 16777216 in all, got 100000 x 100000.'],
    ['an axis too few', file({ axes: [] }), 'axes must hold 2 entries, got 0.'],
    ['short coordinates', file({ axes: [{ name: 'x', coords: packed([1, 2]) }, { name: 'y', coords: packed([1, 2]) }] }), 'axes[0].coords must hold 24 bytes for this shape'],
    ['numbers in place of base64', file({ evaluated: [1] }), 'evaluated must be text in base64, got a list of 1.'],
    ['no base64', file({ evaluated: '!!!!!!!!' }), 'evaluated must be text in base64, got "!!!!!!!!".'],
    ['no metric', file({ metrics: [] }), 'metrics must name at least one metric, got none.'],
    ['an unknown count', file({ evaluations: '3' }), 'evaluations must be a finite number, got "3".'],
  ])('refuses %s', (_, json, message) => {
    expect(() => landscapeCompanion(json)).toThrow(CompanionError);
    expect(() => landscapeCompanion(json)).toThrow(`companion: ${message}`);
  });

  test('coordinates that are not finite are refused', () => {
    const broken = file();
    broken.axes[0].coords = packed([0, NaN, 1]);
    expect(() => landscapeCompanion(broken)).toThrow('companion: landscape.x must be finite and strictly increasing, got NaN at index 1.');
  });
});
