// The anywidget hosts against a model that behaves like the real one.

import { afterEach, expect, test } from 'vitest';
import checksHost from '../src/hosts/checks';
import heightFieldHost from '../src/hosts/height_field';
import statusHost from '../src/hosts/status';
import { rawFrame } from './frames';

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

const heightField = () => new FakeModel({
  frame: {}, panes: ['map', 'surface'], camera: { yaw: 0.7, pitch: 0.6, zoom: 1 }, point: [], show_points: false, contours: 12,
  markers: [], description: 'Loss surface',
});

function attach(className = '') {
  const el = document.createElement('div');
  el.className = className;
  el.style.width = '900px';
  document.body.append(el);
  return el;
}
const wait = (ms: number) => new Promise((done) => setTimeout(done, ms));
afterEach(() => document.body.replaceChildren());

test('height field: frames in, camera and point out, nothing left behind', async () => {
  const model = heightField();
  const el = attach();
  const cleanup = heightFieldHost.render({ model, el });
  const root = el.querySelector<HTMLElement>('.lw-root')!;
  model.set('frame', rawFrame((x, y) => x + y, { tag: 5 }));
  await expect.poll(() => root.dataset.tag).toBe('5');

  const overlay = root.querySelector<HTMLElement>('.lw-surface .lw-overlay')!;
  overlay.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true, cancelable: true }));
  expect(model.get('camera')).toMatchObject({ yaw: expect.closeTo(0.78, 9), pitch: 0.6, zoom: 1 });
  expect(model.saved).toBe(1);
  root.querySelector('.lw-map .lw-overlay')!.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
  expect(model.get('point')).toEqual([-1, -1]);
  model.set('point', [0.5, 0.5]);
  await expect.poll(() => root.querySelector('.lw-readout')!.textContent).toMatch(/^pinned: alpha = 0.5, beta = 0.5/);

  cleanup();
  expect(el.children.length).toBe(0);
  expect(model.listeners).toBe(0);
});

test('height field: a bad frame is told, not thrown', async () => {
  const model = heightField();
  model.set('frame', { shape: [3] });
  const el = attach();
  const cleanup = heightFieldHost.render({ model, el });
  expect(el.querySelector('[role=alert]')!.textContent).toContain('shape must be two whole numbers');
  cleanup();
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
