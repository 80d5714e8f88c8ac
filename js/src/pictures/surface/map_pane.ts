// The surface from above: x to the right, y up, colours with contour lines, axes, and a cursor over grid points.

import {
  aspectOf, type MapCamera, mapToScreen, type Rect, screenToMap, clampMap, WHOLE_MAP, zoomMapAt,
} from './camera';
import type { Field } from './field';
import type { Gestures } from '../../core/gestures';
import { crisp, cut, font, haloText, type Ink, LABEL_FONT, ring, TICK_FONT, ticksThatFit, twoToneLine } from '../../core/ink';
import { pictureAspect, unitPoint } from './frame';
import { strokeTraced } from './paths';
import { Pane, type PaneEvents, type Shared } from './pane';
import { type Hatch, rasterCells, rasterMap } from './raster';
import type { Theme } from '../../core/theme';

const KEYS =
  'Map, seen from above. Arrow keys move a cursor over grid points, with Shift by five; Enter pins the point, Escape unpins; ' +
  'plus and minus zoom, 0 shows everything.';

const TOP = 14;
const RIGHT = 14;
const BOTTOM = 46;
/** Pixels that the names of cells get at most, across and up. */
const NAME = 92;
const NAME_APART = 13;

interface Tick {
  readonly text: string;
  /** In the unit square, along its axis. */
  readonly at: number;
}

export function hatchOf(theme: Theme): Hatch {
  return theme.dark ? { ground: [58, 63, 69], stripe: [128, 136, 145] } : { ground: [232, 234, 237], stripe: [150, 157, 165] };
}

export class MapPane extends Pane {
  private camera: MapCamera = WHOLE_MAP;
  /** Where the picture is, in CSS pixels on whole device pixels. */
  rect: Rect = { left: 0, top: 0, width: 1, height: 1 };
  private image: ImageData | null = null;

  constructor(shared: Shared, events: PaneEvents) {
    super('map', KEYS, shared, events);
  }

  /** Width at which the picture of a field fills a pane of this height, in CSS pixels. */
  static widthFor(field: Field | null, height: number): number {
    if (!field) return Infinity;
    return (height - TOP - BOTTOM) / pictureAspect(field.frame, aspectOf) + (field.frame.names ? NAME + 40 : 76) + RIGHT;
  }

  protected paint(): boolean {
    const { ink, shared } = this;
    const { theme, field } = shared;
    if (!field) return true;
    const { frame } = field;
    const [x0, x1, y0, y1] = [frame.x[0]!, frame.x[frame.nx - 1]!, frame.y[0]!, frame.y[frame.ny - 1]!];
    const half = 0.5 / this.camera.zoom;
    const window = {
      x: [x0 + (this.camera.x - half) * (x1 - x0), x0 + (this.camera.x + half) * (x1 - x0)] as const,
      y: [y0 + (this.camera.y - half) * (y1 - y0), y0 + (this.camera.y + half) * (y1 - y0)] as const,
    };

    ink.font = font(theme, TICK_FONT);
    const [xNames, yNames] = frame.names ?? [];
    const widest = (texts: readonly string[]) => Math.max(0, ...texts.map((text) => ink.measureText(text).width));
    const numbers = (range: readonly [number, number], pixels: number, from: number, to: number): Tick[] => {
      const { values, texts } = ticksThatFit(ink, ...range, pixels);
      return values.map((value, k) => ({ at: (value - from) / (to - from), text: texts[k]! }));
    };
    let yMarks = yNames ? [] : numbers(window.y, (this.height - TOP - BOTTOM) * 0.8, y0, y1);
    const left = 34 + Math.max(yNames ? Math.min(NAME, widest(yNames)) : widest(yMarks.map(({ text }) => text)), 12);
    const aspect = pictureAspect(frame, aspectOf);
    // Names that do not fit side by side stand aslant, and take their room from the picture.
    const across = xNames ? Math.min(this.width - left - RIGHT, (this.height - TOP - BOTTOM) / aspect) * this.camera.zoom / frame.nx : 0;
    const aslant = xNames !== undefined && widest(xNames) + 8 > across;
    const below = BOTTOM + (aslant ? Math.round(0.7 * Math.min(NAME, widest(xNames))) : 0);
    this.rect = this.place(left, below, aspect);
    const { rect } = this;
    if (yNames) yMarks = namesThatFit(ink, yNames, rect.height * this.camera.zoom);
    const xMarks = xNames ? namesThatFit(ink, xNames, rect.width * this.camera.zoom) : numbers(window.x, rect.width, x0, x1);

    this.paintPicture();
    ink.strokeStyle = theme.line;
    ink.lineWidth = 1;
    ink.strokeRect(rect.left - 0.5, rect.top - 0.5, rect.width + 1, rect.height + 1);

    ink.fillStyle = theme.text;
    ink.textAlign = 'center';
    ink.textBaseline = 'top';
    for (const { at, text } of xMarks) {
      const [px] = this.screen(at, 0);
      if (px < rect.left - 1 || px > rect.left + rect.width + 1) continue;
      this.tick(px, rect.top + rect.height + 1, 0, 4);
      if (!aslant) ink.fillText(text, px, rect.top + rect.height + 8);
      else {
        ink.save();
        ink.translate(px + 5, rect.top + rect.height + 8);
        ink.rotate(-Math.PI / 4);
        ink.textAlign = 'right';
        ink.fillText(text, 0, 0);
        ink.restore();
      }
    }
    ink.textAlign = 'right';
    ink.textBaseline = 'middle';
    for (const { at, text } of yMarks) {
      const [, py] = this.screen(0, at);
      if (py < rect.top - 1 || py > rect.top + rect.height + 1) continue;
      this.tick(rect.left - 1, py, -4, 0);
      ink.fillText(text, rect.left - 8, py + 0.5);
    }

    ink.font = font(theme, LABEL_FONT, 500);
    ink.textAlign = 'center';
    ink.textBaseline = 'alphabetic';
    ink.fillText(frame.labels[0], rect.left + rect.width / 2, rect.top + rect.height + below - 7, rect.width + left);
    ink.save();
    ink.translate(rect.left - left + 16, rect.top + rect.height / 2);
    ink.rotate(-Math.PI / 2);
    ink.fillText(frame.labels[1], 0, 0, this.height - 8);
    ink.restore();

    if (shared.showPoints) {
      // A dot on the border stands out by its radius; dots outside the window do not show.
      ink.save();
      ink.beginPath();
      ink.rect(rect.left - 3, rect.top - 3, rect.width + 6, rect.height + 6);
      ink.clip();
      this.paintPoints();
      ink.restore();
    }
    this.paintPaths();
    this.paintMarkers();
    return true;
  }

  protected paintOverlay(): void {
    const { overInk: ink, rect, shared } = this;
    const inside = (p: readonly [number, number]) =>
      p[0] >= rect.left - 1 && p[0] <= rect.left + rect.width + 1 && p[1] >= rect.top - 1 && p[1] <= rect.top + rect.height + 1;
    if (shared.hover) {
      const at = this.screen(...this.unitOfGrid(shared.hover));
      if (inside(at)) {
        const [px, py] = [crisp(at[0], this.ratio), crisp(at[1], this.ratio)];
        twoToneLine(ink, rect.left, py, px - 6, py);
        twoToneLine(ink, px + 6, py, rect.left + rect.width, py);
        twoToneLine(ink, px, rect.top, px, py - 6);
        twoToneLine(ink, px, py + 6, px, rect.top + rect.height);
        ring(ink, at[0], at[1], 4.5);
      }
    }
    const pinned = shared.pinned && this.unitOf(...shared.pinned);
    if (pinned) {
      const at = this.screen(...pinned);
      if (inside(at)) ring(ink, at[0], at[1], 5.5, shared.theme.pin);
    }
  }

  protected gestures(): Pick<Gestures, 'drag' | 'pan' | 'zoom'> {
    return {
      drag: (dx, dy, x, y) => {
        if (this.camera.zoom > 1) this.shift(dx, dy);
        else this.events.hover(this.gridUnder(x, y));
      },
      pan: (dx, dy) => this.shift(dx, dy),
      zoom: (factor, x, y) => this.move(zoomMapAt(this.camera, this.rect, x, y, factor)),
    };
  }

  protected key(key: string, shift: boolean): boolean {
    const steps: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
    const step = steps[key];
    const cursor = this.cursor();
    if (step && cursor) {
      const { nx, ny } = this.shared.field!.frame;
      const by = shift ? 5 : 1;
      const fit = (k: number, n: number) => Math.max(0, Math.min(n - 1, k));
      const to = { i: fit(cursor.i + by * step[0], nx), j: fit(cursor.j + by * step[1], ny) };
      this.follow(...this.unitOfGrid(to));
      this.events.hover(to);
    } else if (key === 'Enter' && cursor) this.events.pin(cursor);
    else if (key === 'Escape') this.events.pin(null);
    else if (key === '+' || key === '=' || key === '-') {
      const at = cursor ? this.screen(...this.unitOfGrid(cursor)) : this.screen(0.5, 0.5);
      this.move(zoomMapAt(this.camera, this.rect, at[0], at[1], key === '-' ? 1 / 1.25 : 1.25));
    } else if (key === '0' || key === 'Home') this.home();
    else return false;
    return true;
  }

  protected home(): void {
    this.move(WHOLE_MAP);
  }

  protected isHome(): boolean {
    return this.camera.zoom === 1;
  }

  private move(camera: MapCamera): void {
    this.camera = camera;
    this.events.moved();
  }

  private shift(dx: number, dy: number): void {
    const { x, y, zoom } = this.camera;
    this.move(clampMap({ x: x - dx / this.rect.width / zoom, y: y + dy / this.rect.height / zoom, zoom }));
  }

  /** Scroll the window so that the cursor stays in sight. */
  private follow(u: number, v: number): void {
    const { zoom } = this.camera;
    if (zoom === 1) return;
    const reach = 0.45 / zoom;
    const into = (center: number, at: number) => Math.max(at - reach, Math.min(at + reach, center));
    this.move(clampMap({ x: into(this.camera.x, u), y: into(this.camera.y, v), zoom }));
  }

  private screen(u: number, v: number): [number, number] {
    return mapToScreen(this.camera, this.rect, u, v);
  }

  protected gridUnder(px: number, py: number) {
    const { rect } = this;
    if (px < rect.left - 6 || px > rect.left + rect.width + 6 || py < rect.top - 6 || py > rect.top + rect.height + 6) return null;
    return this.gridAt(...screenToMap(this.camera, rect, px, py));
  }

  /** The largest rectangle of the right shape beside the axes, on whole device pixels. */
  private place(left: number, below: number, aspect: number): Rect {
    const [w, h] = [Math.max(20, this.width - left - RIGHT), Math.max(20, this.height - TOP - below)];
    const width = Math.min(w, h / aspect);
    const snap = (v: number) => Math.round(v * this.ratio) / this.ratio;
    const x = left + (w - width) / 2;
    return { left: snap(x), top: TOP, width: snap(width), height: snap(width * aspect) };
  }

  private paintPicture(): void {
    const { ink, ratio, rect, shared } = this;
    const field = shared.field!;
    const [left, top, width, height] = [rect.left, rect.top, rect.width, rect.height].map((v) => Math.round(v * ratio)) as [number, number, number, number];
    const hatch = hatchOf(shared.theme);
    // Emulated GL is slower than painting the map here, so it serves hardware only.
    if (shared.renderer && !shared.renderer.software && shared.picture && !field.frame.names) {
      ink.save();
      ink.resetTransform();
      const drawn = shared.renderer.drawMap(shared.picture, { camera: this.camera, hatch, pixelRatio: ratio }, ink, left, top, width, height);
      ink.restore();
      if (drawn) return;
    }
    if (this.image?.width !== width || this.image.height !== height) this.image = new ImageData(width, height);
    (field.frame.names ? rasterCells : rasterMap)(this.image, field, shared.palette!, this.camera, hatch, ratio);
    ink.putImageData(this.image, left, top);
  }

  private paintPoints(): void {
    const { ink, shared, rect } = this;
    const { nx, ny, evaluated } = shared.field!.frame;
    const spacing = Math.min(rect.width / Math.max(1, nx - 1), rect.height / Math.max(1, ny - 1)) * this.camera.zoom;
    const { radius, rim } = pointDot(spacing, shared.field!.evaluatedCount / (nx * ny));
    for (const [grow, style] of [[rim, 'rgba(0,0,0,0.75)'], [0, '#fff']] as const) {
      ink.beginPath();
      for (let i = 0; i < nx; i++) {
        for (let j = 0; j < ny; j++) {
          if (!evaluated[i * ny + j]) continue;
          const [px, py] = this.screen(...this.unitOfGrid({ i, j }));
          ink.moveTo(px + radius + grow, py);
          ink.arc(px, py, radius + grow, 0, 7);
        }
      }
      ink.fillStyle = style;
      ink.fill();
    }
  }

  private paintPaths(): void {
    const { ink, shared, rect } = this;
    ink.save();
    ink.beginPath();
    ink.rect(rect.left, rect.top, rect.width, rect.height);
    ink.clip();
    for (const path of shared.strokes) {
      ink.beginPath();
      path.x.forEach((x: number, k: number) => ink.lineTo(...this.screen(...unitPoint(shared.field!.frame, x, path.y[k]!))));
      strokeTraced(ink, path);
    }
    ink.restore();
  }

  private paintMarkers(): void {
    const { ink, shared, rect } = this;
    for (const marker of shared.markers) {
      const unit = this.unitOf(marker.x, marker.y);
      if (!unit) continue;
      const [px, py] = this.screen(...unit);
      if (px < rect.left - 1 || px > rect.left + rect.width + 1 || py < rect.top - 1 || py > rect.top + rect.height + 1) continue;
      paintMarker(ink, shared.theme, px, py, marker.label, this.width);
    }
  }

  private tick(px: number, py: number, dx: number, dy: number): void {
    const { ink, ratio, shared } = this;
    const [x, y] = [dx ? px : crisp(px, ratio), dy ? py : crisp(py, ratio)];
    ink.strokeStyle = shared.theme.line;
    ink.beginPath();
    ink.moveTo(x, y);
    ink.lineTo(x + dx, y + dy);
    ink.stroke();
  }
}

/** The names of cells that have room beside each other in `pixels`, cut where they are long. */
function namesThatFit(ink: Ink, names: readonly string[], pixels: number): Tick[] {
  const step = Math.max(1, Math.ceil((NAME_APART * names.length) / pixels));
  return names.map((name, k) => ({ text: cut(ink, name, NAME), at: (k + 0.5) / names.length })).filter((_, k) => k % step === 0);
}

/** Radius and dark rim of a dot for an evaluated point, so small that neighbours do not touch. */
export function pointDot(spacing: number, share: number): { radius: number; rim: number } {
  const apart = spacing / Math.sqrt(Math.max(share, 1e-3));
  return { radius: Math.max(0.5, Math.min(2, 0.16 * apart)), rim: Math.max(0.15, Math.min(0.9, 0.08 * apart)) };
}

/** A named place, e.g. a model that spans the plane: a diamond and its label. */
export function paintMarker(ink: CanvasRenderingContext2D, theme: Theme, px: number, py: number, label: string, width: number, faded = false): void {
  ink.save();
  ink.globalAlpha = faded ? 0.45 : 1;
  const r = 5;
  ink.beginPath();
  ink.moveTo(px, py - r);
  ink.lineTo(px + r, py);
  ink.lineTo(px, py + r);
  ink.lineTo(px - r, py);
  ink.closePath();
  ink.fillStyle = '#fff';
  ink.fill();
  ink.lineWidth = 1.5;
  ink.strokeStyle = '#111';
  ink.stroke();
  if (label) {
    ink.font = font(theme, TICK_FONT, 600);
    ink.fillStyle = theme.text;
    ink.textBaseline = 'middle';
    const w = ink.measureText(label).width;
    const toLeft = px + r + 5 + w > width - 4;
    ink.textAlign = toLeft ? 'right' : 'left';
    haloText(ink, theme, label, toLeft ? px - r - 5 : px + r + 5, py - (py > 20 ? 9 : -9));
  }
  ink.restore();
}

