// Companions in a real Chromium: every slider redraws, faults are told in place, and what a stranger wrote stays text.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CompanionError, decodeCompanion, mountCompanion, mountFault, type Mounted } from '../src/document/companion';
import { FRAMES, type Frames, Recorded } from '../src/document/frames';
import { PICTURES } from '../src/pictures';
import type { Kind } from '../src/pictures/base';
import { curves, documentOf, INJECTIONS, linear, series, slider, study, surface, Table } from './companions';
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
    const curve = pictures.push(curves([series(table, linear(0, 1, 9), linear(0, 1, 9).map((x) => x ** (seed + 1)), { label: 'loss' })])) - 1;
    const words = pictures.push({ text: `seed ${seed}` }) - 1;
    for (const span of [1, 2, 4]) frames_.push([pictures.push(surface(table, f(seed, span), { nx: 9, ny: 7 })) - 1, curve, words]);
  }
  return documentOf(table, study(
    [slider('seed_x', [0, 1, 2, 3], { start: 1, help: 'Of the direction' }), slider('span', [1, 2, 4], { kind: 'number', between: 'interpolate' })],
    ['surface', 'curves', 'words'], frames_, pictures, { fixed: [{ label: 'resolution', value: '33' }], source: 'Somebody (2018)' },
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
    const ramp = (s: number) => surface(table, (x, y) => (s ? x : y), { nx: 9, ny: 9 });
    const { host } = await mount(await documentOf(table, study([slider('seed', [0, 1])], ['surface'], [[0], [1]], [ramp(0), ramp(1)])));
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
    expect(note.textContent).toBe('Between computed positions: grids are mixed from the neighbouring ones.');
    await put(span!, 1);
    expect(note.textContent).toBe('');
  });

  test('paths come and go with the slider, and lie between where they are mixed', async () => {
    const table = new Table();
    const at = (s: number) => surface(table, (x, y) => 1 + 1e-4 * (x + y), { nx: 9, ny: 9 }, {
      paths: s < 2 ? [{ x: table.floats([-0.9, 0.9]), y: table.floats([s - 0.5, s - 0.5]), label: 'level', color: '#ff00ff' }] : [], contours: 0,
    });
    const { host } = await mount(await documentOf(table, study([slider('s', [0, 1, 2], { kind: 'number', between: 'interpolate' })], ['surface'], [[0], [1], [2]], [at(0), at(1), at(2)])));
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
    expect(painted.sort()).toEqual(['curves', 'surface']);
    expect(field(host).dataset.min).toBe('30');
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
      sliders, ['words'], [...Array(total).keys()].map((k) => [k]), [...Array(total).keys()].map((k) => ({ text: `frame ${k}` })),
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
    const pictures = [surface(table, (x) => x), curves([series(table, [0, 1], [0, 1])])];
    const { host } = await mount(await documentOf(table, study([slider('seed', [0, 1])], ['surface', 'curves'], [[null, 1], [0, null]], pictures)));
    const [plane, curve] = host.querySelectorAll<HTMLElement>('.lw-view');
    expect([plane!.hidden, curve!.hidden]).toEqual([true, false]);
    await put(host.querySelector<HTMLInputElement>('input')!, 1);
    expect([plane!.hidden, curve!.hidden]).toEqual([false, true]);
    expect(map(host).width).toBeGreaterThan(100);
    expect(field(host).dataset.shape).toBe('33x17');
  });
});

describe('between positions', () => {
  const interpolate = { kind: 'number', between: 'interpolate' };

  test('the note says what is mixed and whose the rest is', async () => {
    const table = new Table();
    const curve = (k: number) => curves([series(table, [0, 1], [0, k])], { caption: `run ${k}` });
    const { host } = await mount(await documentOf(table, study(
      [slider('seed', [3, 4]), slider('rate', [0.1, 10], { ...interpolate, log: true })], ['curves', 'words', 'words'],
      [[0, 2, 4], [1, 3, 4], [0, 2, 4], [1, 3, 4]], [curve(1), curve(2), { text: 'slow' }, { text: 'fast' }, { text: 'always' }],
    )));
    const [, rate] = host.querySelectorAll<HTMLInputElement>('input[type=range]');
    const note = host.querySelector('.lw-between')!;
    await put(rate!, 0.75);
    expect(host.querySelectorAll('output')[1]!.textContent).toBe('3.162');
    expect(note.textContent).toBe('Between computed positions: curves are mixed from the neighbouring ones; words are those of rate 10.');
    expect([...host.querySelectorAll('.lw-words')].map((words) => words.textContent)).toEqual(['fast', 'always']);
    await put(rate!, 1);
    expect(note.textContent).toBe('');
  });

  test('frames that are computed come later; only the newest is shown, and a fault is told', async () => {
    const document_ = await documentOf(new Table(), study([slider('seed', [0, 1, 2])], ['words'], [[0], [1], [2]], [0, 1, 2].map((k) => ({ text: `answer ${k}` }))));
    const answers: { give: () => void; fail: (error: Error) => void }[] = [];
    const recorded = FRAMES.recorded!;
    FRAMES.recorded = (raw, context) => {
      const frames = recorded(raw, context) as Recorded;
      const later: Frames = {
        at: (places) => new Promise((give, fail) => answers.push({ give: () => give(frames.at(places)), fail })),
      };
      return later;
    };
    try {
      const { host } = await mount(document_);
      const words = () => host.querySelector('.lw-words')?.textContent;
      answers[0]!.give();
      await expect.poll(words).toBe('answer 0');
      const seed = host.querySelector<HTMLInputElement>('input')!;
      await put(seed, 1);
      await put(seed, 2);
      answers[2]!.give();
      await expect.poll(words).toBe('answer 2');
      answers[1]!.give(); // too late
      await frames(3);
      expect(words()).toBe('answer 2');
      await put(seed, 0);
      answers[3]!.fail(new Error('out of memory'));
      const alert = host.querySelector<HTMLElement>('[role=alert]')!;
      await expect.poll(() => alert.textContent).toBe('out of memory');
      expect(alert.hidden).toBe(false);
      await put(seed, 1);
      answers[4]!.give();
      await expect.poll(words).toBe('answer 1');
      expect(alert.hidden).toBe(true);
    } finally {
      FRAMES.recorded = recorded;
    }
  });
});

describe('playing', () => {
  async function played(n = 4) {
    const positions = [...Array(n).keys()];
    const made = await mount(await documentOf(new Table(), study(
      [slider('step', positions, { play: true }), slider('seed', [0, 1])], ['words'], [...Array(2 * n).keys()].map((k) => [k]), [...Array(2 * n).keys()].map((k) => ({ text: `frame ${k}` })),
    )));
    const range = made.host.querySelector<HTMLInputElement>('input')!;
    return { ...made, range, button: made.host.querySelector<HTMLButtonElement>('.lw-play')! };
  }
  afterEach(() => { vi.useRealTimers(); vi.restoreAllMocks(); });

  test('walks through the positions, redraws at each, and stops at the end', async () => {
    const { host, range, button } = await played();
    expect(host.querySelectorAll('.lw-play').length).toBe(1); // the other slider does not play
    expect(button.getAttribute('aria-label')).toBe('Play step');
    expect(button.getBoundingClientRect().right).toBeLessThanOrEqual(range.getBoundingClientRect().left);
    const seen = new Set<string>();
    const watch = new MutationObserver(() => seen.add(host.querySelector('.lw-words')!.textContent!));
    watch.observe(host, { subtree: true, childList: true, characterData: true });
    button.click();
    expect(button.getAttribute('aria-label')).toBe('Pause step');
    await expect.poll(() => range.valueAsNumber, { timeout: 5000 }).toBe(3);
    await expect.poll(() => button.getAttribute('aria-label')).toBe('Play step');
    await frames(2);
    watch.disconnect();
    expect([...seen]).toEqual(expect.arrayContaining(['frame 2', 'frame 4', 'frame 6']));
    button.click(); // again, from the beginning
    expect(range.valueAsNumber).toBe(0);
  });

  test.each(['pointerdown', 'keydown', 'input', 'set', 'click'])('pauses on %s', async (touch) => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { range, button, view } = await played(9);
    button.click();
    vi.advanceTimersByTime(1300);
    const at = range.valueAsNumber;
    expect(at).toBeGreaterThan(0);
    if (touch === 'set') view.set(0, { step: at });
    else if (touch === 'click') button.click();
    else range.dispatchEvent(new Event(touch, { bubbles: true }));
    expect(button.getAttribute('aria-label')).toBe('Play step');
    vi.advanceTimersByTime(5000);
    expect(range.valueAsNumber).toBe(at);
    button.click(); // and goes on from there
    vi.advanceTimersByTime(700);
    expect(range.valueAsNumber).toBe(at + 1);
  });

  test('is not offered to who asked for less motion, and ends when the page goes', async () => {
    const real = matchMedia;
    const still = new EventTarget() as EventTarget & { matches: boolean };
    still.matches = true;
    vi.spyOn(globalThis, 'matchMedia').mockImplementation((query) => (query.includes('reduced-motion') ? (still as MediaQueryList) : real(query)));
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { range, button, view } = await played();
    expect(getComputedStyle(button).display).toBe('none');
    still.matches = false;
    still.dispatchEvent(new Event('change'));
    expect(getComputedStyle(button).display).not.toBe('none');
    button.click();
    vi.advanceTimersByTime(700);
    expect(range.valueAsNumber).toBe(1);
    still.matches = true;
    still.dispatchEvent(new Event('change'));
    vi.advanceTimersByTime(5000);
    expect([range.valueAsNumber, getComputedStyle(button).display]).toEqual([1, 'none']);
    still.matches = false;
    still.dispatchEvent(new Event('change'));
    button.click();
    view.dispose();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('layout', () => {
  const words = (...beside: string[]) => beside.map((name, k) => ({ name: 'abcdef'[k]!, kind: 'words', beside: name }));
  const laid = async (panels: object[], width = 900, more: object = {}) => {
    const n = panels.length;
    const one = study([slider('seed', [0, 1])], [], [[...Array(n).keys()], [0, ...Array(n - 1).fill(null)]], panels.map((_, k) => ({ text: `words ${k}` })), { panels, ...more });
    const made = await mount(await documentOf(new Table(), one), width);
    const box = (name: string) => made.host.querySelector(`[data-panel=${name}]`)!.getBoundingClientRect();
    return { ...made, box };
  };

  test('a panel beside another stands in its row where there is room, and below it where there is none', async () => {
    const panels = words('', 'a', '', 'c');
    const { host, box } = await laid(panels);
    expect([...host.querySelectorAll('[data-panel]')].map((place) => place.getAttribute('data-panel'))).toEqual(['a', 'b', 'c', 'd']);
    expect(box('b').top).toBe(box('a').top);
    expect(box('b').left).toBeGreaterThanOrEqual(box('a').right);
    expect(box('c').top).toBeGreaterThanOrEqual(box('a').bottom);
    expect(box('d').top).toBe(box('c').top);
    const narrow = await laid(panels, 600);
    expect(narrow.box('b').top).toBeGreaterThanOrEqual(narrow.box('a').bottom);
    expect(narrow.box('b').left).toBe(narrow.box('a').left);
  });

  test('alone in its row, a panel has all of it, also while the other shows nothing', async () => {
    const { host, box } = await laid(words('', '', 'b'));
    const whole = host.getBoundingClientRect().width;
    expect([box('a').width, box('b').width + box('c').width]).toEqual([whole, expect.closeTo(whole - 12, 0)]);
    await put(host.querySelector<HTMLInputElement>('input')!, 1);
    expect([box('b').width, box('c').width]).toEqual([0, 0]);
    const first = await laid(words('', 'a'));
    await put(first.host.querySelector<HTMLInputElement>('input')!, 1);
    expect(first.box('a').width).toBe(whole);
  });

  test('sliders stay in sight while their pictures are scrolled, on at most a third of the screen', async () => {
    const table = new Table();
    const many = [...Array(14).keys()].map((k) => slider(`s${k}`, [0]));
    const tall = [...Array(4).keys()].map(() => surface(table, (x, y) => x * y, { nx: 5, ny: 5 }));
    const { host } = await mount(await documentOf(table, study(many, Array(4).fill('surface'), [[0, 1, 2, 3]], tall)), 380);
    document.body.style.height = '6000px';
    await frames(2);
    const hand = host.querySelector<HTMLElement>('.lw-study-hand')!;
    expect(hand.getBoundingClientRect().height).toBeLessThanOrEqual(innerHeight * 0.345);
    expect(hand.scrollHeight).toBeGreaterThan(hand.clientHeight); // and all of them are in reach
    const study_ = host.querySelector('.lw-study')!.getBoundingClientRect();
    scrollTo(0, study_.top + scrollY + study_.height / 2);
    await frames(2);
    expect(hand.getBoundingClientRect().top).toBeCloseTo(0, 0);
    const over = document.elementFromPoint(hand.getBoundingClientRect().left + 40, 20)!;
    expect(hand.contains(over)).toBe(true);
    scrollTo(0, study_.top + scrollY + study_.height + 500);
    await frames(2);
    expect(hand.getBoundingClientRect().bottom).toBeLessThan(1); // they leave with their study
    scrollTo(0, 0);
    document.body.style.height = '';
  });

  test('claim, source, limits and citation are said, and the checks counted with their figures inside', async () => {
    const checks = [{ name: 'slope', state: 'pass', detail: 'found 2.0001, expected 2' }, { name: 'centre', state: 'pass', detail: '' }];
    const verified = [{ at: 'mu 0.9', name: 'slope', state: 'fail', detail: 'found 3, expected 2' }];
    const told = { claim: 'Momentum is faster.', source: 'Sutskever (2013)', limits: 'One network.', citation: 'doi:1' };
    const { host } = await laid(words(''), 900, { ...told, checks });
    const text = host.textContent!;
    expect(text.indexOf('Momentum is faster.')).toBeLessThan(text.indexOf('words 0'));
    for (const words of ['Sutskever (2013)', 'Limits: One network.', 'Cite as: doi:1']) expect(text).toContain(words);
    const details = host.querySelector('details')!;
    expect([details.open, details.querySelector('summary')!.textContent]).toEqual([false, 'Is my picture right?2 checks pass']);
    expect([...details.querySelectorAll('li')].map((li) => li.textContent)).toEqual(['✓passed: slope · found 2.0001, expected 2', '✓passed: centre']);
    expect(details.textContent).toContain('Checked where the sliders begin');
    const worse = await laid(words(''), 900, { checks, verified });
    expect(worse.host.querySelector('summary')!.textContent).toContain('2 of 3 checks pass: 1 failure');
    expect(worse.host.querySelectorAll('li')[2]!.textContent).toBe('✕failed: slope (mu 0.9) · found 3, expected 2');
    expect((await laid(words(''))).host.querySelector('details')).toBeNull();
  });
});

describe('tables and words', () => {
  test('a table has names for its columns and rows, colours and notes; it is built anew only when it differs', async () => {
    const table = { title: 'Models', head: ['model', 'loss'], rows: [['base', '0.5'], ['<b>x</b> | y', '0.25']], colors: ['', '#d55e00'], chosen: 1, notes: ['Of ten runs.'] };
    const folded = { ...table, folded: true, rows: [['other', '1'], ['base', '2']] };
    const { host } = await mount(await documentOf(new Table(), study([slider('seed', [0, 1, 2])], ['table'], [[0], [1], [2]], [table, folded, { ...folded, notes: [] }])));
    const cells = (query: string) => [...host.querySelectorAll(query)].map((cell) => cell.textContent);
    expect(cells('caption')).toEqual(['Models']);
    expect(cells('th[scope=col]')).toEqual(['model', 'loss']);
    expect(cells('th[scope=row]')).toEqual(['base', '<b>x</b> | y']);
    expect(cells('td')).toEqual(['0.5', '0.25']);
    expect([...host.querySelectorAll<HTMLElement>('.lw-swatch')].map((swatch) => getComputedStyle(swatch).backgroundColor)).toEqual(['rgb(213, 94, 0)']);
    expect(host.textContent).toContain('Of ten runs.');
    expect([...host.querySelectorAll('tr[aria-current]')].map((row) => row.textContent)).toEqual(['<b>x</b> | y0.25']);
    const seed = host.querySelector<HTMLInputElement>('input')!;
    await put(seed, 1);
    const details = host.querySelector('details')!;
    expect([details.open, cells('summary'), cells('caption')]).toEqual([false, ['Models'], []]);
    expect(host.querySelector('table')!.checkVisibility()).toBe(false);
    details.open = true;
    await put(seed, 2);
    expect(host.querySelector('details')!.open).toBe(true); // what a reader opened stays open
    expect(cells('td')).toEqual(['1', '2']);
  });

  test('words have a title and a tone; an alert is one to who cannot see it', async () => {
    const said = [{ text: 'one\ntwo', title: 'Note' }, { text: 'careful', tone: 'note' }, { text: 'wrong', title: 'Diverged', tone: 'alert' }];
    const { host } = await mount(await documentOf(new Table(), study([slider('seed', [0, 1, 2])], ['words'], [[0], [1], [2]], said)));
    const words = () => host.querySelector('.lw-words')!;
    const seed = host.querySelector<HTMLInputElement>('input')!;
    expect([words().querySelector('b')!.textContent, words().textContent, words().getAttribute('aria-live')]).toEqual(['Note', 'Note\none\ntwo', 'polite']);
    await put(seed, 1);
    expect([words().className, words().getAttribute('role')]).toEqual(['lw-words lw-notice lw-note', null]);
    await put(seed, 2);
    expect([words().getAttribute('role'), words().textContent]).toEqual(['alert', 'Diverged\nwrong']);
    expect(host.querySelectorAll('.lw-words').length).toBe(1);
  });
});

describe('a kind that only its line in the list knows', () => {
  test('shows in a page, with its frames and what is between', async () => {
    const dial: Kind<number, { turn: number }> = {
      name: 'dial',
      read: (raw, at, arrays) => arrays.floats(arrays.find((raw.turn as { array: number }).array, `${at}.turn`))[0]!,
      mix: (_, __, parts) => ({ turn: parts.reduce((sum, { picture, weight }) => sum + weight * picture, 0), mixed: ['dials'] }),
      mount: (place) => ({ el: place, show: ({ turn }) => { place.textContent = `turned by ${turn}`; }, dispose: () => undefined }),
    };
    const table = new Table();
    const document_ = await documentOf(table, study(
      [slider('s', [0, 1], { kind: 'number', between: 'interpolate' })], ['dial'], [[0], [1]], [10, 20].map((turn) => ({ turn: table.floats([turn]) })),
    ));
    document_.needs = ['dial', 'recorded'];
    await expect(decodeCompanion(document_)).rejects.toThrow('got "dial"');
    PICTURES.dial = dial;
    try {
      const { host } = await mount(document_);
      const place = host.querySelector<HTMLElement>('[data-kind=dial]')!;
      expect(place.textContent).toBe('turned by 10');
      await put(host.querySelector<HTMLInputElement>('input')!, 0.5);
      expect(place.textContent).toBe('turned by 15');
      expect(host.querySelector('.lw-between')!.textContent).toBe('Between computed positions: dials are mixed from the neighbouring ones.');
    } finally {
      delete PICTURES.dial;
    }
  });
});

describe('what cannot be shown', () => {
  const PNG = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==';
  const shown = async (document_: unknown) => {
    const host = document.body.appendChild(document.createElement('div'));
    mounted.push({ set: () => undefined, ...mountFault(host, await decodeCompanion(document_).then(() => null, (error: unknown) => error)) });
    return host;
  };

  test('an unknown need is named, above the still of the document', async () => {
    const host = await shown({ ...(await small()), needs: ['surface', 'hologram'], still: PNG });
    expect(host.querySelector('[role=alert]')!.textContent).toMatch(/^This picture could not be shown\. .*got "hologram"/);
    const still = host.querySelector('img')!;
    expect([still.src, Boolean(still.alt)]).toEqual([PNG, true]);
    expect(host.querySelector('[role=alert]')!.getBoundingClientRect().bottom).toBeLessThanOrEqual(still.getBoundingClientRect().top);
  });

  test.each(['https://example.invalid/x.png', 'javascript:window.__pwned=1', 'data:text/html;base64,PHNjcmlwdD4=', 'data:image/svg+xml;base64,AAAA', 7])('a still of %s is not shown', async (still) => {
    const host = await shown({ ...(await small()), needs: ['hologram'], still });
    expect(host.querySelector('img')).toBeNull();
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
      const picture = surface(table, (x, y) => x + y, wanted, { description: bad, markers: [{ x: 0, y: 0, label: bad }], paths: [{ x, y: x, label: bad, color: '#0072b2' }] });
      picture.labels = [bad, bad];
      const curve = curves([series(table, [0, 1], [0, 1], { label: bad })], { caption: bad, x_label: bad, y_label: bad });
      const document_ = await documentOf(table, study(
        [slider('seed', [0], { name: bad, label: bad, help: bad }), slider('kind', [bad], { kind: 'choice' })], ['surface', 'curves', 'words'],
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
    ['{"format": "lwidgets.companion", "version": 1}', 'needs must be a list, got nothing'],
    ['{"format": "lwidgets.companion", "needs": ["hologram"]}', 'needs must be among what is known here'],
    ['{"format": "<img src=x onerror=window.__pwned=1>"}', 'format must be "lwidgets.companion", got "<img src=x onerror=window.__pwned=1>"'],
    ['{"format": "lwidgets.companion", "needs": [], "studies": [{}], "arrays": [{"coding": "f4", "shape": [4]}], "data": "eJw="}', 'data must be a complete zlib stream'],
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
  const first = surface(table, (x, y) => x + y, { nx: 3, ny: 2 });
  let base: number | null = null;
  const pictures = codes.map((one) => {
    const { array } = table.quantised(one, 0, 65532, { shape: [3, 2], base });
    base = array;
    return { ...first, values: { arrays: [array] } };
  });
  const { host } = await mount(await documentOf(table, study([slider('seed', [...Array(40).keys()])], ['surface'], pictures.map((_, k) => [k]), pictures)));
  for (const k of [39, 0, 20, 19, 38]) {
    await put(host.querySelector<HTMLInputElement>('input')!, k);
    expect(field(host).dataset).toMatchObject({ min: String(Math.min(...codes[k]!)), max: String(Math.max(...codes[k]!)) });
  }
});
