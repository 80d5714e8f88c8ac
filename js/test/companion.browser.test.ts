// Companions in a real Chromium: every slider redraws, faults are told in place, and what a stranger wrote stays text.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CompanionError, decodeCompanion, mountCompanion, type Mounted } from '../src/core/companion';
import { documentOf, heightPicture, INJECTIONS, linear, linePicture, series, slider, study, Table } from './companions';
import { random } from './frames';

const mounted: Mounted[] = [];
const page = globalThis as { __pwned?: unknown; __lwidgetsReady?: boolean; __lwidgetsPainted?: (what: Record<string, unknown>) => void };

async function mount(document_: unknown, width = 900) {
  const host = document.createElement('div');
  host.style.width = `${width}px`;
  document.body.append(host);
  const companion = await decodeCompanion(document_);
  const view = mountCompanion(host, companion);
  mounted.push(view);
  return { host, view, companion };
}

beforeEach(() => { document.body.style.background = '#fff'; });
afterEach(() => {
  for (const view of mounted.splice(0)) view.dispose();
  document.body.replaceChildren();
  document.querySelector('h1')?.remove();
  delete page.__lwidgetsReady;
  delete page.__lwidgetsPainted;
});

const frames = (n: number) => new Promise<void>((done) => {
  const step = () => (n-- > 0 ? requestAnimationFrame(step) : done());
  step();
});
const map = (host: HTMLElement) => host.querySelector<HTMLCanvasElement>('.lw-map .lw-base')!;
const field = (host: HTMLElement) => host.querySelector<HTMLElement>('.lw-height-field')!;
const put = async (control: HTMLInputElement, value: number) => {
  control.valueAsNumber = value;
  control.dispatchEvent(new Event('input', { bubbles: true }));
  await frames(2);
};

/** A surface that hangs on a seed and a span, a curve that hangs on the seed, a text. */
async function small() {
  const table = new Table();
  const f = (seed: number, span: number) => (x: number, y: number) => seed * 10 + span * (x * x + 2 * y * y);
  const pictures: object[] = [];
  const frames_: number[][] = [];
  for (let seed = 0; seed < 4; seed++) {
    const curve = pictures.push(linePicture([series(table, linear(0, 1, 9), linear(0, 1, 9).map((x) => x ** (seed + 1)), { label: 'loss' })])) - 1;
    const words = pictures.push({ text: `seed ${seed}` }) - 1;
    for (const span of [1, 2, 4]) frames_.push([pictures.push(heightPicture(table, f(seed, span), { nx: 9, ny: 7 })) - 1, curve, words]);
  }
  return documentOf(table, study(
    [slider('seed_x', [0, 1, 2, 3], { start: 1, help: 'Of the direction' }), slider('span', [1, 2, 4], { kind: 'number', between: 'interpolate' })],
    ['height_field', 'line_plot', 'text'], frames_, pictures, { fixed: [{ label: 'resolution', value: '33' }], source: 'Somebody (2018)' },
  ));
}

describe('sliders redraw', () => {
  test('what is on show at every position is what the document holds there', async () => {
    const { host } = await mount(await small());
    const [seed, span] = host.querySelectorAll<HTMLInputElement>('input[type=range]');
    expect([seed!.valueAsNumber, span!.valueAsNumber]).toEqual([1, 0]);
    const seen = new Set<string>();
    for (let s = 0; s < 4; s++) {
      await put(seed!, s);
      for (let k = 0; k < 3; k++) {
        await put(span!, k);
        expect(field(host).dataset).toMatchObject({ min: String(10 * s), max: String(Math.fround(10 * s + 3 * [1, 2, 4][k]!)), shape: '9x7' });
        expect(host.querySelector('.lw-words')!.textContent).toBe(`seed ${s}`);
        seen.add(host.querySelector('.lw-curves svg path')!.getAttribute('d')!);
      }
    }
    expect(seen.size).toBe(4);
  });

  test('pixels of the map change with the slider, and come back with it', async () => {
    const table = new Table();
    const ramp = (s: number) => heightPicture(table, (x, y) => (s ? x : y), { nx: 9, ny: 9 });
    const { host } = await mount(await documentOf(table, study([slider('seed', [0, 1])], ['height_field'], [[0], [1]], [ramp(0), ramp(1)])));
    const before = map(host).toDataURL();
    const seed = host.querySelector<HTMLInputElement>('input')!;
    await put(seed, 1);
    expect(map(host).toDataURL()).not.toBe(before);
    await put(seed, 0);
    expect(map(host).toDataURL()).toBe(before);
  });

  test('between positions of a continuous slider the picture is mixed, and says so', async () => {
    const { host } = await mount(await small());
    const [, span] = host.querySelectorAll<HTMLInputElement>('input[type=range]');
    expect(span!.step).toBe('any');
    const note = host.querySelector('.lw-between')!;
    expect(note.textContent).toBe('');
    await put(span!, 1.25);
    expect(field(host).dataset.max).toBe(String(10 + 3 * 2.5));
    expect(host.querySelectorAll('output')[1]!.textContent).toBe('2.5');
    expect(note.textContent).toContain('mixed from the neighbouring ones');
    await put(span!, 1);
    expect(note.textContent).toBe('');
  });

  test('paths come and go with the slider, and lie between where they are mixed', async () => {
    const table = new Table();
    const at = (s: number) => heightPicture(table, (x, y) => 1 + 1e-4 * (x + y), { nx: 9, ny: 9 }, {
      paths: s < 2 ? [{ x: table.floats([-0.9, 0.9]), y: table.floats([s - 0.5, s - 0.5]), label: 'level', color: '#ff00ff' }] : [], contours: 0,
    });
    const { host } = await mount(await documentOf(table, study([slider('s', [0, 1, 2], { kind: 'number', between: 'interpolate' })], ['height_field'], [[0], [1], [2]], [at(0), at(1), at(2)])));
    const height = () => {
      const { width, height } = map(host);
      const { data } = map(host).getContext('2d')!.getImageData(0, 0, width, height);
      const rows = [...Array(width * height).keys()].filter((k) => data[4 * k]! > 225 && data[4 * k + 1]! < 60 && data[4 * k + 2]! > 225).map((k) => Math.floor(k / width));
      return rows.length ? rows.reduce((a, b) => a + b, 0) / rows.length : NaN;
    };
    const s = host.querySelector<HTMLInputElement>('input')!;
    const low = height();
    await put(s, 1);
    const high = height();
    expect(high).toBeLessThan(low - 40);
    await put(s, 0.25);
    expect(height()).toBeCloseTo(low + 0.25 * (high - low), -0.5);
    expect(host.querySelector('.lw-paths')!.textContent).toBe('level');
    await put(s, 2);
    expect(height()).toBeNaN();
    expect(host.querySelector<HTMLElement>('.lw-paths')!.hidden).toBe(true);
  });

  test('many events in one frame are drawn once, the last one', async () => {
    const { host } = await mount(await small());
    const painted: unknown[] = [];
    page.__lwidgetsPainted = (what) => painted.push(what.kind);
    const [seed] = host.querySelectorAll<HTMLInputElement>('input[type=range]');
    for (const value of [0, 1, 2, 3]) {
      seed!.valueAsNumber = value;
      seed!.dispatchEvent(new Event('input'));
    }
    await frames(2);
    expect(painted.sort()).toEqual(['height_field', 'line_plot']);
    expect(field(host).dataset.min).toBe('30');
  });

  test('rows of cells are a table, named by its first row and cells; other lines stay lines', async () => {
    const table = new Table();
    const told = ['Measured.\nmodel | scale | loss\nbase |  | 0.5\n<b>x</b> | 1 | 0.25\nThat is all.', 'a | b'];
    const { host } = await mount(await documentOf(table, study([slider('seed', [0, 1])], ['text'], [[0], [1]], told.map((text) => ({ text })))));
    const words = host.querySelector('.lw-words')!;
    const cells = (query: string) => [...words.querySelectorAll(query)].map((cell) => cell.textContent);
    expect(cells('th[scope=col]')).toEqual(['model', 'scale', 'loss']);
    expect(cells('th[scope=row]')).toEqual(['base', '<b>x</b>']);
    expect(cells('td')).toEqual(['', '0.5', '1', '0.25']);
    expect(words.firstChild!.textContent).toBe('Measured.');
    expect(words.lastChild!.textContent).toBe('That is all.');
    await put(host.querySelector<HTMLInputElement>('input[type=range]')!, 1);
    expect(words.querySelector('table')).toBeNull();
    expect(words.textContent).toBe('a | b');
  });

  test('a native control for every kind, with label, value and keyboard', async () => {
    const table = new Table();
    const kinds: [string, unknown[], object][] = [
      ['integer', [3, 5], {}], ['pair', [[0, 1], [-1, 2]], { start: 1 }], ['choice', ['filter', null, 'layer'], { start: 2 }],
      ['toggle', [false, true], { start: 1 }], ['number', [0.25], {}],
    ];
    const sliders = kinds.map(([kind, positions, more]) => slider(`${kind}_`, positions, { kind, help: `about ${kind}`, ...more }));
    const total = kinds.reduce((n, [, positions]) => n * positions.length, 1);
    const { host, view } = await mount(await documentOf(table, study(
      sliders, ['text'], [...Array(total).keys()].map((k) => [k]), [...Array(total).keys()].map((k) => ({ text: `frame ${k}` })),
    )));
    const words = () => host.querySelector('.lw-words')!.textContent;
    const rows = [...host.querySelectorAll('.lw-row')].map((row) => {
      const control = row.querySelector<HTMLInputElement | HTMLSelectElement>('input, select')!;
      return [control.type, control.labels![0]!.textContent, row.querySelector('output')!.textContent, control.getAttribute('aria-description'), control.disabled];
    });
    expect(rows).toEqual([
      ['range', 'integer ', '3', 'about integer', false], ['range', 'pair ', '−1 to 2', 'about pair', false],
      ['select-one', 'choice ', '', 'about choice', false], ['checkbox', 'toggle ', 'yes', 'about toggle', false], ['range', 'number ', '0.25', 'about number', true],
    ]);
    expect(words()).toBe('frame 11');
    const select = host.querySelector('select')!;
    expect([...select.options].map((option) => option.textContent)).toEqual(['filter', 'none', 'layer']);
    select.selectedIndex = 0;
    select.dispatchEvent(new Event('change'));
    host.querySelector<HTMLInputElement>('[type=checkbox]')!.click();
    await frames(2);
    expect(words()).toBe('frame 6');
    const range = host.querySelector<HTMLInputElement>('input')!;
    expect(range.getAttribute('aria-valuetext')).toBe('3');
    range.focus();
    const { userEvent } = await import('vitest/browser');
    await userEvent.keyboard('{ArrowRight}');
    await frames(2);
    expect(words()).toBe('frame 18');
    expect(range.getAttribute('aria-valuetext')).toBe('5');
    view.set(0, { integer_: 3, choice_: null, toggle_: true });
    await frames(2);
    expect(words()).toBe('frame 9');
    expect(() => view.set(0, { integer_: 3, choice_: 'x' })).toThrow(CompanionError);
    expect(() => view.set(0, { constructor: 1 })).toThrow('sliders must be among');
    expect(() => view.set(1, {})).toThrow(CompanionError);
  });

  test('the reader’s camera and zoom outlive a slider', async () => {
    const { host } = await mount(await small());
    const overlay = host.querySelector<HTMLElement>('.lw-surface .lw-overlay')!;
    overlay.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true, cancelable: true }));
    await frames(2);
    const reset = host.querySelector<HTMLElement>('.lw-surface .lw-reset')!;
    expect(reset.hidden).toBe(false);
    await put(host.querySelector<HTMLInputElement>('input')!, 3);
    expect([reset.hidden, reset.isConnected]).toEqual([false, true]);
  });

  test('a view without picture at a position is hidden there', async () => {
    const table = new Table();
    const pictures = [heightPicture(table, (x) => x), linePicture([series(table, [0, 1], [0, 1])])];
    const { host } = await mount(await documentOf(table, study([slider('seed', [0, 1])], ['height_field', 'line_plot'], [[null, 1], [0, null]], pictures)));
    const [surface, curve] = host.querySelectorAll<HTMLElement>('.lw-view');
    expect([surface!.hidden, curve!.hidden]).toEqual([true, false]);
    await put(host.querySelector<HTMLInputElement>('input')!, 1);
    expect([surface!.hidden, curve!.hidden]).toEqual([false, true]);
    expect(map(host).width).toBeGreaterThan(100);
    expect(field(host).dataset.shape).toBe('33x17');
  });
});

describe('the place', () => {
  test('says what is fixed and where it comes from; several studies stand below each other', async () => {
    const one = await small();
    const { host } = await mount({ ...one, studies: [one.studies[0], { ...one.studies[0], title: 'Another' }] });
    expect([...host.querySelectorAll('h2')].map((h) => h.textContent)).toEqual(['A study', 'Another']);
    expect(host.querySelector('.lw-study-head')!.textContent).toContain('Fixed: resolution 33');
    expect(host.querySelector('.lw-study-head')!.textContent).toContain('Somebody (2018)');
    const [a, b] = host.querySelectorAll('.lw-study');
    expect(b!.getBoundingClientRect().top).toBeGreaterThanOrEqual(a!.getBoundingClientRect().bottom);
  });

  test.each([320, 380, 900])('at %i px nothing is wider than its place', async (width) => {
    const { host } = await mount(await small(), width);
    await frames(3);
    for (const node of host.querySelectorAll('*')) {
      if (node.closest('.lw-hint, style, title')) continue;
      expect(node.getBoundingClientRect().right).toBeLessThanOrEqual(host.getBoundingClientRect().right + 0.5);
    }
  });

  test('disposed, nothing is left', async () => {
    const { host, view } = await mount(await small());
    view.dispose();
    expect(host.children.length).toBe(0);
  });

  test('paper is white, whatever the screen', async () => {
    document.body.style.background = '#111';
    const { host } = await mount(await small());
    const root = host.querySelector<HTMLElement>('.lw-line-plot')!;
    const dark = map(host).toDataURL();
    const color = () => getComputedStyle(root).color;
    expect(color()).toBe('rgb(230, 232, 235)');
    dispatchEvent(new Event('beforeprint'));
    expect(color()).toBe('rgb(31, 35, 40)');
    expect(map(host).toDataURL()).not.toBe(dark);
    dispatchEvent(new Event('afterprint'));
    expect(color()).toBe('rgb(230, 232, 235)');
    expect(map(host).toDataURL()).toBe(dark);
  });
});

describe('strangers', () => {
  test('injected text is text, in every place that takes any', async () => {
    for (const bad of INJECTIONS) {
      const table = new Table();
      const x = table.floats([0, 1]);
      const wanted = { nx: 3, ny: 3, metrics: [bad], metric: bad, colormap: bad };
      const picture = heightPicture(table, (x, y) => x + y, wanted, { description: bad, markers: [{ x: 0, y: 0, label: bad }], paths: [{ x, y: x, label: bad, color: '#0072b2' }] });
      picture.frame.labels = [bad, bad];
      const curve = linePicture([series(table, [0, 1], [0, 1], { label: bad })], { caption: bad, x_label: bad, y_label: bad });
      const document_ = await documentOf(table, study(
        [slider('seed', [0], { name: bad, label: bad, help: bad }), slider('kind', [bad], { kind: 'choice' })], ['height_field', 'line_plot', 'text'],
        [[0, 1, 2]], [picture, curve, { text: bad }], { title: bad, source: bad, fixed: [{ label: bad, value: bad }] },
      ));
      const { host, view } = await mount(document_);
      expect(host.querySelector('img, script, iframe, a, [onload], [onerror], foreignObject')).toBeNull();
      expect(host.querySelector('h2')!.textContent).toBe(bad);
      expect(host.querySelector('.lw-words')!.textContent).toBe(bad);
      expect(host.querySelector('option')!.textContent).toBe(bad);
      expect(host.querySelector('.lw-paths')!.textContent).toBe(bad);
      expect(map(host).width).toBeGreaterThan(100);
      view.dispose();
    }
    await frames(3);
    expect(page.__pwned).toBeUndefined();
  });
});

describe('the page host', () => {
  let loads = 0;
  async function load(json: string | null) {
    document.body.append(Object.assign(document.createElement('main'), { id: 'lwidgets', innerHTML: '<noscript>off</noscript>' }));
    if (json !== null) {
      const script = Object.assign(document.createElement('script'), { type: 'application/json', id: 'lwidgets-companion', textContent: json });
      document.body.append(script);
    }
    await import(/* @vite-ignore */ `../src/hosts/companion.ts?${++loads}`); // another address is another module
    await expect.poll(() => page.__lwidgetsReady).toBe(true);
    const { __lwidgetsCompanion: made } = page as { __lwidgetsCompanion?: Mounted };
    if (made) mounted.push(made);
    delete (page as { __lwidgetsCompanion?: Mounted }).__lwidgetsCompanion;
    return document.getElementById('lwidgets')!;
  }

  test('draws the document of the page under one heading', async () => {
    const document_ = await small();
    document_.studies[0] = { ...document_.studies[0], title: 'A companion' };
    const main = await load(JSON.stringify(document_));
    expect([...main.querySelectorAll('h1, h2:not([hidden])')].map((h) => h.textContent)).toEqual(['A companion']);
    expect(field(main).dataset.min).toBe('10');
    expect(main.querySelector('[role=alert]:not([hidden])')).toBeNull();
  });

  test.each([
    [null, 'the page must carry a document, got none'],
    ['{"format": "lwidgets.comp', 'document must be JSON, got text that ends or breaks too early'],
    ['{"format": "lwidgets.companion", "version": 9}', 'version must be 1'],
    ['{"format": "<img src=x onerror=window.__pwned=1>"}', 'format must be "lwidgets.companion", got "<img src=x onerror=window.__pwned=1>"'],
    ['{"format": "lwidgets.companion", "version": 1, "studies": [{}], "arrays": [{"coding": "f4", "shape": [4]}], "data": "eJw="}', 'data must be a complete zlib stream'],
  ])('says in place what is wrong with %s', async (json, message) => {
    const main = await load(json);
    const alert = main.querySelector('[role=alert]')!;
    expect(alert.textContent).toContain(`This picture could not be shown. companion: ${message}`);
    expect(main.querySelector('img')).toBeNull();
    expect(alert.getBoundingClientRect().height).toBeGreaterThan(10);
  });
});

test('a chain of forty pictures is quick in any order, and right', async () => {
  const table = new Table();
  const next = random(3);
  const codes = Array.from({ length: 40 }, () => Array.from({ length: 6 }, () => Math.floor(next() * 65533)));
  const first = heightPicture(table, (x, y) => x + y, { nx: 3, ny: 2 });
  let base: number | null = null;
  const pictures = codes.map((one) => {
    const { array } = table.quantised(one, 0, 65532, { shape: [3, 2], base });
    base = array;
    return { ...first, frame: { ...first.frame, values: { arrays: [array] } } };
  });
  const { host } = await mount(await documentOf(table, study([slider('seed', [...Array(40).keys()])], ['height_field'], pictures.map((_, k) => [k]), pictures)));
  for (const k of [39, 0, 20, 19, 38]) {
    await put(host.querySelector<HTMLInputElement>('input')!, k);
    expect(field(host).dataset).toMatchObject({ min: String(Math.min(...codes[k]!)), max: String(Math.max(...codes[k]!)) });
  }
});
