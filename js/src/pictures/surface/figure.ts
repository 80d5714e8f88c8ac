// The figure: map and surface side by side, one colour bar, linked pointers, a readout line and a caption.

import { DEFAULT_ORBIT, type Orbit } from './camera';
import { ColorBar } from './colorbar';
import { el, same, setText, uniqueId } from '../../core/dom';
import { makeField } from './field';
import { type Frame, nearest } from './frame';
import { MapPane } from './map_pane';
import { makePalette } from './palette';
import { keyOfPath, partsInside, type Path, pathPointAt, pieces } from './paths';
import { type GridPoint, type Marker, Pane, pointOf, type Shared } from './pane';
import { Renderer } from './renderer';
import { makeRoot } from '../../core/root';
import { maskedText, outsideText, pathPointText, pathsText, pointText, summary } from './summary';
import { SurfacePane } from './surface_pane';
import { contourLevels, formatNumber, formatTicks, linearTicks, logTicks } from '../../core/ticks';

export interface FigureOptions {
  readonly panes: readonly string[];
  readonly camera: Partial<Orbit>;
  readonly showPoints: boolean;
  readonly contours: number;
  readonly markers: readonly Marker[];
  readonly paths: readonly Path[];
  readonly description: string;
  /** What may have been missed between the measured points, in words; empty where nothing is known. */
  readonly missable: string;
}

/** What a person holds: the orbit at the end of a gesture; the pinned point, or [] where there is none. */
export interface FigureHeld {
  readonly camera?: Partial<Orbit>;
  readonly point?: readonly number[];
}

const STYLE = /* css */ `
.lw-panes { display: flex; flex-wrap: wrap; gap: var(--lw-gap); align-items: flex-start; }
.lw-pane { position: relative; min-width: 0; }
.lw-pane canvas { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.lw-base { pointer-events: none; }
.lw-bar { display: block; flex: none; object-fit: contain; object-position: 0 0; }
.lw-surface .lw-overlay { cursor: grab; }
.lw-surface .lw-overlay:active { cursor: grabbing; }
.lw-root .lw-reset { position: absolute; top: 4px; right: 4px; padding: 1px 8px; border: 1px solid var(--lw-line); border-radius: 10px;
  background: var(--lw-background); color: var(--lw-text); font: 11px/1.5 var(--lw-font); cursor: pointer; }
.lw-hint { position: absolute; left: 50%; top: 42%; transform: translate(-50%, -50%); padding: 5px 12px; border-radius: 14px;
  background: rgba(20,24,28,0.82); color: #fff; font-size: 12px; text-align: center; pointer-events: none; opacity: 0; transition: opacity 160ms; }
.lw-hint.lw-on { opacity: 1; }
.lw-paths { display: flex; flex-wrap: wrap; gap: 0 16px; padding: 4px 0 2px; overflow-wrap: anywhere; }
.lw-paths > span { min-width: 0; }
.lw-path-key { margin-right: 6px; vertical-align: -1px; }
.lw-key { display: inline-block; width: 12px; height: 12px; margin-right: 5px; vertical-align: -2px; border: 1px solid var(--lw-line); border-radius: 2px; }
.lw-key-masked { background: repeating-linear-gradient(135deg, var(--lw-stripe) 0 1.5px, var(--lw-ground) 1.5px 5px); }
.lw-key-point { width: 8px; height: 8px; margin-left: 2px; vertical-align: 0; border: 2px solid #333; border-radius: 50%; background: #fff; }
.lw-refining { color: var(--lw-accent); }
@media (prefers-reduced-motion: reduce) { .lw-hint { transition: none; } }
@media print {
  .lw-panes:not(.lw-narrow) { flex-wrap: nowrap; }
  .lw-panes:not(.lw-narrow) .lw-pane { flex: 0 1 auto; height: auto !important; }
  .lw-hint, .lw-reset { display: none !important; }
}
`;

const NARROW = 560;
const BAR_LONG = 52;

export class SurfaceFigure {
  private readonly home;
  private readonly id = uniqueId('lw');
  private readonly notice = el('div', { class: 'lw-notice', role: 'alert', hidden: '' });
  private readonly panesEl = el('div', { class: 'lw-panes' });
  private readonly readout = el('div', { class: 'lw-readout', role: 'status', 'aria-live': 'polite' });
  private readonly caption = el('div', { class: 'lw-caption', id: this.id });
  private readonly legend = el('div', { class: 'lw-paths', id: `${this.id}-paths`, hidden: '' });
  private readonly shared: Shared;
  private readonly bar: ColorBar;
  private panes: Pane[] = [];
  private options: FigureOptions = {
    panes: ['map', 'surface'], camera: DEFAULT_ORBIT, showPoints: false, contours: 12, markers: [], paths: [], description: '', missable: '',
  };
  /** The camera in hand, which outlives a new picture. */
  private camera: Partial<Orbit> = DEFAULT_ORBIT;
  private readonly dirty = new Set<Pane>();
  private barDirty = false;
  private overlayDirty = false;
  private captionDirty = false;
  private raf = 0;
  private width = 0;
  private resizing: ResizeObserver;
  private unlisten: () => void = () => undefined;
  private ratioWatch = new AbortController();
  private disposed = false;

  constructor(parent: HTMLElement, private readonly tell: (held: FigureHeld) => void = () => undefined) {
    const home = (this.home = makeRoot(parent, 'lw-height-field', (theme) => {
      this.shared.theme = theme;
      this.touchAll();
      this.flush(); // paper does not wait for the next frame
    }, STYLE));
    const renderer = Renderer.shared();
    this.shared = {
      renderer, picture: renderer?.picture() ?? null, theme: home.theme(), field: null, palette: null,
      ticks: [], tickTexts: [], levels: { values: [], major: [] }, hover: null, pinned: null, markers: [], paths: [], strokes: [], showPoints: false,
    };
    this.bar = new ColorBar(this.shared);
    home.root.setAttribute('role', 'figure');
    home.root.setAttribute('aria-describedby', `${this.caption.id} ${this.legend.id}`);
    home.root.append(this.notice, this.panesEl, el('div', { class: 'lw-text' }, this.legend, this.readout, this.caption));
    if (renderer) this.unlisten = renderer.onRestored(() => this.touchAll());
    // In the next frame: changing sizes inside the observer makes the browser complain about a loop.
    this.resizing = new ResizeObserver(() => requestAnimationFrame(() => {
      this.layout();
      this.flush();
    }));
    this.resizing.observe(home.root);
    this.watchRatio();
    this.build();
  }

  get root(): HTMLElement {
    return this.home.root;
  }

  /** Show a frame, looked at as the options say; the person keeps in hand what a new picture does not say otherwise. */
  show(frame: Frame, options: Partial<FigureOptions> = {}): void {
    const before = this.shared.field?.frame;
    const cells = before && !before.names !== !frame.names;
    const field = makeField(frame);
    this.shared.field = field;
    if (this.shared.picture) this.shared.picture.field = field;
    // A grid point means the same place only while the grid is the same.
    const { hover } = this.shared;
    if (hover && before && (before.nx !== frame.nx || before.ny !== frame.ny)) {
      this.shared.hover = { i: nearest(frame.x, before.x[hover.i]!), j: nearest(frame.y, before.y[hover.j]!) };
    }
    this.change(options, cells || (!before && frame.names !== null));
    this.scale();
    this.layout(true);
    this.flush();
  }

  /** Put what a person holds, from outside. */
  hold({ camera, point }: FigureHeld): void {
    if (camera && Object.keys(camera).length) this.turn((this.camera = camera));
    if (point) {
      const [x, y] = point;
      this.shared.pinned = x !== undefined && y !== undefined ? [x, y] : null;
      this.touchOverlay();
    }
  }

  /** Take over what differs from the options so far. */
  private change(options: Partial<FigureOptions>, rebuild: boolean): void {
    const changed = Object.entries(options).filter(([name, value]) => !same(value, this.options[name as keyof FigureOptions])).map(([name]) => name);
    this.options = { ...this.options, ...options };
    const { camera, showPoints, markers, paths, description } = this.options;
    Object.assign(this.shared, { showPoints, markers, paths });
    if (changed.includes('paths')) this.shared.strokes = paths.flatMap(pieces);
    if (changed.includes('camera')) this.camera = camera;
    if (rebuild || changed.includes('panes')) this.build();
    else if (changed.includes('camera')) this.turn(camera);
    if (changed.includes('description')) this.root.setAttribute('aria-label', description || 'Loss landscape');
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    cancelAnimationFrame(this.raf);
    this.resizing.disconnect();
    this.ratioWatch.abort();
    this.unlisten();
    for (const pane of this.panes) pane.dispose();
    this.shared.picture?.dispose();
    this.home.dispose();
  }

  /** Draw now what is due; otherwise the next animation frame does. */
  flush(): void {
    cancelAnimationFrame(this.raf);
    this.raf = 0;
    if (this.disposed) return;
    const { field } = this.shared;
    let drawn = this.dirty.size > 0;
    for (const pane of this.dirty) drawn = pane.draw() && drawn;
    this.dirty.clear();
    if (this.captionDirty) this.writeCaption();
    if (this.barDirty) this.drawBar();
    if (this.overlayDirty || drawn) {
      for (const pane of this.panes) pane.drawOverlay();
      this.writeReadout();
    }
    this.overlayDirty = false;
    if (!drawn || !field) return;
    const { frame } = field;
    Object.assign(this.root.dataset, {
      tag: String(frame.tag), metric: frame.metric, shape: `${frame.nx}x${frame.ny}`, final: String(frame.final),
      min: String(field.min), max: String(field.max), log: String(field.log), colormap: frame.colormap,
    });
    const hook = (globalThis as { __lwidgetsPainted?: (what: object) => void }).__lwidgetsPainted;
    hook?.({ kind: 'surface', shape: [frame.nx, frame.ny], tag: frame.tag, metric: frame.metric, final: frame.final });
  }

  // ---------------------------------------------------------------- parts

  private build(): void {
    for (const pane of this.panes) pane.dispose();
    this.dirty.clear();
    const hasGl = this.shared.renderer !== null;
    const flat = !hasGl || this.shared.field?.frame.names;
    const kinds = ['map', 'surface'].filter((kind) => (flat ? kind === 'map' : this.options.panes.includes(kind)));
    this.panes = kinds.map((kind) => {
      const events = {
        hover: (point: GridPoint | null) => this.hover(point),
        pin: (point: GridPoint | null) => this.pin(point),
        moved: () => {
          this.touch(pane);
          this.touchOverlay();
        },
        settled: () => {
          if (!(pane instanceof SurfacePane)) return;
          this.camera = pane.camera;
          this.tell({ camera: pane.camera });
        },
      };
      const pane: Pane = kind === 'map' ? new MapPane(this.shared, events) : new SurfacePane(this.shared, events, () => this.refine(pane));
      return pane;
    });
    this.panesEl.replaceChildren(...this.panes.map((pane) => pane.el), this.bar.el);
    this.turn(this.camera);
    this.writeNotice();
    this.layout(true);
  }

  /** Colour scale, ticks and contour levels, which belong together. */
  private scale(): void {
    const { shared, options } = this;
    const { field } = shared;
    if (field && field.argmin >= 0) {
      const { min, max, log } = field;
      shared.ticks = log ? logTicks(min, max, 6) : linearTicks(min, max, 6);
      // Evenly spaced ticks share their decimals even on a log scale; powers of ten are written one by one.
      shared.tickTexts = formatTicks(shared.ticks, log && max / min > 10);
      if (!shared.ticks.length) {
        shared.ticks = [min];
        shared.tickTexts = [formatNumber(min)];
      }
      shared.levels = contourLevels(min, max, log, shared.ticks, field.frame.names ? 0 : options.contours);
      shared.palette = makePalette(field.frame.colormap, shared.levels, min, max, log);
    } else {
      shared.ticks = [];
      shared.tickTexts = [];
      shared.levels = { values: [], major: [] };
      shared.palette = field && makePalette(field.frame.colormap, shared.levels, 0, 1, false);
    }
    if (shared.picture) shared.picture.palette = shared.palette;
    this.touchAll();
  }

  private layout(force = false): void {
    if (this.disposed) return;
    const width = Math.floor(this.panesEl.clientWidth);
    const ratio = Math.min(globalThis.devicePixelRatio || 1, 3);
    if (!width || (!force && width === this.width)) return;
    this.width = width;
    const has = this.shared.field !== null;
    this.bar.el.hidden = !has || this.shared.field!.argmin < 0;
    for (const pane of this.panes) pane.el.hidden = !has;
    const narrow = width < NARROW;
    this.panesEl.classList.toggle('lw-narrow', narrow);
    const gap = 12;
    const barWidth = this.barWidth();
    const beside = narrow ? 1 : this.panes.length;
    const room = narrow ? width : width - barWidth - gap * beside;
    const each = Math.min(Math.floor(room / beside), narrow ? width : 640);
    const height = Math.round(Math.max(230, Math.min(480, each * (narrow ? 0.86 : 0.82))));
    // The map is as wide as its picture; the surface can use what is left.
    const map = beside === 2 ? Math.min(each, Math.ceil(MapPane.widthFor(this.shared.field, height))) : each;
    for (const pane of this.panes) {
      const w = pane.kind === 'map' ? map : beside === 2 ? Math.min(room - map, Math.round(height * 1.7)) : each;
      pane.el.style.width = `${w}px`;
      pane.el.style.height = `${height}px`;
      pane.el.style.aspectRatio = `${w} / ${height}`; // on paper, where the width may be another one
      pane.resize(w, height, ratio);
    }
    if (narrow) this.bar.resize(width, BAR_LONG + 8, ratio);
    else this.bar.resize(barWidth, height, ratio);
    this.touchAll();
  }

  private barWidth(): number {
    const longest = Math.max(3, ...this.shared.tickTexts.map((text) => text.length));
    return 14 + 14 + 7 * longest + 22;
  }

  private drawBar(): void {
    this.barDirty = false;
    const narrow = this.width < NARROW;
    if (narrow) {
      this.bar.draw(false, 16, Math.max(60, this.width - 20));
    } else {
      const tall = this.panes[0]?.el.clientHeight ?? 0;
      this.bar.draw(true, 14, Math.max(60, tall - 46));
    }
  }

  private turn(camera: Partial<Orbit>): void {
    for (const pane of this.panes) {
      if (!(pane instanceof SurfacePane)) continue;
      const wanted = { ...DEFAULT_ORBIT, ...camera };
      const { yaw, pitch, zoom } = pane.camera;
      if (yaw === wanted.yaw && pitch === wanted.pitch && zoom === wanted.zoom) continue;
      if (![wanted.yaw, wanted.pitch, wanted.zoom].every(Number.isFinite)) continue;
      pane.camera = wanted;
      this.touch(pane);
    }
  }

  // ---------------------------------------------------------------- pointing

  private hover(point: GridPoint | null): void {
    const before = this.shared.hover;
    if (before?.i === point?.i && before?.j === point?.j) return;
    this.shared.hover = point;
    this.touchOverlay();
  }

  private pin(point: GridPoint | null): void {
    const { field } = this.shared;
    if (!field) return;
    const at = point && pointOf(field, point);
    this.shared.pinned = at;
    this.touchOverlay();
    this.tell({ point: at ?? [] });
  }

  private writeReadout(): void {
    const { field, hover, pinned } = this.shared;
    const frame = field?.frame;
    let point = hover;
    let lead = '';
    if (!point && pinned && frame) {
      point = { i: nearest(frame.x, pinned[0]), j: nearest(frame.y, pinned[1]) };
      const [x, y] = pointOf(field, point);
      const close = (a: number, b: number) => Math.abs(a - b) <= 1e-5 * Math.max(1, Math.abs(a), Math.abs(b));
      lead = close(x, pinned[0]) && close(y, pinned[1])
        ? 'pinned'
        : `pinned (${formatNumber(pinned[0])}, ${formatNumber(pinned[1])}), nearest grid point`;
    }
    if (!point || !frame) {
      const hint = frame ? 'Point at the picture to read values; click to pin a point.' : '';
      if (this.readout.textContent !== hint) this.readout.replaceChildren(el('span', { class: 'lw-dim', text: hint }));
      return;
    }
    const { where, metrics, how } = pointText(frame, point.i, point.j);
    const parts = [
      el('span', { text: lead ? `${lead}: ${where}` : where }),
      ...metrics.map(([name, value]) => el('span', {}, `${name} `, el('b', { text: value }))),
      el('span', { class: 'lw-dim', text: how }),
    ];
    const near = pathPointAt(this.shared.paths, frame, point.i, point.j);
    if (near) parts.push(el('span', { text: pathPointText(near.path, near.k) }));
    if (this.readout.textContent !== parts.map((part) => part.textContent).join('')) this.readout.replaceChildren(...parts);
  }

  private writeCaption(): void {
    this.captionDirty = false;
    const { field, paths, markers, showPoints } = this.shared;
    const named = field ? paths.filter((path) => path.label && partsInside(path, field.frame, Infinity).length) : [];
    this.legend.hidden = !named.length;
    this.legend.replaceChildren(...named.map((path) => el('span', {}, keyOfPath(path), path.label)));
    if (!field) {
      this.caption.replaceChildren();
      return;
    }
    const parts = [el('span', { text: summary(field) })];
    const masked = maskedText(field);
    if (masked) parts.push(el('span', {}, el('i', { class: 'lw-key lw-key-masked', 'aria-hidden': 'true' }), masked));
    if (showPoints) parts.push(el('span', {}, el('i', { class: 'lw-key lw-key-point', 'aria-hidden': 'true' }), 'measured point'));
    const words = [...outsideText(paths, markers, field.frame), this.options.missable].filter(Boolean);
    parts.push(...words.map((text) => el('span', { text })));
    if (!field.frame.final) parts.push(el('span', { class: 'lw-refining', text: 'refining…' }));
    this.caption.replaceChildren(...parts);
    const name = this.options.description || 'Loss landscape';
    const told = [summary(field), pathsText(named)].filter(Boolean).join(' · ');
    for (const pane of this.panes) {
      pane.base.setAttribute('aria-label', `${name}, ${pane.kind === 'map' ? 'map' : 'surface'}: ${told}`);
    }
  }

  /** Say that the 3-D picture is missing, where it is. */
  private writeNotice(): void {
    const missing = this.options.panes.includes('surface') && this.shared.renderer === null && !this.shared.field?.frame.names;
    setText(this.notice, missing
      ? 'This picture needs WebGL2 for its 3-D surface, and this browser does not offer it. Turn on hardware acceleration ' +
        'in the browser’s settings (or start it with --enable-unsafe-swiftshader) and reload the page. The map below shows the same values.'
      : '');
    this.notice.hidden = !missing;
  }

  // ---------------------------------------------------------------- scheduling

  private touch(pane?: Pane): void {
    if (pane) this.dirty.add(pane);
    this.raf ||= requestAnimationFrame(() => this.flush());
  }

  private touchAll(): void {
    for (const pane of this.panes) this.dirty.add(pane);
    this.barDirty = this.overlayDirty = this.captionDirty = true;
    this.touch();
  }

  private touchOverlay(): void {
    this.overlayDirty = true;
    this.touch();
  }

  /** Draw one pane again, better; nothing has changed, so nobody is told. */
  private refine(pane: Pane): void {
    if (!this.disposed && !this.dirty.has(pane)) pane.draw();
  }

  /** A window dragged to another screen, or browser zoom: same size in CSS pixels, other pixels. */
  private watchRatio(): void {
    const { signal } = this.ratioWatch;
    matchMedia(`(resolution: ${globalThis.devicePixelRatio || 1}dppx)`).addEventListener('change', () => {
      this.layout(true);
      this.watchRatio();
    }, { once: true, signal });
  }
}
