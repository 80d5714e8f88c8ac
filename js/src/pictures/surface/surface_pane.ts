// The surface in a box that can be turned: floor and back walls with a grid, three labelled axes on the outline.

import {
  aspectOf, boxOf, clampOrbit, DEFAULT_ORBIT, type Orbit, orbitView, pickSurface, project, rayThrough, type Vec3, type View, type Box,
} from './camera';
import type { Gestures } from '../../core/gestures';
import { font, haloText, LABEL_FONT, Placed, ring, TICK_FONT, ticksThatFit, wrap } from '../../core/ink';
import { paintMarker, pointDot } from './map_pane';
import type { Point } from './frame';
import { partsInside, strokeTraced } from './paths';
import { Pane, type PaneEvents, type Shared } from './pane';
import { heightAt } from './raster';
import { heightOf } from './field';

const KEYS =
  'Surface in three dimensions. Arrow keys turn it, plus and minus zoom, 0 goes back to the first view; ' +
  'Enter pins the point under the cursor, Escape unpins.';

/** Of the side of the picture, between the points of a path on the surface. */
const PATH_STEP = 1 / 160;
const TURN_PER_PIXEL = 0.0085;
/** Emulated GL draws without antialiasing; a still picture is drawn again at twice the size and shrunk. */
const SETTLE_MS = 220;

/** A piece of a line on the screen that is hidden by the surface, or in sight, as a whole. */
interface Run {
  readonly hidden: boolean;
  /** Pixels of the line before it. */
  readonly along: number;
  readonly points: Point[];
}

export class SurfacePane extends Pane {
  private orbit: Orbit = DEFAULT_ORBIT;
  private view: View | null = null;
  private box: Box = boxOf(1);
  private fine = false;
  private settleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(shared: Shared, events: PaneEvents, private readonly redraw: () => void) {
    super('surface', KEYS, shared, events);
  }

  get camera(): Orbit {
    return this.orbit;
  }

  set camera(orbit: Orbit) {
    this.orbit = clampOrbit(orbit);
  }

  override dispose(): void {
    clearTimeout(this.settleTimer);
    super.dispose();
  }

  protected override ready(): boolean {
    const { renderer, field } = this.shared;
    return !field || (renderer !== null && !renderer.stats().lost);
  }

  protected paint(): boolean {
    const { ink, shared } = this;
    const { theme, field, renderer, picture } = shared;
    if (!field || !renderer || !picture) return true;
    const { frame } = field;
    const [x0, x1, y0, y1] = [frame.x[0]!, frame.x[frame.nx - 1]!, frame.y[0]!, frame.y[frame.ny - 1]!];
    this.box = boxOf(aspectOf(x1 - x0, y1 - y0));
    const side = this.width < 360 ? 46 : 58;
    const inner = { left: side, top: 14, width: this.width - 2 * side + 10, height: this.height - 14 - 48 };
    const view = (this.view = orbitView(this.orbit, this.box, this.width, this.height, inner));

    ink.font = font(theme, TICK_FONT);
    const axes = this.axes(view);
    this.paintBox(view, axes);

    const fine = this.fine && renderer.software && this.ratio < 2;
    this.fine = false;
    const spacing = (this.box.hx * 2 * view.focal) / view.distance / Math.max(frame.nx - 1, frame.ny - 1);
    const dot = pointDot(spacing, field.evaluatedCount / (frame.nx * frame.ny));
    ink.save();
    ink.resetTransform();
    ink.imageSmoothingQuality = 'medium';
    const drawn = renderer.drawSurface(
      picture,
      { view, box: this.box, pixelRatio: this.ratio, dot: shared.showPoints ? dot : null },
      ink, this.base.width, this.base.height, fine ? 2 : 1,
    );
    ink.restore();
    clearTimeout(this.settleTimer);
    if (renderer.software && this.ratio < 2 && !fine) {
      this.settleTimer = setTimeout(() => { this.fine = true; this.redraw(); }, SETTLE_MS);
    }
    this.paintPaths(view);
    this.paintLabels(view, axes);
    for (const marker of shared.markers) {
      const unit = this.unitOf(marker.x, marker.y);
      if (!unit) continue;
      const at = this.onSurface(...unit);
      const [px, py] = project(view, at);
      paintMarker(ink, theme, px, py, marker.label, this.width, this.hidden(at));
    }
    return drawn;
  }

  protected paintOverlay(): void {
    const { overInk: ink, shared, view } = this;
    if (!view) return;
    if (shared.hover) this.pointer(this.unitOfGrid(shared.hover), 4.5);
    const pinned = shared.pinned && this.unitOf(...shared.pinned);
    if (pinned) this.pointer(pinned, 5.5, shared.theme.pin);
    ink.globalAlpha = 1;
  }

  protected gestures(): Pick<Gestures, 'drag' | 'pan' | 'zoom'> {
    return {
      drag: (dx, dy) => this.turn(-dx * TURN_PER_PIXEL, dy * TURN_PER_PIXEL),
      pan: () => undefined,
      zoom: (factor) => this.move({ ...this.orbit, zoom: this.orbit.zoom * factor }),
    };
  }

  protected key(key: string, shift: boolean): boolean {
    const by = shift ? 0.3 : 0.08;
    if (key === 'ArrowLeft') this.turn(by, 0);
    else if (key === 'ArrowRight') this.turn(-by, 0);
    else if (key === 'ArrowUp') this.turn(0, by);
    else if (key === 'ArrowDown') this.turn(0, -by);
    else if (key === '+' || key === '=') this.move({ ...this.orbit, zoom: this.orbit.zoom * 1.15 });
    else if (key === '-') this.move({ ...this.orbit, zoom: this.orbit.zoom / 1.15 });
    else if (key === '0' || key === 'Home') this.home();
    else if (key === 'Enter') {
      const cursor = this.cursor();
      if (cursor) this.events.pin(cursor);
      return true;
    } else if (key === 'Escape') {
      this.events.pin(null);
      return true;
    } else return false;
    this.events.settled();
    return true;
  }

  protected home(): void {
    this.move(DEFAULT_ORBIT);
  }

  protected isHome(): boolean {
    const { yaw, pitch, zoom } = this.orbit;
    return Math.abs(yaw - DEFAULT_ORBIT.yaw) + Math.abs(pitch - DEFAULT_ORBIT.pitch) + Math.abs(zoom - DEFAULT_ORBIT.zoom) < 1e-6;
  }

  private turn(yaw: number, pitch: number): void {
    this.move({ ...this.orbit, yaw: this.orbit.yaw + yaw, pitch: this.orbit.pitch + pitch });
  }

  private move(orbit: Orbit): void {
    this.orbit = clampOrbit(orbit);
    this.events.moved();
  }

  /** Point of the box's space over a point of the unit square; on the floor where there is no surface. */
  private onSurface(u: number, v: number): Vec3 {
    const h = heightAt(this.shared.field!, u, v);
    const { hx, hy, hz } = this.box;
    return [(2 * u - 1) * hx, (2 * v - 1) * hy, (h === h ? h : 0) * hz];
  }

  protected gridUnder(px: number, py: number) {
    const { view, shared } = this;
    if (!view || !shared.field) return null;
    const field = shared.field;
    const hit = pickSurface(view.eye, rayThrough(view, px, py), this.box, (u, v) => heightAt(field, u, v));
    return hit && this.gridAt(...hit);
  }

  /** Whether the surface stands between the eye and a point on it. */
  private hidden(p: Vec3): boolean {
    const view = this.view!;
    const field = this.shared.field!;
    const lifted: Vec3 = [p[0], p[1], p[2] + 0.02 * this.box.hz];
    const [px, py] = project(view, lifted);
    const hit = pickSurface(view.eye, rayThrough(view, px, py), this.box, (u, v) => heightAt(field, u, v), 200);
    if (!hit) return false;
    const at = this.onSurface(...hit);
    return project(view, at)[2] < project(view, lifted)[2] - 0.03;
  }

  /** Paths over the surface; what it hides is faded, and lies under what it does not. */
  private paintPaths(view: View): void {
    const { ink, shared } = this;
    const runs = shared.strokes.flatMap((path) =>
      partsInside(path, shared.field!.frame, PATH_STEP).flatMap((part) => this.runs(view, part).map((run) => ({ path, ...run }))));
    ink.save();
    for (const faded of [true, false]) {
      ink.globalAlpha = faded ? 0.45 : 1;
      for (const { path, points, along } of runs.filter(({ hidden }) => hidden === faded)) {
        ink.beginPath();
        for (const [px, py] of points) ink.lineTo(px, py);
        strokeTraced(ink, path, along);
      }
    }
    ink.restore();
  }

  /** The line over a part of a path, cut where it hides and comes in sight; a gap where there is no surface. */
  private runs(view: View, part: readonly Point[]): Run[] {
    const found: Run[] = [];
    let last: Point | null = null;
    let checked: Point = [0, 0];
    let hidden = false;
    let along = 0;
    for (const unit of part) {
      if (Number.isNaN(heightAt(this.shared.field!, ...unit))) {
        last = null;
        continue;
      }
      const top = this.onSurface(...unit);
      const [px, py] = project(view, top);
      const before: boolean = hidden;
      // What is hidden takes long to tell, and a path may have many points.
      if (!last || Math.hypot(px - checked[0], py - checked[1]) > 2) {
        hidden = this.hidden(top);
        checked = [px, py];
      }
      if (last && hidden === before) found.at(-1)!.points.push([px, py]);
      else found.push({ hidden, along, points: last ? [last, [px, py]] : [[px, py]] });
      if (last) along += Math.hypot(px - last[0], py - last[1]);
      last = [px, py];
    }
    return found;
  }

  /** A ring on the surface with a plumb line to the floor. */
  private pointer(unit: readonly [number, number], radius: number, fill?: string): void {
    const { overInk: ink, view, shared } = this;
    const top = this.onSurface(...unit);
    const [px, py] = project(view!, top);
    const [fx, fy] = project(view!, [top[0], top[1], 0]);
    const hidden = this.hidden(top);
    ink.globalAlpha = hidden ? 0.5 : 1;
    ink.setLineDash([2, 3]);
    ink.beginPath();
    ink.moveTo(px, py);
    ink.lineTo(fx, fy);
    ink.lineWidth = 1;
    ink.strokeStyle = shared.theme.text;
    ink.stroke();
    ink.setLineDash([]);
    ring(ink, px, py, radius, fill);
  }

  /** Which edges of the box carry the axes from this side: the two near floor edges and the leftmost upright one. */
  private axes(view: View) {
    const { hx, hy } = this.box;
    const nearX = view.eye[0] >= 0 ? hx : -hx;
    const nearY = view.eye[1] >= 0 ? hy : -hy;
    const corners = [[-hx, -hy], [hx, -hy], [hx, hy], [-hx, hy]] as const;
    const upright = corners.reduce((a, b) => (project(view, [b[0], b[1], 0])[0] < project(view, [a[0], a[1], 0])[0] ? b : a));
    return { nearX, nearY, upright };
  }

  private ticksOf(axis: 0 | 1, pixels: number) {
    const { frame } = this.shared.field!;
    const along = axis === 0 ? frame.x : frame.y;
    const half = axis === 0 ? this.box.hx : this.box.hy;
    const [low, high] = [along[0]!, along[along.length - 1]!];
    const ticks = ticksThatFit(this.ink, low, high, Math.max(60, pixels * 0.9));
    return { ...ticks, at: ticks.values.map((t) => ((t - low) / (high - low) * 2 - 1) * half) };
  }

  /** Floor and the two far walls. All of it lies behind the surface, so it is drawn first. */
  private paintBox(view: View, axes: ReturnType<SurfacePane['axes']>): void {
    const { ink, shared, box } = this;
    const { theme, field } = shared;
    const farX = -axes.nearX;
    const farY = -axes.nearY;
    const path = (points: Vec3[]) => {
      points.forEach((p, k) => {
        const [px, py] = project(view, p);
        if (k) ink.lineTo(px, py);
        else ink.moveTo(px, py);
      });
    };
    const { hx, hy, hz } = box;
    ink.lineWidth = 1;
    ink.strokeStyle = theme.grid;
    ink.beginPath();
    for (const x of this.ticksOf(0, 220).at) path([[x, axes.nearY, 0], [x, farY, 0], [x, farY, hz]]);
    for (const y of this.ticksOf(1, 220).at) path([[axes.nearX, y, 0], [farX, y, 0], [farX, y, hz]]);
    const scale = heightOf(field!.min, field!.max, field!.log);
    for (const t of shared.ticks) {
      const z = scale(t) * hz;
      if (z >= 0 && z <= hz) path([[axes.nearX, farY, z], [farX, farY, z], [farX, axes.nearY, z]]);
    }
    ink.stroke();
    ink.strokeStyle = theme.line;
    ink.globalAlpha = 0.75;
    ink.beginPath();
    path([[-hx, -hy, 0], [hx, -hy, 0], [hx, hy, 0], [-hx, hy, 0], [-hx, -hy, 0]]);
    path([[axes.nearX, farY, 0], [axes.nearX, farY, hz], [farX, farY, hz], [farX, axes.nearY, hz], [farX, axes.nearY, 0]]);
    path([[farX, farY, 0], [farX, farY, hz]]);
    ink.stroke();
    ink.globalAlpha = 1;
  }

  private paintLabels(view: View, axes: ReturnType<SurfacePane['axes']>): void {
    const { ink, shared, box } = this;
    const { theme, field } = shared;
    const { frame } = field!;
    ink.fillStyle = theme.text;
    ink.strokeStyle = theme.line;
    const placed = new Placed();

    // x and y: labels stand off their edge, away from the centre of the floor as it appears on the screen.
    for (const axis of [0, 1] as const) {
      const on = (t: number): Vec3 => (axis === 0 ? [t, axes.nearY, 0] : [axes.nearX, t, 0]);
      const half = axis === 0 ? box.hx : box.hy;
      const a = project(view, on(-half));
      const b = project(view, on(half));
      const length = Math.hypot(b[0] - a[0], b[1] - a[1]);
      if (length < 26) continue;
      const floor = project(view, [0, 0, 0]);
      let [nx, ny] = [b[1] - a[1], a[0] - b[0]];
      const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] as const;
      if (nx * (middle[0] - floor[0]) + ny * (middle[1] - floor[1]) < 0) [nx, ny] = [-nx, -ny];
      nx /= length;
      ny /= length;
      const align = nx > 0.35 ? 'left' : nx < -0.35 ? 'right' : 'center';
      ink.font = font(theme, TICK_FONT);
      ink.textAlign = align;
      ink.textBaseline = 'middle';
      const ticks = this.ticksOf(axis, length * Math.max(0.45, Math.abs(b[0] - a[0]) / length));
      let widest = 0;
      ticks.at.forEach((t, k) => {
        const [px, py] = project(view, on(t));
        ink.beginPath();
        ink.moveTo(px, py);
        ink.lineTo(px + 4 * nx, py + 4 * ny);
        ink.stroke();
        placed.text(ink, theme, ticks.texts[k]!, px + 8 * nx, py + 14 * ny);
        widest = Math.max(widest, ink.measureText(ticks.texts[k]!).width);
      });
      const away = 18 + Math.abs(nx) * widest + Math.abs(ny) * 14;
      ink.font = font(theme, LABEL_FONT, 500);
      let px = middle[0] + away * nx;
      const room = align === 'left' ? this.width - 4 - px : align === 'right' ? px - 4 : this.width - 8;
      const lines = wrap(ink, frame.labels[axis], Math.max(40, room));
      // A word that is wider than the room moves inwards instead of being cut off.
      const longest = Math.max(...lines.map((line) => ink.measureText(line).width));
      if (align === 'left') px = Math.min(px, this.width - 4 - longest);
      else if (align === 'right') px = Math.max(px, 4 + longest);
      const block = 15 * (lines.length - 1);
      const py = Math.min(middle[1] + away * ny - (align === 'center' ? 0 : block / 2), this.height - 8 - block);
      lines.forEach((line, k) => haloText(ink, theme, line, px, py + 15 * k));
    }

    // Height, with the ticks of the colour bar.
    const [ux, uy] = axes.upright;
    const foot = project(view, [ux, uy, 0]);
    const head = project(view, [ux, uy, box.hz]);
    const tall = Math.hypot(head[0] - foot[0], head[1] - foot[1]);
    if (tall < 34) return;
    ink.beginPath();
    ink.moveTo(foot[0], foot[1]);
    ink.lineTo(head[0], head[1]);
    ink.stroke();
    ink.font = font(theme, TICK_FONT);
    ink.textAlign = 'right';
    ink.textBaseline = 'middle';
    const scale = heightOf(field!.min, field!.max, field!.log);
    let last = Infinity;
    shared.ticks.forEach((t, k) => {
      const [px, py] = project(view, [ux, uy, scale(t) * box.hz]);
      if (last - py < 13) return;
      last = py;
      ink.beginPath();
      ink.moveTo(px, py);
      ink.lineTo(px - 4, py);
      ink.stroke();
      placed.text(ink, theme, shared.tickTexts[k]!, px - 7, py);
    });
    ink.font = font(theme, LABEL_FONT, 500);
    ink.textBaseline = 'alphabetic';
    const text = field!.metric;
    const w = ink.measureText(text).width;
    ink.textAlign = 'left';
    haloText(ink, theme, text, Math.max(4, Math.min(head[0] - w / 2, this.width - w - 4)), Math.max(12, head[1] - 12));
  }
}
