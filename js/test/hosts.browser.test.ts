// The anywidget hosts against a model that behaves like the real one.

import { afterEach, expect, test } from 'vitest';
import checksHost from '../src/hosts/checks';
import pictureHost from '../src/hosts/picture';
import statusHost from '../src/hosts/status';
import { PICTURES } from '../src/pictures';
import type { Kind } from '../src/pictures/base';
import { sentSurface } from './frames';

class FakeModel {
  saved = 0;
  sent: unknown[] = [];
  private readonly callbacks = new Map<string, Set<() => void>>();
  constructor(private readonly state: Record<string, unknown>) {}
  get(name: string) {
    return this.state[name];
  }
  set(name: string, value: unknown) {
    this.state[name] = value;
    for (const callback of this.callbacks.get(`change:${name}`) ?? []) callback();
  }
  save_changes() {
    this.saved++;
  }
  send(content: unknown) {
    this.sent.push(content);
  }
  on(event: string, callback: () => void) {
    this.callbacks.set(event, (this.callbacks.get(event) ?? new Set()).add(callback));
  }
  off(event: string, callback: () => void) {
    this.callbacks.get(event)?.delete(callback);
  }
  get listeners() {
    return [...this.callbacks.values()].reduce((n, set) => n + set.size, 0);
  }
}

const pictured = (state: object = {}) => new FakeModel({ picture: {}, arrays: {}, held: {}, ...state });

function attach(className = '') {
  const el = document.createElement('div');
  el.className = className;
  el.style.width = '900px';
  document.body.append(el);
  return el;
}
const wait = (ms: number) => new Promise((done) => setTimeout(done, ms));
afterEach(() => document.body.replaceChildren());

test('a picture: arrays and picture in, what is held out and in, nothing left behind', async () => {
  const model = pictured();
  const el = attach();
  const cleanup = pictureHost.render({ model, el });
  expect(el.querySelector('.lw-empty')!.textContent).toBe('Nothing computed yet');
  const { arrays, picture } = sentSurface((x, y) => x + y, { tag: 5 });
  model.set('arrays', arrays);
  model.set('picture', picture);
  const data = () => el.querySelector<HTMLElement>('.lw-height-field')?.dataset;
  await expect.poll(() => data()?.tag).toBe('5');
  expect(el.querySelector<HTMLElement>('.lw-picture-head')!.hidden).toBe(true);

  const press = (pane: string, key: string) =>
    el.querySelector(`.lw-${pane} .lw-overlay`)!.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  press('surface', 'ArrowLeft');
  expect(model.get('held')).toEqual({ camera: { yaw: expect.closeTo(0.78, 9), pitch: 0.6, zoom: 1 } });
  expect(model.saved).toBe(1);
  press('map', 'Enter');
  expect(model.get('held')).toMatchObject({ camera: { pitch: 0.6 }, point: [-1, -1] });
  model.set('held', { camera: { yaw: 0, pitch: 1, zoom: 1 }, point: [0.5, 0.5] });
  await expect.poll(() => el.querySelector('.lw-readout')!.textContent).toMatch(/^pinned: alpha = 0.5, beta = 0.5/);
  press('surface', 'ArrowUp');
  expect(model.get('held')).toMatchObject({ camera: { yaw: 0, pitch: expect.closeTo(1.08, 9) } });

  // What a person holds outlives a new picture.
  model.set('picture', { ...picture, tag: 6 });
  await expect.poll(() => data()?.tag).toBe('6');
  press('surface', 'ArrowUp');
  expect(model.get('held')).toMatchObject({ camera: { pitch: expect.closeTo(1.16, 9) } });
  model.set('picture', { ...picture, tag: 7, camera: { yaw: 1, pitch: 0.5, zoom: 1 } });
  await expect.poll(() => data()?.tag).toBe('7');
  press('surface', 'ArrowUp');
  expect(model.get('held')).toMatchObject({ camera: { yaw: 1, pitch: expect.closeTo(0.58, 9) } });

  model.set('picture', {});
  await expect.poll(() => el.querySelector<HTMLElement>('.lw-view')!.hidden).toBe(true);
  cleanup();
  expect(el.children.length).toBe(0);
  expect(model.listeners).toBe(0);
});

test('a picture that is there is drawn at once, held as it is', () => {
  const el = attach();
  const cleanup = pictureHost.render({ model: pictured({ ...sentSurface((x, y) => x * y, { tag: 3 }), held: { camera: {}, point: [1, 1] } }), el });
  expect(el.querySelector<HTMLElement>('.lw-view')!.dataset.kind).toBe('surface');
  expect(el.querySelector<HTMLElement>('.lw-height-field')!.dataset.tag).toBe('3');
  cleanup();
});

test.each([0, 1, 2, 3])('arrays may begin %i bytes into a message, and value (i, j) is where it belongs', (offset) => {
  const { arrays, picture } = sentSurface((x, y, m) => 100 * m + 10 * x + y, { nx: 5, ny: 3, metrics: ['loss', 'error'], metric: 'error' }, offset);
  const el = attach();
  const cleanup = pictureHost.render({ model: pictured({ arrays, picture }), el });
  expect(el.querySelector<HTMLElement>('.lw-height-field')!.dataset).toMatchObject({ min: '89', max: '111', metric: 'error' });
  cleanup();
});

test('a picture waits for arrays that are on their way', async () => {
  const { arrays, picture } = sentSurface((x, y) => x - y, { tag: 8 });
  const model = pictured();
  const el = attach();
  const cleanup = pictureHost.render({ model, el });
  model.set('picture', picture);
  await wait(60);
  expect(el.querySelector('[role=alert]:not([hidden])')).toBeNull();
  model.set('arrays', arrays);
  await expect.poll(() => el.querySelector<HTMLElement>('.lw-height-field')?.dataset.tag).toBe('8');
  cleanup();
});

test('what is wrong with a picture is told by its place above the last good one, and goes with the next', async () => {
  const { arrays, picture } = sentSurface((x, y) => x - y, { nx: 4, ny: 3, tag: 1 });
  const model = pictured({ arrays, picture });
  const el = attach();
  const cleanup = pictureHost.render({ model, el });
  const notice = el.querySelector<HTMLElement>('[role=alert]')!;
  const faults: [object, object, string][] = [
    [{ ...picture, kind: 'hologram' }, arrays, 'picture.kind must be a kind of picture that is known here (surface, curves, table, words), got "hologram". Update lwidgets.'],
    [{ ...picture, kind: 'constructor' }, arrays, 'picture.kind must be a kind of picture that is known here'],
    [{ ...picture, shape: [3, 4] }, arrays, 'picture.x must have shape [3], got [4].'],
    [{ ...picture, metric: 'acc' }, arrays, 'picture.metric must be one of loss, got "acc".'],
    [picture, { ...arrays, 2: { ...arrays[2], data: new DataView(new ArrayBuffer(8)) } }, 'arrays.2.data must be 12 bytes long for this shape, got 8.'],
    [picture, { ...arrays, 2: { ...arrays[2], data: 'AAAA' } }, 'arrays.2.data must be binary, got "AAAA".'],
    [picture, { ...arrays, 2: { ...arrays[2], coding: 'q2' } }, 'arrays.2.coding must be one of f4, u1, got "q2".'],
    [{ ...picture, evaluated: { array: 10 } }, arrays, 'picture.evaluated must be bytes, of coding u1, got "f4".'],
  ];
  for (const [bad, sent, message] of faults) {
    model.set('arrays', sent);
    model.set('picture', { ...bad });
    await expect.poll(() => notice.textContent).toContain(`This picture could not be drawn: ${message}`);
    expect(notice.getBoundingClientRect().height).toBeGreaterThan(10);
    expect(el.querySelector<HTMLElement>('.lw-height-field')!.dataset.tag).toBe('1');
  }
  model.set('arrays', arrays);
  model.set('picture', { ...picture, tag: 2 });
  await expect.poll(() => notice.hidden).toBe(true);
  cleanup();
});

test('one host shows every kind, also one that only its line in the list knows', async () => {
  const seal: Kind<string, { name: string }> = {
    name: 'seal',
    read: (raw) => String(raw.of),
    mix: (_, near) => ({ name: near }),
    mount: (place, tell) => ({
      el: place,
      show: ({ name }) => {
        place.textContent = `seal of ${name}`;
        tell({ seen: name });
      },
      hold: (held) => { place.title = JSON.stringify(held); },
      dispose: () => undefined,
    }),
  };
  PICTURES.seal = seal;
  try {
    const model = pictured({ picture: { kind: 'words', text: 'first' } });
    const el = attach();
    const cleanup = pictureHost.render({ model, el });
    expect(el.querySelector('.lw-words')!.textContent).toBe('first');
    model.set('picture', { kind: 'seal', of: 'Ada' });
    await expect.poll(() => el.querySelector('[data-kind=seal]')?.textContent).toBe('seal of Ada');
    expect(el.querySelector('.lw-words')).toBeNull();
    expect(model.get('held')).toEqual({ seen: 'Ada' });
    model.set('held', { point: [1] });
    expect(el.querySelector<HTMLElement>('[data-kind=seal]')!.title).toBe('{"point":[1]}');
    cleanup();
    expect([el.children.length, model.listeners]).toEqual([0, 0]);
  } finally {
    delete PICTURES.seal;
  }
});

test('status: progress, stop, and an exception as plain text', () => {
  const model = new FakeModel({ status: { phase: 'running', done: 81, total: 4225, text: '81 of 4,225 evaluated', message: '', where: '' } });
  const el = attach();
  const cleanup = statusHost.render({ model, el });
  const bar = el.querySelector('[role=progressbar]')!;
  expect([bar.getAttribute('aria-valuenow'), bar.getAttribute('aria-valuemax')]).toEqual(['81', '4225']);
  const stop = el.querySelector('button')!;
  expect(stop.disabled).toBe(false);
  stop.click();
  expect(model.sent).toEqual([{ type: 'stop' }]);

  model.set('status', { phase: 'failed', done: 81, total: 4225, text: '', message: 'ValueError: <b>bad</b>\nsecond line', where: 'loss' });
  const alert = el.querySelector<HTMLElement>('[role=alert]')!;
  expect(alert.hidden).toBe(false);
  expect(alert.textContent).toBe('Failed in lossValueError: <b>bad</b>\nsecond line');
  expect(alert.querySelector('pre b')).toBeNull();
  expect(stop.disabled).toBe(true);
  model.set('status', { phase: 'done', done: 4225, total: 4225, text: 'all evaluated' });
  expect(alert.hidden).toBe(true);
  cleanup();
  expect([el.children.length, model.listeners]).toEqual([0, 0]);
});

test('status: mends sliders and plots of its explorer, now and later', async () => {
  const explorer = attach('lwidgets-explorer');
  const el = document.createElement('div');
  const model = new FakeModel({ status: {} });
  const cleanup = statusHost.render({ model, el }); // rendered first, attached later, as Lab does
  explorer.append(el);
  const slider = document.createElement('div');
  slider.className = 'jupyter-widgets widget-inline-hbox';
  slider.innerHTML = '<label class="widget-label">seed x</label><div class="noUi-target"><div class="noUi-handle" tabindex="0"></div></div>';
  explorer.append(slider);
  const figure = document.createElement('div');
  figure.className = 'lwidgets-figure';
  figure.innerHTML = '<div class="bqplot"><svg class="svg-background"></svg><svg class="svg-figure"></svg></div><select></select><input><div class="lwidgets-caption">Loss along the line</div>';
  explorer.append(figure);
  const handle = slider.querySelector('.noUi-handle')!;
  await expect.poll(() => handle.getAttribute('aria-label')).toBe('seed x');
  expect(handle.getAttribute('data-lm-suppress-shortcuts')).toBe('true');
  for (const control of figure.querySelectorAll('select, input')) expect(control.getAttribute('data-lm-suppress-shortcuts')).toBe('true');
  const drawing = figure.querySelector('.svg-figure')!;
  expect([drawing.getAttribute('role'), drawing.getAttribute('aria-label')]).toEqual(['img', 'Loss along the line']);
  slider.querySelector('label')!.textContent = 'seed y';
  await expect.poll(() => handle.getAttribute('aria-label')).toBe('seed y');
  cleanup();
  slider.querySelector('label')!.textContent = 'seed z';
  await wait(150);
  expect(handle.getAttribute('aria-label')).toBe('seed y');
});

test('checks: counted while closed, told without colour', () => {
  const model = new FakeModel({ checks: [
    { name: 'Centre', state: 'pass', detail: 'equal' }, { name: 'BatchNorm', state: 'warn', detail: '<i>frozen</i>' },
  ] });
  const el = attach();
  const cleanup = checksHost.render({ model, el });
  const details = el.querySelector('details')!;
  expect(details.open).toBe(false);
  expect(el.querySelector('summary')!.textContent).toBe('Is my picture right?1 passed, 1 warning');
  expect([...el.querySelectorAll('li')].map((li) => li.textContent)).toEqual(['✓passed: Centre · equal', '!warning: BatchNorm · <i>frozen</i>']);
  details.open = true;
  model.set('checks', []);
  expect(details.open).toBe(true);
  expect(el.querySelector('summary')!.textContent).toContain('nothing checked yet');
  cleanup();
  expect([el.children.length, model.listeners]).toEqual([0, 0]);
});
