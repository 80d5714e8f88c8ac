// The figure in a real Chromium, judged by properties of its pixels.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FigureHeld, type FigureOptions, SurfaceFigure } from '../src/pictures/surface/figure';
import type { Frame } from '../src/pictures/surface/frame';
import { Renderer } from '../src/pictures/surface/renderer';
import { frameOf, type Wanted } from './frames';

type F = (x: number, y: number, m: number) => number;
const bowl: F = (x, y) => x * x + 2 * y * y;
const views: SurfaceFigure[] = [];
const hook = globalThis as { __lwidgetsPainted?: (what: Record<string, unknown>) => void };

function mount(f: F = bowl, wanted: Wanted = {}, { width = 900, tell = (_: FigureHeld) => undefined as void } = {}) {
  const host = document.createElement('div');
  host.style.width = `${width}px`;
  document.body.append(host);
  const figure = new SurfaceFigure(host, tell);
  views.push(figure);
  let frame = frameOf(f, wanted);
  figure.show(frame);
  const view = {
    figure,
    set: (options: Partial<FigureOptions>) => figure.show(frame, options),
    setFrame: (next: Frame) => figure.show((frame = next)),
    dispose: () => figure.dispose(),
  };
  return { view, host, root: figure.root };
}

beforeEach(() => { document.body.style.background = '#fff'; });
afterEach(() => {
  for (const view of views.splice(0)) view.dispose();
  document.body.replaceChildren();
  delete hook.__lwidgetsPainted;
});

const frames = (n: number) => new Promise<void>((done) => {
  const step = () => (n-- > 0 ? requestAnimationFrame(step) : done());
  step();
});
const canvas = (root: Element, kind: string, layer = 'base') => root.querySelector<HTMLCanvasElement>(`.lw-${kind} .lw-${layer}`)!;

function pixels(c: HTMLCanvasElement) {
  const { data, width, height } = c.getContext('2d')!.getImageData(0, 0, c.width, c.height);
  const colors = new Map<number, number>();
  for (let k = 0; k < data.length; k += 4) {
    if (data[k + 3]! < 250) continue;
    const color = (data[k]! << 16) | (data[k + 1]! << 8) | data[k + 2]!;
    colors.set(color, (colors.get(color) ?? 0) + 1);
  }
  return { data, width, height, colors: colors.size };
}

/** Mean lightness of the coloured (saturated) pixels in a part of a canvas given in fractions. */
function lightness(c: HTMLCanvasElement, [x0, y0, x1, y1]: readonly [number, number, number, number]) {
  const { data, width, height } = pixels(c);
  let sum = 0;
  let n = 0;
  for (let y = Math.floor(y0 * height); y < y1 * height; y++) {
    for (let x = Math.floor(x0 * width); x < x1 * width; x++) {
      const [r, g, b, a] = data.subarray(4 * (y * width + x));
      if (a! < 250 || Math.max(r!, g!, b!) - Math.min(r!, g!, b!) < 30) continue;
      sum += 0.3 * r! + 0.6 * g! + 0.1 * b!;
      n++;
    }
  }
  return n ? sum / n : NaN;
}

/** The centre of the map's picture, found by its frame: where coloured pixels are. */
function pictureBox(c: HTMLCanvasElement) {
  const { data, width, height } = pixels(c);
  const box = { left: width, right: 0, top: height, bottom: 0 };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [r, g, b, a] = data.subarray(4 * (y * width + x));
      if (a! < 250 || Math.max(r!, g!, b!) - Math.min(r!, g!, b!) < 30) continue;
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x);
      box.top = Math.min(box.top, y);
      box.bottom = Math.max(box.bottom, y);
    }
  }
  return box;
}

function pointer(target: HTMLElement, type: string, x: number, y: number, more: PointerEventInit = {}) {
  const box = target.getBoundingClientRect();
  target.dispatchEvent(new PointerEvent(type, { clientX: box.left + x, clientY: box.top + y, bubbles: true, pointerId: 1, pointerType: 'mouse', ...more }));
}
const press = (target: HTMLElement, key: string, shiftKey = false) => {
  const event = new KeyboardEvent('keydown', { key, shiftKey, bubbles: true, cancelable: true });
  target.dispatchEvent(event);
  return event;
};

describe('pictures', () => {
  test('both panes are full of colours', () => {
    const { root } = mount();
    expect(pixels(canvas(root, 'map')).colors).toBeGreaterThan(200);
    expect(pixels(canvas(root, 'surface')).colors).toBeGreaterThan(200);
  });

  test.each([
    ['x', 33, 17, (x: number) => x, [0.1, 0.4, 0.35, 0.6], [0.7, 0.4, 0.95, 0.6]],
    ['y', 33, 17, (_: number, y: number) => y, [0.4, 0.65, 0.7, 0.8], [0.4, 0.08, 0.7, 0.25]],
    ['x', 9, 40, (x: number) => x, [0.1, 0.4, 0.35, 0.6], [0.7, 0.4, 0.95, 0.6]],
  ] as const)('a ramp along %s on a grid of %i x %i is dark at its low end, in the map and from above', (_, nx, ny, f, low, high) => {
    const { root, view } = mount(f, { nx, ny });
    const map = canvas(root, 'map');
    expect(lightness(map, low)).toBeLessThan(lightness(map, high) - 40);
    view.set({ camera: { yaw: 0, pitch: Math.PI / 2, zoom: 1 }, contours: 0 });
    const surface = canvas(root, 'surface');
    const box = pictureBox(surface);
    const part = ([x0, y0, x1, y1]: readonly number[]): [number, number, number, number] => [
      (box.left + x0! * (box.right - box.left)) / surface.width, (box.top + y0! * (box.bottom - box.top)) / surface.height,
      (box.left + x1! * (box.right - box.left)) / surface.width, (box.top + y1! * (box.bottom - box.top)) / surface.height,
    ];
    expect(lightness(surface, part(low))).toBeLessThan(lightness(surface, part(high)) - 40);
  });

  test('values that are not finite are hatched in the map, missing in the surface, counted and explained', () => {
    const { root } = mount((x, y) => (x > 0.5 && y > 0.5 ? NaN : bowl(x, y, 0)), { nx: 33, ny: 33 });
    const map = canvas(root, 'map');
    const box = pictureBox(map);
    const { data, width } = pixels(map);
    const at = (fx: number, fy: number) => data.subarray(4 * (Math.round(box.bottom - fy * (box.bottom - box.top)) * width + Math.round(box.left + fx * (box.right - box.left))));
    const [r, g, b] = at(0.9, 0.9);
    expect(Math.max(r!, g!, b!) - Math.min(r!, g!, b!)).toBeLessThan(20);
    const [R, G, B] = at(0.9, 0.5);
    expect(Math.max(R!, G!, B!) - Math.min(R!, G!, B!)).toBeGreaterThan(40);
    expect(root.querySelector('.lw-caption')!.textContent).toContain('64 of 1,089 values are not finite');
    expect(root.querySelector('.lw-key-masked')).not.toBeNull();
  });

  test('seen from above, the surface lacks exactly the cells that touch a hole', () => {
    const coloured = (f: F) => {
      const { view, root } = mount(f, { nx: 41, ny: 41 });
      view.set({ camera: { yaw: 0, pitch: Math.PI / 2, zoom: 1 }, contours: 0 });
      const { data } = pixels(canvas(root, 'surface'));
      let n = 0;
      for (let k = 0; k < data.length; k += 4) if (data[k + 3]! > 250 && Math.max(data[k]!, data[k + 1]!, data[k + 2]!) - Math.min(data[k]!, data[k + 1]!, data[k + 2]!) > 30) n++;
      return n;
    };
    const flat: F = (x) => 1 + 1e-3 * x;
    // x > 0.5 masks 10 of 41 lines, and with them 10 of 40 columns of cells; perspective adds a little.
    expect(coloured((x, y, m) => (x > 0.51 ? NaN : flat(x, y, m))) / coloured(flat)).toBeCloseTo(0.75, 1);
  });

  test('a painted picture reports what it shows, to the last digit', () => {
    const seen: Record<string, unknown>[] = [];
    hook.__lwidgetsPainted = (what) => seen.push(what);
    const { root } = mount((x, y) => 1 / 3 + x + y, { tag: 7, final: false });
    expect(seen).toEqual([{ kind: 'surface', shape: [33, 17], tag: 7, metric: 'loss', final: false }]);
    expect(root.dataset).toMatchObject({
      tag: '7', metric: 'loss', shape: '33x17', final: 'false',
      min: String(Math.fround(1 / 3 - 2)), max: String(Math.fround(1 / 3 + 2)),
    });
    expect(root.querySelector('.lw-refining')!.textContent).toBe('refining…');
  });

  test('contour lines and dots change the picture', () => {
    const { view, root } = mount(bowl, { every: 4 });
    const snapshot = () => canvas(root, 'map').toDataURL() + canvas(root, 'surface').toDataURL();
    view.set({ contours: 0 });
    const plain = snapshot();
    view.set({ contours: 12 });
    const lines = snapshot();
    view.set({ showPoints: true });
    expect(new Set([plain, lines, snapshot()]).size).toBe(3);
    expect(root.querySelector('.lw-key-point')).not.toBeNull();
  });

  test('GL and the CPU paint the same map', () => {
    const raw = frameOf((x, y) => (x < -0.6 ? NaN : bowl(x, y, 0)), { nx: 21, ny: 31 });
    const renderer = Renderer.shared()! as unknown as { software: boolean };
    const { view, root } = mount();
    const paint = (software: boolean) => {
      const before = renderer.software;
      renderer.software = software;
      view.setFrame(raw);
      renderer.software = before;
      return pixels(canvas(root, 'map')).data;
    };
    const [byCpu, byGl] = [paint(true), paint(false)];
    const isGray = (data: Uint8ClampedArray, k: number) => Math.max(data[k]!, data[k + 1]!, data[k + 2]!) - Math.min(data[k]!, data[k + 1]!, data[k + 2]!) < 20;
    let [far, gray] = [0, 0];
    for (let k = 0; k < byCpu.length; k += 4) {
      if (isGray(byCpu, k) !== isGray(byGl, k)) gray++;
      else if (!isGray(byCpu, k) && [0, 1, 2].some((c) => Math.abs(byCpu[k + c]! - byGl[k + c]!) > 24)) far++;
    }
    expect(gray / (byCpu.length / 4)).toBeLessThan(0.01);
    expect(far / (byCpu.length / 4)).toBeLessThan(0.01);
  });
});

describe('the shared renderer', () => {
  test('twenty figures use one context and all are painted; disposing frees what they held', () => {
    const before = Renderer.shared()!.stats();
    const all = Array.from({ length: 20 }, (_, k) => mount((x, y) => bowl(x, y, 0) + k, { nx: 17, ny: 9 }, { width: 600 }));
    for (const { root } of all) expect(pixels(canvas(root, 'surface')).colors).toBeGreaterThan(100);
    const during = Renderer.shared()!.stats();
    expect(during.contexts).toBe(Math.max(1, before.contexts));
    expect(during.pictures).toBe(before.pictures + 20);
    for (const { view, host } of all) {
      view.dispose();
      expect(host.children.length).toBe(0);
    }
    expect(Renderer.shared()!.stats()).toMatchObject({ pictures: before.pictures, textures: before.textures });
  });

  test('a lost context keeps the old picture and draws the new one when it is back', async () => {
    const { view, root } = mount(bowl, { tag: 1 });
    const renderer = Renderer.shared()!;
    const loser = renderer.context!.getExtension('WEBGL_lose_context')!;
    loser.loseContext();
    await frames(3);
    expect(renderer.stats().lost).toBe(true);
    view.setFrame(frameOf((x, y) => x - y, { tag: 2 }));
    await frames(3);
    expect(pixels(canvas(root, 'surface')).colors).toBeGreaterThan(200);
    expect(root.dataset.tag).toBe('1');
    loser.restoreContext();
    await expect.poll(() => root.dataset.tag).toBe('2');
    expect(pixels(canvas(root, 'surface')).colors).toBeGreaterThan(100);
  });

  test('a context that never comes back is replaced', async () => {
    const { view, root } = mount(bowl, { tag: 1 });
    const renderer = Renderer.shared()!;
    const { contexts } = renderer.stats();
    renderer.context!.getExtension('WEBGL_lose_context')!.loseContext();
    await frames(3);
    view.setFrame(frameOf(bowl, { tag: 2 }));
    await expect.poll(() => root.dataset.tag, { timeout: 5000 }).toBe('2');
    expect(renderer.stats()).toMatchObject({ contexts: contexts + 1, lost: false });
  });
});

describe('pointing', () => {
  test('hovering the map reads every metric; clicking pins the grid point', async () => {
    const points: unknown[] = [];
    const { root } = mount((x, y, m) => (m ? 0.25 : 10 * x + y), { nx: 21, ny: 11, metrics: ['loss', 'error'], every: 2, errors: [0.02, 0.001] }, { tell: ({ point }) => void points.push(point) });
    const overlay = canvas(root, 'map', 'overlay');
    const box = pictureBox(canvas(root, 'map'));
    const at = (u: number, v: number) => [box.left + u * (box.right - box.left), box.bottom - v * (box.bottom - box.top)] as const;
    pointer(overlay, 'pointermove', ...at(0.75, 0.3));
    await frames(2);
    expect(root.querySelector('.lw-readout')!.textContent).toBe('alpha = 0.5, beta = −0.4loss 4.6error 0.25interpolated, within 0.02 (loss), 0.001 (error)');
    expect(pixels(canvas(root, 'surface', 'overlay')).colors).toBeGreaterThan(0);
    pointer(overlay, 'pointerdown', ...at(0.75, 0.3), { button: 0, buttons: 1 });
    pointer(overlay, 'pointerup', ...at(0.75, 0.3), { button: 0 });
    pointer(overlay, 'pointerleave', 0, 0);
    await frames(2);
    expect(points).toEqual([[0.5, -0.4]]);
    expect(root.querySelector('.lw-readout')!.textContent).toMatch(/^pinned: alpha = 0.5, beta = −0.4/);
    press(overlay, 'Escape');
    expect(points).toEqual([[0.5, -0.4], []]);
  });

  test('arrow keys walk over grid points, Enter pins; Lab is told to leave the keys alone', async () => {
    const points: unknown[] = [];
    const { root } = mount(bowl, { nx: 21, ny: 11 }, { tell: ({ point }) => void points.push(point) });
    const overlay = canvas(root, 'map', 'overlay');
    expect(overlay.getAttribute('data-lm-suppress-shortcuts')).toBe('true');
    expect(overlay.tabIndex).toBe(0);
    expect(press(overlay, 'ArrowRight').defaultPrevented).toBe(true); // from the minimum at (0, 0)
    press(overlay, 'ArrowUp');
    press(overlay, 'ArrowRight', true);
    await frames(2);
    expect(root.querySelector('.lw-readout')!.textContent).toMatch(/^alpha = 0.6, beta = 0.2/);
    press(overlay, 'Enter');
    expect(points).toEqual([[0.6, 0.2]]);
    expect(press(overlay, 'x').defaultPrevented).toBe(false);
  });

  test('dragging, keys and double click turn the surface and report the camera at the end of the gesture', () => {
    const cameras: { yaw: number; pitch: number; zoom: number }[] = [];
    const { root } = mount(bowl, {}, { tell: ({ camera }) => void cameras.push(camera as never) });
    const overlay = canvas(root, 'surface', 'overlay');
    pointer(overlay, 'pointerdown', 100, 100, { button: 0, buttons: 1 });
    pointer(overlay, 'pointermove', 150, 100, { buttons: 1 });
    expect(cameras).toEqual([]);
    pointer(overlay, 'pointerup', 150, 100);
    expect(cameras.length).toBe(1);
    expect(cameras[0]!.yaw).toBeLessThan(0.7 - 0.2);
    press(overlay, 'ArrowUp');
    expect(cameras[1]!.pitch).toBeGreaterThan(cameras[0]!.pitch);
    press(overlay, '+');
    expect(cameras[2]!.zoom).toBeGreaterThan(1);
    overlay.dispatchEvent(new MouseEvent('dblclick', { bubbles: true, cancelable: true }));
    expect(cameras[3]).toEqual({ yaw: 0.7, pitch: 0.6, zoom: 1 });
  });

  test('the camera in hand outlives new pictures and other panes', () => {
    const cameras: { yaw: number }[] = [];
    const { root, view } = mount(bowl, {}, { tell: ({ camera }) => void cameras.push(camera as never) });
    press(canvas(root, 'surface', 'overlay'), 'ArrowLeft');
    view.setFrame(frameOf(bowl, { tag: 2 }));
    view.set({ panes: ['surface'] });
    press(canvas(root, 'surface', 'overlay'), 'ArrowLeft');
    expect(cameras.map(({ yaw }) => yaw)).toEqual([expect.closeTo(0.78, 9), expect.closeTo(0.86, 9)]);
  });

  test('two fingers zoom', () => {
    const cameras: { zoom: number }[] = [];
    const { root } = mount(bowl, {}, { tell: ({ camera }) => void cameras.push(camera as never) });
    const overlay = canvas(root, 'surface', 'overlay');
    const finger = (type: string, id: number, x: number) => pointer(overlay, type, x, 100, { pointerId: id, pointerType: 'touch', button: 0 });
    finger('pointerdown', 11, 100);
    finger('pointerdown', 12, 140);
    finger('pointermove', 12, 180);
    finger('pointerup', 12, 180);
    finger('pointerup', 11, 100);
    expect(cameras.length).toBe(1);
    expect(cameras[0]!.zoom).toBeCloseTo(2, 6);
  });

  test('the wheel scrolls the page until the pane has focus', () => {
    const { root } = mount();
    const overlay = canvas(root, 'map', 'overlay');
    const wheel = (more: WheelEventInit = {}) => {
      const box = overlay.getBoundingClientRect();
      const event = new WheelEvent('wheel', { deltaY: -100, clientX: box.left + 150, clientY: box.top + 100, cancelable: true, bubbles: true, ...more });
      overlay.dispatchEvent(event);
      return event.defaultPrevented;
    };
    expect(wheel()).toBe(false);
    expect(root.querySelector('.lw-map .lw-hint')!.classList.contains('lw-on')).toBe(true);
    expect(wheel({ ctrlKey: true })).toBe(true);
    overlay.focus();
    expect(wheel()).toBe(true);
  });
});

describe('paths', () => {
  const MAGENTA = '#ff00ff';
  const flat: F = (x) => 1 + 1e-4 * x;
  const ABOVE = { yaw: 0, pitch: Math.PI / 2, zoom: 1 };
  const FRONT = { yaw: 0, pitch: 0.03, zoom: 1 };
  const line = (x: number[], y: number[], more: object = {}) => ({ x, y, label: '', color: MAGENTA, ...more });

  /** Pixels [x, y] of a path as drawn in full, with their centres as shares of a box. */
  function marks(c: HTMLCanvasElement, box = { left: 0, right: 1, top: 0, bottom: 1 }) {
    const { data, width } = pixels(c);
    const found: [number, number][] = [];
    for (let k = 0; k < data.length; k += 4) {
      if (data[k]! < 225 || data[k + 1]! > 60 || data[k + 2]! < 225 || data[k + 3]! < 250) continue;
      const [px, py] = [(k / 4) % width, Math.floor(k / 4 / width)];
      found.push([(px + 0.5 - box.left) / (box.right - box.left), (py + 0.5 - box.top) / (box.bottom - box.top)]);
    }
    return found;
  }
  function drawn(f: F, paths: object[], more: object = {}, wanted: Wanted = {}) {
    const { view, root } = mount(f, { nx: 41, ny: 41, ...wanted });
    view.set({ contours: 0, ...more });
    const box = pictureBox(canvas(root, 'map'));
    const bare = pixels(canvas(root, 'map'));
    view.set({ paths: paths as never });
    return { view, root, box: { left: box.left, right: box.right + 1, top: box.top, bottom: box.bottom + 1 }, bare, map: canvas(root, 'map'), surface: canvas(root, 'surface') };
  }
  const extent = (points: number[][], axis: 0 | 1) => [Math.min(...points.map((p) => p[axis]!)), Math.max(...points.map((p) => p[axis]!))];

  test('lie on the map where their coordinates are, and end at its border', () => {
    const { map, box } = drawn(flat, [line([-0.5, 7.5], [-0.5, 3.5])]); // up by one in two, out of the picture at (1, 0.25)
    const points = marks(map, box);
    for (const [u, v] of points) expect(Math.abs((1 - v) - (0.25 + (u - 0.25) / 2))).toBeLessThan(0.012);
    expect(extent(points, 0)[0]).toBeCloseTo(0.25, 1);
    expect(extent(points, 0)[1]).toBeGreaterThan(0.99);
    expect(marks(map, box).every(([u, v]) => u < 1 && v > 0)).toBe(true);
  });

  test.each([['#202080', 1], ['#ffff80', -1]] as const)('a halo around %s sets it off', (color, lighter) => {
    const { map, bare, box } = drawn(flat, [line([-0.9, 0.9], [0, 0], { color })]);
    const after = pixels(map);
    const x = Math.round((box.left + box.right) / 2);
    const light = ({ data, width }: { data: Uint8ClampedArray; width: number }, dy: number) => {
      const at = 4 * ((Math.round((box.top + box.bottom) / 2) + dy) * width + x);
      return data[at]! + data[at + 1]! + data[at + 2]!;
    };
    const change = (dy: number) => (light(after, dy) - light(bare, dy)) * lighter;
    expect(Math.max(change(1), change(2))).toBeGreaterThan(60);
    expect(Math.max(change(-1), change(-2), change(-3))).toBeGreaterThan(60);
    for (const dy of [-6, -5, 5, 6]) expect(Math.abs(change(dy))).toBe(0);
  });

  test('a dashed one has gaps, on the map and on the surface', () => {
    const [solid, dashed] = [false, true].map((dashed) => {
      const { map, surface } = drawn(flat, [line([-0.9, 0.9], [-0.95, -0.95], { dashed })], { camera: ABOVE });
      return [marks(map).length, marks(surface).length];
    });
    for (const k of [0, 1]) {
      expect(dashed![k]! / solid![k]!).toBeGreaterThan(0.5);
      expect(dashed![k]! / solid![k]!).toBeLessThan(0.75);
    }
  });

  test('lie under the markers', () => {
    const { map, view, box } = drawn(flat, [line([-0.9, 0.9], [0, 0])]);
    const middle = () => marks(map, box).filter(([u]) => Math.abs(u - 0.5) < 0.01).length;
    expect(middle()).toBeGreaterThan(0);
    view.set({ markers: [{ x: 0, y: 0, label: '' }] });
    expect(middle()).toBe(0);
  });

  test('are lifted onto the surface between their points too', () => {
    const { surface } = drawn((x) => x * x, [line([-1, 1], [-1, -1])], { camera: FRONT });
    const points = marks(surface);
    const [left, right] = extent(points, 0) as [number, number];
    const [top, bottom] = extent(points, 1) as [number, number];
    expect(bottom - top).toBeGreaterThan(80);
    for (const [px, py] of points) {
      const s = (2 * (px - left)) / (right - left) - 1;
      expect(Math.abs((bottom - py) / (bottom - top) - s * s)).toBeLessThan(0.09);
    }
  });

  test('are cut at the border of the surface', () => {
    const { surface } = drawn(flat, [line([-3, 3], [0, 0])], { camera: ABOVE });
    const { surface: inside } = drawn(flat, [line([-1, 1], [0, 0])], { camera: ABOVE });
    expect(extent(marks(surface), 0)).toEqual(extent(marks(inside), 0));
  });

  test('are faded where a hill hides them, and nowhere else', () => {
    const ridge: F = (x, y) => Math.exp(-((y / 0.2) ** 2)) * (x < 0 ? 1 : 0.001);
    const behind = drawn(ridge, [line([-0.9, 0.9], [0.8, 0.8])], { camera: { ...FRONT, pitch: 0.12 } });
    const points = marks(behind.surface);
    const { width } = pixels(behind.surface);
    expect(points.length).toBeGreaterThan(50);
    // The ridge stands on the left half only.
    expect(points.filter(([px]) => px < 0.47 * width)).toEqual([]);
    behind.view.set({ camera: ABOVE });
    expect(marks(behind.surface).filter(([px]) => px < 0.45 * width).length).toBeGreaterThan(50);
    behind.view.set({ camera: { ...FRONT, pitch: 0.12 }, paths: [] });
    const bare = pixels(behind.surface).data.slice();
    behind.view.set({ paths: [line([-0.9, -0.1], [0.8, 0.8])] as never });
    expect(pixels(behind.surface).data.some((value, k) => value !== bare[k])).toBe(true);
  });

  test('dashes run on over the gaps of a surface', () => {
    // Strips as wide as a dash or less: dashes that began anew on each would fill them all.
    const strips: F = (x) => (Math.round(100 * (x + 1)) % 6 ? flat(x, 0, 0) : NaN);
    const [solid, dashed] = [false, true].map((dashed) =>
      marks(drawn(strips, [line([-0.95, 0.95], [0, 0], { dashed })], { camera: ABOVE }, { nx: 201 }).surface).length);
    expect(solid).toBeGreaterThan(60);
    expect(dashed! / solid!).toBeLessThan(0.8);
  });

  test('have a gap where there is no surface, but not on the map', () => {
    const hole: F = (x, y, m) => (Math.abs(x) < 0.4 ? NaN : flat(x, y, m));
    const { map, surface, box } = drawn(hole, [line([-0.9, 0.9], [0, 0])], { camera: ABOVE });
    const [left, right] = extent(marks(surface), 0) as [number, number];
    const middle = marks(surface).filter(([px]) => Math.abs((px - left) / (right - left) - 0.5) < 0.19);
    expect(marks(surface).length).toBeGreaterThan(100);
    expect(middle).toEqual([]);
    expect(marks(map, box).filter(([u]) => Math.abs(u - 0.5) < 0.15).length).toBeGreaterThan(20);
  });

  test('in the picture are named below it and to who cannot see it', () => {
    const { view, root } = drawn(bowl, [
      line([0, 1], [0, 0], { label: 'straight', dashed: true }), line([0, 1], [0, 1]), line([5, 6], [0, 0], { label: 'elsewhere' }),
      line([-2, 2], [0, 0], { label: '<b>curve</b>' }),
    ]);
    const legend = root.querySelector<HTMLElement>('.lw-paths')!;
    expect([...legend.children].map((entry) => entry.textContent)).toEqual(['straight', '<b>curve</b>']);
    expect([...legend.querySelectorAll('path')].map((key) => key.getAttribute('stroke-dasharray'))).toEqual(['7 4', '7 4', null, null]);
    expect([...legend.querySelectorAll('path')].filter((key) => key.getAttribute('stroke') === MAGENTA).length).toBe(2);
    for (const kind of ['map', 'surface']) expect(canvas(root, kind).getAttribute('aria-label')).toMatch(/paths: straight, <b>curve<\/b>$/);
    expect(root.getAttribute('aria-describedby')!.split(' ').map((id) => document.getElementById(id))).toContain(legend);
    view.setFrame(frameOf(bowl, { x: [4, 7] }));
    expect(legend.textContent).toBe('elsewhere');
    view.set({ paths: [] });
    expect(legend.hidden).toBe(true);
    expect(canvas(root, 'map').getAttribute('aria-label')).not.toContain('path');
  });
});

describe('what more is known of paths', () => {
  const run = { x: [-0.5, 0, 0.5], y: [0, 0, 0], label: 'GD', color: '#ff00ff', time: [0, 10, 20], loss: [2, 1, 0.125], residual: [0, 0.01, 0.5] };

  test('is read at the point that a reader points at, and dashed where it is only a shadow', async () => {
    const { root, view } = mount((x) => 1 + 1e-4 * x, { nx: 21, ny: 21 });
    view.set({ paths: [run], contours: 0 });
    const overlay = canvas(root, 'map', 'overlay');
    const box = pictureBox(canvas(root, 'map'));
    pointer(overlay, 'pointermove', box.left + 0.75 * (box.right - box.left), (box.top + box.bottom) / 2);
    await frames(2);
    expect(root.querySelector('.lw-readout')!.textContent).toContain('GD: at time 20, loss 0.125, 0.5 off the plane');
    pointer(overlay, 'pointermove', box.left + 0.75 * (box.right - box.left), box.top + 10);
    await frames(2);
    expect(root.querySelector('.lw-readout')!.textContent).not.toContain('GD');
    pointer(overlay, 'pointerleave', 0, 0);
    expect(root.querySelector('.lw-caption')!.textContent).toContain('path “GD” is dashed where it is more than 0.1 off the plane');
    const strong = ([from, to]: [number, number]) => {
      const { data, width } = pixels(canvas(root, 'map'));
      return [...Array(data.length / 4).keys()].filter((k) => {
        const u = ((k % width) - box.left) / (box.right - box.left);
        return u > from && u < to && data[4 * k]! > 225 && data[4 * k + 1]! < 60 && data[4 * k + 2]! > 225;
      }).length;
    };
    expect(strong([0.52, 0.73]) / strong([0.27, 0.48])).toBeLessThan(0.8);
  });

  test('what leaves the picture, and what may be missing in it, is said below it and gone with it', () => {
    const { root, view } = mount();
    view.set({ paths: [{ ...run, x: [0, 2, 2], residual: undefined }], markers: [{ x: 0, y: 0, label: 'A' }, { x: 3, y: 0, label: 'B' }], missable: 'a valley narrower than 0.1 may be missing' });
    const caption = () => root.querySelector('.lw-caption')!.textContent;
    for (const words of ['path “GD” leaves the picture at (1, 0)', '1 of 2 markers lies outside the picture', 'a valley narrower than 0.1 may be missing']) expect(caption()).toContain(words);
    view.set({ paths: [], markers: [], missable: '' });
    for (const words of ['GD', 'markers', 'valley']) expect(caption()).not.toContain(words);
  });
});

describe('cells', () => {
  const names: [string[], string[]] = [['cat', 'dog', 'eel', 'fox'], ['low', 'high']];
  const value: F = (x, y) => (x === 2 && y === 1 ? NaN : x + 4 * y);
  const cells = (wanted: Wanted = {}, width = 900) => mount(value, { nx: 4, ny: 2, x: [0, 3], y: [0, 1], names, ...wanted }, { width });

  test('are one flat square a point, in the map alone, with a colour bar and no contours', () => {
    const { root } = cells();
    expect(root.querySelector('.lw-surface')).toBeNull();
    expect(root.querySelector<HTMLElement>('.lw-bar')!.hidden).toBe(false);
    const map = canvas(root, 'map');
    const { data, width } = pixels(map);
    const box = pictureBox(map);
    expect((box.right - box.left) / (box.bottom - box.top)).toBeCloseTo(2, 1); // 4 x 2 squares
    const at = (u: number, v: number) => [...data.subarray(4 * (Math.round(box.bottom - v * (box.bottom - box.top)) * width + Math.round(box.left + u * (box.right - box.left))))].slice(0, 3);
    const seen = new Set<string>();
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 2; j++) {
        if (i === 2 && j === 1) continue;
        const inside = [0.1, 0.5, 0.9].flatMap((a) => [0.15, 0.5, 0.85].map((b) => at((i + a) / 4, (j + b) / 2).join()));
        expect(new Set(inside).size).toBe(1);
        seen.add(inside[0]!);
      }
    }
    expect(seen.size).toBe(7);
    const [r, g, b] = at(2.5 / 4, 1.5 / 2);
    expect(Math.max(r!, g!, b!) - Math.min(r!, g!, b!)).toBeLessThan(20); // what has no value is hatched
    expect(root.querySelector('.lw-caption')!.textContent).toContain('from 0 at (cat, low) to 7 · all 8 cells measured');
  });

  test('are read and pinned by name, with the pointer and with keys', async () => {
    const points: unknown[] = [];
    const { root } = mount(value, { nx: 4, ny: 2, x: [0, 3], y: [0, 1], names }, { tell: ({ point }) => void points.push(point) });
    const overlay = canvas(root, 'map', 'overlay');
    const box = pictureBox(canvas(root, 'map'));
    const readout = () => root.querySelector('.lw-readout')!.textContent;
    pointer(overlay, 'pointermove', box.left + 0.3 * (box.right - box.left), box.bottom - 0.9 * (box.bottom - box.top));
    await frames(2);
    expect(readout()).toBe('alpha = dog, beta = highloss 5measured');
    press(overlay, 'ArrowRight');
    press(overlay, 'ArrowDown');
    await frames(2);
    expect(readout()).toMatch(/^alpha = eel, beta = low/);
    press(overlay, 'Enter');
    expect(points).toEqual([[2, 0]]);
  });

  test.each([[320, 12], [320, 40], [900, 60]])('at %i px, %i long names neither touch nor leave the figure', (width, n) => {
    const long = Array.from({ length: n }, (_, k) => `a class that is called ${k}`);
    const texts: { text: string; x: number; y: number; turned: boolean }[] = [];
    const draw = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
      const { a, b, e, f } = this.getTransform();
      const ratio = devicePixelRatio || 1;
      texts.push({ text, x: (a * x + e) / ratio, y: (b * x + f) / ratio + (b ? 0 : y), turned: b !== 0 });
      draw.call(this, text, x, y, ...rest);
    };
    try {
      const { root } = mount((x, y) => x + y, { nx: n, ny: n, x: [0, n], y: [0, n], names: [long, long] }, { width });
      const named = texts.filter(({ text }) => text.startsWith('a cl'));
      expect(named.length).toBeGreaterThan(8);
      for (const { text } of named) expect(text.endsWith('…')).toBe(true);
      const across = named.filter(({ turned }) => turned).map(({ x }) => x).sort((a, b) => a - b);
      across.forEach((x, k) => k && x !== across[k - 1] && expect(x - across[k - 1]!).toBeGreaterThan(11));
      const box = pictureBox(canvas(root, 'map'));
      expect(box.right - box.left).toBeGreaterThan(0.35 * Math.min(width, 480));
    } finally {
      CanvasRenderingContext2D.prototype.fillText = draw;
    }
  });

  test('make way for a surface, and a surface for them', () => {
    const { view, root } = mount();
    expect(root.querySelector('.lw-surface')).not.toBeNull();
    view.setFrame(frameOf(value, { nx: 4, ny: 2, names }));
    expect(root.querySelector('.lw-surface')).toBeNull();
    view.setFrame(frameOf(bowl));
    expect(pixels(canvas(root, 'surface')).colors).toBeGreaterThan(200);
  });
});

describe('words and faults', () => {
  test('everything a reader needs has a role and a name', () => {
    const { view, root } = mount();
    view.set({ description: 'Loss of a small network' });
    expect(root.getAttribute('role')).toBe('figure');
    expect(root.getAttribute('aria-label')).toBe('Loss of a small network');
    expect(document.getElementById(root.getAttribute('aria-describedby')!.split(' ')[0]!)!.textContent).toMatch(/^loss from 0 at \(0, 0\) to 3/);
    expect(root.querySelector('[aria-live=polite]')).toBe(root.querySelector('.lw-readout'));
    for (const c of root.querySelectorAll('canvas')) {
      expect(c.getAttribute('role')).toBeTruthy();
      expect(c.getAttribute('aria-label')).toBeTruthy();
    }
  });

  test('nothing finite, nothing but one value', () => {
    const { view, root } = mount();
    view.setFrame(frameOf(() => NaN));
    expect(root.querySelector('.lw-caption')!.textContent).toContain('no value can be drawn');
    view.setFrame(frameOf(() => 2.5));
    expect(root.querySelector('.lw-caption')!.textContent).toContain('loss is 2.5 everywhere');
    expect(root.dataset.min).toBe('2.5');
  });

  test('text that looks like HTML stays text', () => {
    const { view, root } = mount(bowl, { metrics: ['<img src=x onerror=boom()>'] });
    view.set({ description: '<b>x</b>', markers: [{ x: 0, y: 0, label: '<i>m</i>' }] });
    expect(root.querySelector('img, b:not(.lw-readout b), i')).toBeNull();
  });

  test('without WebGL2 the map is still there and the reader learns why the surface is not', () => {
    const original = HTMLCanvasElement.prototype.getContext;
    const page = globalThis as unknown as Record<symbol, unknown>;
    const key = Symbol.for('lwidgets.renderer.v1');
    const kept = page[key];
    delete page[key];
    HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, kind: string, ...rest: unknown[]) {
      return kind === 'webgl2' ? null : (original as (...a: unknown[]) => unknown).call(this, kind, ...rest);
    } as typeof original;
    try {
      const { root } = mount();
      expect(root.querySelector('.lw-notice')!.textContent).toMatch(/^This picture needs WebGL2 .* reload the page/);
      expect(root.querySelector('.lw-surface')).toBeNull();
      expect(pixels(canvas(root, 'map')).colors).toBeGreaterThan(200);
    } finally {
      HTMLCanvasElement.prototype.getContext = original;
      page[key] = kept;
    }
  });

  test('panes wrap when there is little room, and nothing is wider than the figure', async () => {
    const { host, root } = mount(bowl, {}, { width: 320 });
    await frames(2);
    const [map, surface] = ['map', 'surface'].map((kind) => root.querySelector(`.lw-${kind}`)!.getBoundingClientRect());
    expect(surface!.top).toBeGreaterThanOrEqual(map!.bottom);
    for (const node of root.querySelectorAll('*')) {
      if (node.closest('.lw-hint') || node.tagName === 'STYLE') continue;
      expect(node.getBoundingClientRect().right).toBeLessThanOrEqual(host.getBoundingClientRect().right + 0.5);
    }
    host.style.width = '900px';
    await frames(3);
    expect(root.querySelector('.lw-surface')!.getBoundingClientRect().top).toBeLessThan(map!.bottom);
  });

  test('a theme that changes is followed', async () => {
    const { root } = mount();
    const light = canvas(root, 'map').toDataURL();
    const style = document.body.style;
    style.setProperty('--jp-layout-color0', '#111');
    style.setProperty('--jp-content-font-color1', 'rgba(255, 255, 255, 1)');
    await expect.poll(() => canvas(root, 'map').toDataURL() !== light).toBe(true);
    expect(getComputedStyle(root).color).toBe('rgb(255, 255, 255)');
    style.removeProperty('--jp-layout-color0');
    style.removeProperty('--jp-content-font-color1');
  });
});
