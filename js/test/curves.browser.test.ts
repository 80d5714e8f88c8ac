// The curve view in a real Chromium: by its geometry, and by the pixels that a screenshot shows.

import { page } from 'vitest/browser';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Curve, Drawing } from '../src/pictures/curves';
import { LinePlotView } from '../src/pictures/curves/line_plot';
import { INJECTIONS, linear } from './companions';

const views: LinePlotView[] = [];

const curve = (x: number[], y: number[], more: Partial<Curve> = {}): Curve =>
  ({ x: Float32Array.from(x), y: Float32Array.from(y), label: '', color: '#0000ff', style: 'solid', width: 3, opacity: 1, ...more });

function mount(curves: Curve[], more: Partial<Drawing> = {}, width = 700) {
  const host = document.createElement('div');
  host.style.width = `${width}px`;
  document.body.append(host);
  const view = new LinePlotView(host);
  views.push(view);
  const picture: Drawing = { xLabel: 'alpha', yLabel: 'loss', xLog: false, yLog: false, equal: false, xRange: [0, 1], yRange: [0, 1], caption: '', curves, ...more };
  view.show(picture);
  return { view, host, picture, root: view.root, svg: view.root.querySelector<SVGSVGElement>('.lw-curves')! };
}

beforeEach(() => { document.body.style.cssText = 'background:#fff;margin:8px'; });
afterEach(() => {
  for (const view of views.splice(0)) view.dispose();
  document.body.replaceChildren();
});

const frames = (n: number) => new Promise<void>((done) => {
  const step = () => (n-- > 0 ? requestAnimationFrame(step) : done());
  step();
});

/** The area inside the axes; a browser's own box of a nested viewport is that of its content. */
function areaOf(svg: SVGSVGElement) {
  const whole = svg.getBoundingClientRect();
  const scale = whole.width / svg.viewBox.baseVal.width;
  const [x, y, width, height] = ['x', 'y', 'width', 'height'].map((name) => scale * Number(svg.querySelector('svg')!.getAttribute(name))) as [number, number, number, number];
  return { left: whole.left + x, top: whole.top + y, width, height, bottom: whole.top + y + height };
}

/** Real pixels of an element: is(x, y) in fractions of the area inside the axes tells red, green, blue there. */
async function pixelsOf(svg: SVGSVGElement) {
  const area = areaOf(svg);
  const whole = svg.getBoundingClientRect();
  const shot = await page.screenshot({ element: svg, base64: true, save: false });
  const image = new Image();
  image.src = `data:image/png;base64,${typeof shot === 'string' ? shot : (shot as { base64: string }).base64}`;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.width;
  canvas.height = image.height;
  const ink = canvas.getContext('2d')!;
  ink.drawImage(image, 0, 0);
  const scale = image.width / whole.width;
  return (u: number, v: number, reach = 2) => {
    const px = Math.round((area.left - whole.left + u * area.width) * scale);
    const py = Math.round((area.top - whole.top + (1 - v) * area.height) * scale);
    const side = 2 * reach + 1;
    const { data } = ink.getImageData(px - reach, py - reach, side, side);
    return [...Array(side * side).keys()].map((k) => [data[4 * k]!, data[4 * k + 1]!, data[4 * k + 2]!] as const);
  };
}
const blue = (pixels: (readonly [number, number, number])[]) => pixels.some(([r, g, b]) => b > 200 && r < 80 && g < 80);
const white = (pixels: (readonly [number, number, number])[]) => pixels.every(([r, g, b]) => Math.min(r, g, b) > 200);

describe('pictures', () => {
  test('a line runs where its numbers say, with a gap where they are not finite', async () => {
    const x = linear(0, 1, 101);
    const { svg } = mount([curve(x, x.map((v) => (v > 0.395 && v < 0.605 ? NaN : v * v)))]);
    const at = await pixelsOf(svg);
    for (const u of [0.15, 0.3, 0.7, 0.9]) {
      expect(blue(at(u, u * u))).toBe(true);
      expect(blue(at(u, u))).toBe(false);
    }
    for (const u of [0.45, 0.5, 0.55]) expect(blue(at(u, u * u))).toBe(false);
  });

  test('on a log scale a power law is straight, and what is not positive is missing', async () => {
    const x = linear(0, 1, 101);
    const { svg, root } = mount([curve(x, x.map((v) => (v < 0.2 ? -1 : 10 ** (4 * v - 2))))], { yLog: true, yRange: [1e-2, 1e2] });
    const at = await pixelsOf(svg);
    for (const u of [0.3, 0.5, 0.8]) expect(blue(at(u, u))).toBe(true);
    expect(blue(at(0.1, 0.1))).toBe(false);
    const ticks = [...svg.querySelectorAll('.lw-axes text')].map((t) => t.textContent);
    for (const tick of ['0.01', '0.1', '1', '10', '100', 'loss (log scale)']) expect(ticks).toContain(tick);
    expect(root.dataset.yLog).toBe('true');
  });

  test('on a log axis across, too, and the pointer reads there', async () => {
    const x = linear(-2, 2, 81).map((v) => 10 ** v);
    const { svg, root } = mount([curve([-1, ...x], [0, ...x.map((v) => v ** 0.5)])], { xLog: true, yLog: true, xRange: [1e-2, 1e2], yRange: [1e-1, 1e1] });
    const at = await pixelsOf(svg);
    for (const u of [0.1, 0.5, 0.9]) expect(blue(at(u, u))).toBe(true);
    const ticks = [...svg.querySelectorAll('.lw-axes text')].map((t) => t.textContent);
    for (const tick of ['0.01', '0.1', '1', '10', '100', 'alpha (log scale)', 'loss (log scale)']) expect(ticks).toContain(tick);
    const area = areaOf(svg);
    root.querySelector('.lw-overlay')!.dispatchEvent(new PointerEvent('pointermove', { clientX: area.left + 0.75 * area.width, clientY: area.top + 20, bubbles: true }));
    expect(root.querySelector('.lw-readout')!.textContent).toBe('alpha = 10loss 3.1623');
  });

  test.each([[[-1, 1], [-1, 1], 700], [[-1, 1], [-1, 1], 330], [[0, 10], [0, 2], 700], [[0, 1], [0, 8], 700]] as const)('with an equal aspect a circle is round: %j x %j at %i px', (xRange, yRange, width) => {
    const turn = linear(0, 2 * Math.PI, 200);
    const [cx, cy] = [(xRange[0] + xRange[1]) / 2, (yRange[0] + yRange[1]) / 2];
    const { svg, host } = mount([curve(turn.map((t) => cx + 0.4 * Math.cos(t)), turn.map((t) => cy + 0.4 * Math.sin(t)))], { equal: true, xRange, yRange }, width);
    const d = svg.querySelector('svg path')!.getAttribute('d')!;
    const points = [...d.matchAll(/[ML](\S+) ([^LM]+)/g)].map(([, x, y]) => [Number(x), Number(y)] as const);
    const extent = (axis: 0 | 1) => Math.max(...points.map((p) => p[axis])) - Math.min(...points.map((p) => p[axis]));
    expect(extent(0)).toBeGreaterThan(10);
    expect(extent(0) / extent(1)).toBeCloseTo(1, 1);
    for (const node of svg.querySelectorAll('text')) {
      expect(node.getBoundingClientRect().right).toBeLessThanOrEqual(host.getBoundingClientRect().right + 0.5);
      expect(node.getBoundingClientRect().left).toBeGreaterThanOrEqual(host.getBoundingClientRect().left - 0.5);
    }
  });

  test('what lies outside the ranges stays outside the axes', async () => {
    const { svg } = mount([curve([0, 1], [-1, 3])]);
    const at = await pixelsOf(svg);
    expect(blue(at(0.5, 1 - 0.02))).toBe(true);
    expect(blue(at(0.56, 1.03))).toBe(false);
    expect(blue(at(0.22, -0.06))).toBe(false);
  });

  test('dashes, dots and bands look like dashes, dots and bands', async () => {
    const x = linear(0, 1, 11);
    const { svg } = mount([
      curve([0, 1], [0.9, 0.9], { style: 'dashed' }),
      curve(x, x.map(() => 0.5), { style: 'points', width: 3 }),
      curve([0, 1], [0.1, 0.1, 0.3, 0.3], { style: 'band' }),
    ]);
    const at = await pixelsOf(svg);
    const along = (v: number) => linear(0.1, 0.9, 200).filter((u) => blue(at(u, v, 0))).length / 200;
    expect(along(0.9)).toBeGreaterThan(0.3);
    expect(along(0.9)).toBeLessThan(0.8);
    expect(blue(at(0.4, 0.5))).toBe(true);
    expect(blue(at(0.45, 0.5))).toBe(false);
    const [r, g, b] = at(0.45, 0.17, 0)[0]!;
    expect(b).toBeGreaterThan(240);
    expect(Math.max(r, g)).toBeLessThan(225);
    expect(white(at(0.45, 0.35, 0))).toBe(true);
    expect(white(at(0.45, 0.05, 0))).toBe(true);
  });

  test('a legend at the top right names the labelled series, in their colours', () => {
    const { svg } = mount([curve([0, 1], [0, 1], { label: 'train' }), curve([0, 1], [1, 0]), curve([0, 1], [0, 0], { label: 'test', color: '#d55e00', style: 'dashed' })]);
    expect([...svg.querySelectorAll('.lw-legend text')].map((t) => t.textContent)).toEqual(['train', 'test']);
    expect([...svg.querySelectorAll('.lw-legend path')].map((p) => p.getAttribute('stroke'))).toEqual(['#0000ff', '#d55e00']);
    const box = svg.querySelector('.lw-legend')!.getBoundingClientRect();
    const whole = svg.getBoundingClientRect();
    expect(box.left).toBeGreaterThan(whole.left + whole.width / 2);
    expect(box.bottom).toBeLessThan(whole.top + whole.height / 3);
  });

  test('a legend makes room for the curves, wherever they are', () => {
    for (const [top, right] of [[true, true], [true, false], [false, true], [false, false]] as const) {
      const free = [right ? 0.95 : 0.05, top ? 0.95 : 0.05] as const;
      const others = [[0.05, 0.05], [0.05, 0.95], [0.95, 0.05], [0.95, 0.95]].filter(([x, y]) => x !== free[0] || y !== free[1]);
      const { svg } = mount([
        curve([0.45, 0.55], [0.5, 0.5], { label: 'named' }),
        ...others.map(([x, y]) => curve([x! - 0.04, x! + 0.04], [y!, y!])),
        curve([free[0], free[0]], [0, 1], { style: 'dashed' }), // a cursor, which may pass
      ]);
      const [box, whole] = [svg.querySelector('.lw-legend')!, svg].map((node) => node.getBoundingClientRect());
      expect((box!.left + box!.right) / 2 > (whole!.left + whole!.right) / 2).toBe(right);
      expect((box!.top + box!.bottom) / 2 < (whole!.top + whole!.bottom) / 2).toBe(top);
    }
  });

  test('forty series do not cover the picture with their legend', () => {
    const { svg } = mount(linear(0, 1, 40).map((y, k) => curve([0, 1], [y, y], { label: `run ${k}` })));
    const texts = [...svg.querySelectorAll('.lw-legend text')].map((t) => t.textContent);
    expect(texts[texts.length - 1]).toBe(`and ${40 - texts.length + 1} more`);
    expect(svg.querySelector('.lw-legend')!.getBoundingClientRect().bottom).toBeLessThan(areaOf(svg).bottom);
  });

  test.each([[320], [700], [1100]])('at %i px ticks are apart and nothing leaves the figure', (width) => {
    const { svg, host } = mount([curve([0, 1], [0, 1], { label: 'a long name of a series that goes on and on and on and on' })], {
      xLabel: 'a label of the axis that says a great deal about what is drawn along it, and then says some more of it', xRange: [-1234.5, 6789.1], yRange: [-12345, 54321],
    }, width);
    const outer = host.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll('text')].map((t) => t.getBoundingClientRect());
    for (const box of boxes) {
      expect(box.left).toBeGreaterThanOrEqual(outer.left);
      expect(box.right).toBeLessThanOrEqual(outer.right + 0.5);
    }
    const ticks = [...svg.querySelectorAll('.lw-axes text:not(.lw-label)')].map((t) => t.getBoundingClientRect());
    expect(ticks.length).toBeGreaterThan(5);
    for (const [k, a] of ticks.entries()) {
      for (const b of ticks.slice(k + 1)) expect(a.right < b.left || b.right < a.left || a.bottom <= b.top || b.bottom <= a.top).toBe(true);
    }
  });

  test('the figure follows the width of its place', async () => {
    const { host, svg } = mount([curve([0, 1], [0, 1])]);
    const wide = svg.getAttribute('viewBox');
    host.style.width = '360px';
    await frames(3);
    expect(svg.getAttribute('viewBox')).not.toBe(wide);
    expect(svg.getBoundingClientRect().width).toBeLessThanOrEqual(360);
  });

  test('nothing drawable, one point, no series', () => {
    const { view, svg, picture } = mount([curve([0, 1], [NaN, NaN])]);
    expect(svg.querySelector('svg path')!.getAttribute('d')).toBe('');
    view.show({ ...picture, curves: [curve([0.5], [0.5])] });
    expect(svg.querySelector('svg path')!.getBoundingClientRect().width).toBeGreaterThanOrEqual(0);
    view.show({ ...picture, curves: [] });
    expect(svg.querySelector('svg path')).toBeNull();
    expect(svg.querySelectorAll('.lw-axes text').length).toBeGreaterThan(4);
  });
});

describe('reading', () => {
  const press = (target: HTMLElement, key: string, shiftKey = false) => {
    const event = new KeyboardEvent('keydown', { key, shiftKey, bubbles: true, cancelable: true });
    target.dispatchEvent(event);
    return event.defaultPrevented;
  };
  const x = linear(0, 1, 11);

  test('the pointer reads the nearest point of every named curve', () => {
    const { root, svg } = mount([curve(x, x.map((v) => v / 2), { label: 'train' }), curve(x, x.map((v) => 1 - v), { label: 'test' }), curve([0, 1], [0, 0])]);
    const overlay = root.querySelector<HTMLElement>('.lw-overlay')!;
    const area = areaOf(svg);
    overlay.dispatchEvent(new PointerEvent('pointermove', { clientX: area.left + 0.41 * area.width, clientY: area.top + 20, bubbles: true }));
    expect(root.querySelector('.lw-readout')!.textContent).toBe('alpha = 0.4train 0.2test 0.6');
    expect(root.querySelectorAll('.lw-cursor circle').length).toBe(2);
    const [ring] = root.querySelectorAll('.lw-cursor circle');
    const at = ring!.getBoundingClientRect();
    expect((at.left + at.width / 2 - area.left) / area.width).toBeCloseTo(0.4, 2);
    expect(1 - (at.top + at.height / 2 - area.top) / area.height).toBeCloseTo(0.2, 2);
    overlay.dispatchEvent(new PointerEvent('pointerleave'));
    expect(root.querySelector('.lw-cursor')!.childElementCount).toBe(0);
  });

  test('arrow keys walk, and values that are missing are said to be', () => {
    const { root, view, picture } = mount([curve(x, x.map((v) => (v === 0.2 ? NaN : v)))]);
    const overlay = root.querySelector<HTMLElement>('.lw-overlay')!;
    const words = () => root.querySelector('.lw-readout')!.textContent;
    expect([overlay.tabIndex, overlay.getAttribute('data-lm-suppress-shortcuts')]).toEqual([0, 'true']);
    press(overlay, 'Home');
    press(overlay, 'ArrowRight');
    press(overlay, 'ArrowRight');
    expect(words()).toBe('alpha = 0.2loss not a number');
    press(overlay, 'ArrowRight', true);
    expect(words()).toBe('alpha = 0.7loss 0.7');
    view.show({ ...picture, curves: [curve(x, x.map((v) => 2 * v))] });
    expect(words()).toBe('alpha = 0.7loss 1.4');
    expect(press(overlay, 'End')).toBe(true);
    expect(words()).toBe('alpha = 1loss 2');
    expect([press(overlay, 'x'), press(overlay, 'toString')]).toEqual([false, false]);
    press(overlay, 'Escape');
    expect(words()).toBe('Point at the curves to read values.');
  });

  test('an orbit is read at its nearest point, since one x has several', () => {
    const turn = linear(0, 2 * Math.PI, 9);
    const { root, svg } = mount([curve(turn.map(Math.cos), turn.map(Math.sin), { label: 'orbit' })], { equal: true, xRange: [-1, 1], yRange: [-1, 1] });
    const overlay = root.querySelector<HTMLElement>('.lw-overlay')!;
    const words = () => root.querySelector('.lw-readout')!.textContent;
    const area = areaOf(svg);
    const move = (u: number, v: number) => overlay.dispatchEvent(new PointerEvent('pointermove', { clientX: area.left + u * area.width, clientY: area.top + (1 - v) * area.height, bubbles: true }));
    move(0.5, 0.97);
    expect(words()).toMatch(/^alpha = 6.123×10⁻¹⁷orbit 1$/);
    move(0.5, 0.1);
    expect(words()).toMatch(/orbit −1$/);
    expect(root.querySelectorAll('.lw-cursor line').length).toBe(0);
    press(overlay, 'Home');
    press(overlay, 'ArrowRight');
    press(overlay, 'ArrowRight', true);
    expect(words()).toBe('alpha = −1.837×10⁻¹⁶orbit −1'); // point 6 of 9
  });

  test('the caption is the accessible name, and text stays text', () => {
    for (const bad of INJECTIONS) {
      const { root, svg } = mount([curve([0, 1], [0, 1], { label: bad })], { caption: bad, xLabel: bad, yLabel: bad });
      expect(svg.getAttribute('aria-label')).toBe(bad);
      expect(root.querySelector('.lw-caption')!.textContent).toBe(bad);
      expect(root.querySelector('img, script, [onload], [onerror]')).toBeNull();
    }
    expect((globalThis as { __pwned?: unknown }).__pwned).toBeUndefined();
    expect(mount([]).svg.getAttribute('aria-label')).toBe('loss over alpha');
  });

  test('disposed, nothing is left', () => {
    const { view, host } = mount([curve([0, 1], [0, 1])]);
    view.dispose();
    expect(host.children.length).toBe(0);
  });
});
