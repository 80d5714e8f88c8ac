// Curves with axes, a legend, a cursor that reads values, and a caption: what bqplot draws in a notebook, as SVG.
//
// Colours of the surroundings come from CSS variables, so a theme that changes needs no new drawing, and paper gets vectors.

import { bandPath, dotsPath, equalBox, linePath, pixelOf, pointsAlong, roomiestCorner, valueAlong } from './geometry';
import { el, setText, svg, uniqueId } from '../../core/dom';
import { cut, font, type Ink, LABEL_FONT, type Ticks, TICK_FONT, ticksOf, ticksThatFit } from '../../core/ink';
import type { Curve, Drawing } from '../curves';
import { makeRoot } from '../../core/root';
import { formatNumber } from '../../core/ticks';

const KEYS = 'Curves. Left and right arrow keys read values, with Shift by five points; Home and End go to the ends, Escape leaves.';
const TOP = 12;
const RIGHT = 16;
const BOTTOM = 44;
const TALL = 320;
const EQUAL_TALL = 360;
const ROW = 18; // of the legend

const STYLE = /* css */ `
.lw-plot { position: relative; }
.lw-plot .lw-overlay { position: absolute; inset: 0; }
.lw-curves { display: block; width: 100%; font: 11px var(--lw-font); }
.lw-curves text { fill: var(--lw-text); font-variant-numeric: tabular-nums; }
.lw-curves .lw-label { font-size: 12px; font-weight: 500; }
.lw-legend text { paint-order: stroke; stroke: var(--lw-background); stroke-width: 3px; stroke-linejoin: round; }
.lw-grid { stroke: rgba(128,128,128,0.2); shape-rendering: crispEdges; }
.lw-axis { stroke: var(--lw-line); shape-rendering: crispEdges; }
.lw-stroke { fill: none; stroke-linecap: round; stroke-linejoin: round; }
.lw-dashed { stroke-dasharray: 6 5; stroke-linecap: butt; }
.lw-cursor line { stroke: var(--lw-muted); }
.lw-cursor circle { stroke: var(--lw-background); stroke-width: 1.5; }
`;

interface Layout {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  /** Of the area inside the axes. */
  readonly inner: { readonly width: number; readonly height: number };
  readonly x: (value: number) => number;
  readonly y: (value: number) => number;
  /** As drawn: those of the picture, or wider ones. */
  readonly xRange: readonly [number, number];
  readonly yRange: readonly [number, number];
}

type Cursor = number | { readonly curve: number; readonly point: number };

export class LinePlotView {
  private readonly home;
  private readonly id = uniqueId('lw');
  private readonly drawing = svg('svg', { class: 'lw-curves', role: 'img', 'aria-describedby': this.id });
  private readonly cursor = svg('g', { class: 'lw-cursor' });
  private readonly overlay = el('div', {
    class: 'lw-overlay', tabindex: '0', role: 'application', 'aria-label': KEYS, 'data-lm-suppress-shortcuts': 'true',
  });
  private readonly readout = el('div', { class: 'lw-readout', role: 'status', 'aria-live': 'polite' });
  private readonly caption = el('div', { class: 'lw-caption', id: this.id });
  private readonly plot = el('div', { class: 'lw-plot' }, this.drawing, this.overlay);
  private readonly ink: Ink = el('canvas').getContext('2d')!;
  private readonly resizing: ResizeObserver;
  private readonly life = new AbortController();
  private picture: Drawing | null = null;
  private layout: Layout | null = null;
  /** Where the cursor is: in the unit of x, or at which point of which curve where curves turn back in x. */
  private at: Cursor | null = null;

  constructor(parent: HTMLElement) {
    this.home = makeRoot(parent, 'lw-line-plot', () => this.draw(), STYLE);
    this.root.setAttribute('role', 'figure');
    this.root.append(this.plot, el('div', { class: 'lw-text' }, this.readout, this.caption));
    this.listen();
    // In the next frame: changing sizes inside the observer makes the browser complain about a loop.
    this.resizing = new ResizeObserver(() => requestAnimationFrame(() => {
      if (!this.life.signal.aborted && Math.floor(this.plot.clientWidth) !== this.layout?.width) this.draw();
    }));
    this.resizing.observe(this.plot);
  }

  get root(): HTMLElement {
    return this.home.root;
  }

  show(picture: Drawing): void {
    this.picture = picture;
    const name = picture.caption || [picture.yLabel, picture.xLabel].filter(Boolean).join(' over ') || 'Curves';
    this.drawing.setAttribute('aria-label', name);
    this.root.setAttribute('aria-label', name);
    setText(this.caption, picture.caption);
    this.draw();
  }

  dispose(): void {
    this.life.abort();
    this.resizing.disconnect();
    this.home.dispose();
  }

  // ---------------------------------------------------------------- drawing

  private draw(): void {
    const { picture } = this;
    const width = Math.floor(this.plot.clientWidth);
    if (!picture || width < 1) return;
    this.ink.font = font(this.home.theme(), TICK_FONT);
    const { xLog, yLog } = picture;
    let { xRange, yRange } = picture;
    let height = Math.round(Math.max(200, Math.min(TALL, 0.72 * width)));
    let yTicks = ticksOf(...yRange, height / 48, yLog);
    let left = Math.max(48, 36 + Math.ceil(Math.max(...yTicks.texts.map((label) => this.ink.measureText(label).width), 0)));
    let inner = { width: Math.max(20, width - left - RIGHT), height: height - TOP - BOTTOM };
    if (picture.equal) {
      const box = equalBox(xRange, yRange, inner.width, EQUAL_TALL);
      ({ xRange, yRange } = box);
      left += Math.round((inner.width - box.width) / 2);
      inner = { width: Math.round(box.width), height: Math.round(box.height) };
      height = inner.height + TOP + BOTTOM;
      yTicks = ticksOf(...yRange, height / 60);
    }
    const layout = (this.layout = {
      width, height, left, inner, xRange, yRange,
      x: pixelOf(...xRange, 0, inner.width, xLog),
      y: pixelOf(...yRange, inner.height, 0, yLog),
    });
    const xTicks = ticksThatFit(this.ink, ...xRange, Math.min(inner.width, 430), xLog);
    this.drawing.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.drawing.style.height = `${height}px`; // with `auto`, Chromium loses what would come on a second page of paper
    this.drawing.replaceChildren(
      this.axes(picture, layout, xTicks, yTicks),
      // A nested viewport clips what lies outside the ranges.
      svg('svg', { x: left, y: TOP, width: inner.width, height: inner.height }, ...picture.curves.flatMap((curve) => strokesOf(curve, layout))),
      this.legend(picture, layout),
      this.cursor,
    );
    this.point(this.at);
    Object.assign(this.root.dataset, { curves: String(picture.curves.length), xLog: String(xLog), yLog: String(yLog) });
    const hook = (globalThis as { __lwidgetsPainted?: (what: object) => void }).__lwidgetsPainted;
    hook?.({ kind: 'curves', curves: picture.curves.length, caption: picture.caption });
  }

  private axes(picture: Drawing, { left, inner, x, y }: Layout, xTicks: Ticks, yTicks: Ticks): SVGGElement {
    const axes = svg('g', { class: 'lw-axes' });
    const { width: w, height: h } = inner;
    const line = (kind: string, x1: number, y1: number, x2: number, y2: number) => svg('line', { class: kind, x1, y1, x2, y2 });
    xTicks.values.forEach((value, k) => {
      const p = left + x(value);
      axes.append(line('lw-grid', p, TOP, p, TOP + h), svg('text', { x: p, y: TOP + h + 16, 'text-anchor': 'middle' }, xTicks.texts[k]!));
    });
    yTicks.values.forEach((value, k) => {
      const p = TOP + y(value);
      axes.append(line('lw-grid', left, p, left + w, p), svg('text', { x: left - 8, y: p + 4, 'text-anchor': 'end' }, yTicks.texts[k]!));
    });
    axes.append(line('lw-axis', left, TOP + h, left + w, TOP + h), line('lw-axis', left, TOP, left, TOP + h));
    const named = (label: string, log: boolean) => (log ? `${label} (log scale)`.trim() : label);
    const middle = TOP + h / 2;
    axes.append(
      this.label(named(picture.xLabel, picture.xLog), w + 2 * RIGHT - 8, { x: left + w / 2, y: TOP + h + 36, 'text-anchor': 'middle' }),
      this.label(named(picture.yLabel, picture.yLog), h + TOP + 20, { transform: `translate(14 ${middle}) rotate(-90)`, 'text-anchor': 'middle' }),
    );
    return axes;
  }

  /** Where it hides least of the curves. */
  private legend({ curves }: Drawing, { left, inner, x: placeX, y: placeY }: Layout): SVGGElement {
    const legend = svg('g', { class: 'lw-legend' });
    const labelled = curves.filter(({ label }) => label);
    const room = Math.max(1, Math.floor((inner.height - 8) / ROW));
    const shown = labelled.length > room ? labelled.slice(0, room - 1) : labelled;
    this.ink.font = font(this.home.theme(), LABEL_FONT, 500);
    const size = [
      Math.min(0.7 * inner.width, Math.max(0, ...shown.map(({ label }) => this.ink.measureText(label).width))) + 40,
      Math.min(labelled.length, room) * ROW + 8,
    ] as const;
    const lines = curves.filter(({ style }) => style === 'solid' || style === 'dashed');
    const points = lines.flatMap((curve) => pointsAlong(Array.from(curve.x, placeX), Array.from(curve.y, placeY)));
    const corner = roomiestCorner(points, [inner.width, inner.height], size);
    const [edge, inwards, anchor] = corner.right ? [left + inner.width, -1, 'end'] : [left, 1, 'start'];
    const start = corner.top ? TOP : TOP + inner.height - size[1];
    const words = (k: number) => ({ x: edge + 34 * inwards, y: start + 16 + k * ROW, 'text-anchor': anchor });
    shown.forEach((curve, k) => {
      const [near, far] = [edge + 6 * inwards, edge + 28 * inwards];
      legend.append(keyOf(curve, Math.min(near, far), Math.max(near, far), start + 12 + k * ROW), this.label(curve.label, 0.7 * inner.width, words(k)));
    });
    if (shown.length < labelled.length) legend.append(svg('text', words(shown.length), `and ${labelled.length - shown.length} more`));
    return legend;
  }

  /** Text cut to `room` pixels; all of it in a tooltip. */
  private label(text: string, room: number, at: Record<string, string | number>): SVGTextElement {
    const { ink } = this;
    ink.font = font(this.home.theme(), LABEL_FONT, 500);
    const short = cut(ink, text, room);
    const node = svg('text', { class: 'lw-label', ...at }, short);
    if (short !== text) node.append(svg('title', {}, text));
    return node;
  }

  // ---------------------------------------------------------------- reading values

  private listen(): void {
    const { overlay, life: { signal } } = this;
    overlay.addEventListener('pointermove', (event) => {
      const { picture, layout } = this;
      if (!picture || !layout) return;
      const box = overlay.getBoundingClientRect();
      // On paper or under a transform the drawing is not as wide as it was laid out.
      const share = (((event.clientX - box.left) * layout.width) / box.width - layout.left) / layout.inner.width;
      if (this.turns()) this.point(this.nearest(event.clientX - box.left, event.clientY - box.top, layout, box.width));
      else this.point(valueAlong(...layout.xRange, Math.max(0, Math.min(1, share)), picture.xLog));
    }, { signal });
    overlay.addEventListener('pointerleave', () => this.point(null), { signal });
    overlay.addEventListener('blur', () => this.point(null), { signal });
    overlay.addEventListener('keydown', (event) => {
      if (event.altKey || event.metaKey || event.ctrlKey || !this.key(event.key, event.shiftKey ? 5 : 1)) return;
      event.preventDefault();
      event.stopPropagation();
    }, { signal });
  }

  private key(key: string, by: number): boolean {
    const guide = this.readable()[0];
    if (!guide?.x.length) return false;
    const last = guide.x.length - 1;
    const turns = this.turns();
    const here = this.at === null ? null : typeof this.at === 'number' ? closest(guide.x, this.at) : this.at.point;
    const to: Record<string, number> = {
      ArrowLeft: here === null ? last : here - by, ArrowRight: here === null ? 0 : here + by, Home: 0, End: last,
    };
    if (key === 'Escape') this.point(null);
    else if (Object.hasOwn(to, key)) {
      const point = Math.max(0, Math.min(last, to[key]!));
      this.point(turns ? { curve: 0, point } : guide.x[point]!);
    } else return false;
    return true;
  }

  /** Whether a curve goes back in x, as orbits do: then a value of x is no place on it. */
  private turns(): boolean {
    return this.readable().some(({ x }) => turnsBack(x));
  }

  /** The point of a curve nearest to a place in the figure. */
  private nearest(px: number, py: number, { left, width, x, y }: Layout, shown: number): Cursor | null {
    const scale = width / shown;
    let found: Cursor | null = null;
    let gap = Infinity;
    this.readable().forEach((curve, c) => curve.x.forEach((value, point) => {
      const far = Math.hypot(left + x(value) - px * scale, TOP + y(curve.y[point]!) - py * scale);
      if (far >= gap) return;
      gap = far;
      found = { curve: c, point };
    }));
    return found;
  }

  /** The curves whose values are read: those with a name, else the first line. */
  private readable(): readonly Curve[] {
    const lines = this.picture?.curves.filter(({ style, x }) => style !== 'band' && x.length) ?? [];
    const named = lines.filter(({ label }) => label);
    return named.length ? named : lines.slice(0, 1);
  }

  private point(at: Cursor | null): void {
    const { picture, layout } = this;
    const curves = this.readable();
    const on = typeof at === 'object' && at ? curves[at.curve] : undefined;
    this.at = at !== null && curves.length && (typeof at === 'number' || on) ? at : null;
    if (this.at === null || !picture || !layout) {
      this.cursor.replaceChildren();
      const hint = curves.length ? 'Point at the curves to read values.' : '';
      if (this.readout.textContent !== hint) this.readout.replaceChildren(el('span', { class: 'lw-dim', text: hint }));
      return;
    }
    const k = typeof this.at === 'number' ? closest(curves[0]!.x, this.at) : Math.min(this.at.point, on!.x.length - 1);
    const x = (on ?? curves[0]!).x[k]!;
    const px = layout.left + layout.x(x);
    const parts = on ? [{ curve: on, value: on.y[k]! }] : curves.map((curve) => ({ curve, value: curve.y[closest(curve.x, x)]! }));
    const rings = parts.filter(({ value }) => !Number.isNaN(layout.y(value)) && !Number.isNaN(px));
    this.cursor.replaceChildren(
      ...(on || Number.isNaN(px) ? [] : [svg('line', { x1: px, x2: px, y1: TOP, y2: TOP + layout.inner.height })]),
      ...rings.map(({ curve, value }) => svg('circle', { cx: px, cy: TOP + layout.y(value), r: 4, fill: curve.color })),
    );
    const words = [
      el('span', { text: `${picture.xLabel || 'x'} = ${formatNumber(x)}` }),
      ...parts.map(({ curve, value }) => el('span', {}, `${curve.label || picture.yLabel} `, el('b', { text: formatNumber(value, 5) }))),
    ];
    if (this.readout.textContent !== words.map((word) => word.textContent).join('')) this.readout.replaceChildren(...words);
  }
}

function strokesOf(curve: Curve, { x, y }: Layout): SVGPathElement[] {
  const px = Array.from(curve.x, x);
  const py = Array.from(curve.y, y);
  const { color, style, width, opacity } = curve;
  if (style === 'band') {
    const [lower, upper] = [py.slice(0, px.length), py.slice(px.length)];
    const edge = { class: 'lw-stroke', stroke: color, 'stroke-width': 0.5 };
    return [
      svg('path', { d: bandPath(px, lower, upper), fill: color, opacity }),
      svg('path', { ...edge, d: linePath(px, lower) }),
      svg('path', { ...edge, d: linePath(px, upper) }),
    ];
  }
  return [svg('path', { d: style === 'points' ? dotsPath(px, py) : linePath(px, py), ...inkOf(curve, width) })];
}

/** How a line or its dots are stroked: dots are the round caps of strokes without length. */
function inkOf({ color, style, opacity }: Curve, width: number): Record<string, string | number> {
  const common = { class: style === 'dashed' ? 'lw-stroke lw-dashed' : 'lw-stroke', stroke: color, opacity };
  // The area of a dot is eight times the width, as in the notebook.
  return { ...common, 'stroke-width': style === 'points' ? 2 * Math.sqrt(Math.max(8, 8 * width) / Math.PI) : width };
}

function keyOf(curve: Curve, from: number, to: number, y: number): SVGElement {
  if (curve.style === 'band') return svg('rect', { x: from, y: y - 5, width: to - from, height: 10, fill: curve.color, opacity: Math.min(1, 2 * curve.opacity) });
  if (curve.style === 'points') return svg('path', { d: `M${(from + to) / 2} ${y}h0`, ...inkOf(curve, Math.min(curve.width, 10)) });
  return svg('path', { d: `M${from} ${y}H${to}`, ...inkOf(curve, Math.min(curve.width, 6)) });
}

function turnsBack(x: Float32Array): boolean {
  let [up, down] = [false, false];
  for (let k = 1; k < x.length; k++) {
    up ||= x[k]! > x[k - 1]!;
    down ||= x[k]! < x[k - 1]!;
  }
  return up && down;
}

/** Index of the coordinate nearest to a value; the coordinates need no order. */
function closest(coordinates: Float32Array, value: number): number {
  let best = 0;
  let gap = Infinity;
  coordinates.forEach((x, k) => {
    if (Math.abs(x - value) >= gap) return;
    gap = Math.abs(x - value);
    best = k;
  });
  return best;
}
