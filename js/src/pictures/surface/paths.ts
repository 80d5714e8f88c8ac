// Named polylines in the plane: what of them lies in the picture, and how they are stroked.

import { svg } from '../../core/dom';
import type { Ink } from '../../core/ink';
import { type Axes, type Frame, type Point, unitOfGrid, unitPoint } from './frame';

export interface Path {
  readonly x: Numbers;
  readonly y: Numbers;
  readonly label: string;
  /** #rrggbb */
  readonly color: string;
  readonly dashed?: boolean;
  /** Of each point, where known: when, how high the metric, and how far from the plane it really lies. */
  readonly time?: Numbers;
  readonly loss?: Numbers;
  readonly residual?: Numbers;
}

type Numbers = Float32Array | readonly number[];

const WIDTH = 2;
const HALO = 1.25;
const DASH = [7, 4];
const SLACK = 1e-6; // axes are float32, so a path along the border may lie a little outside
/** Off the plane by more than this share of how far the path goes in it, its picture is a shadow. */
const FAR_OFF = 0.1;
/** Of the side of the picture, between a grid point and the point of a path that is read with it. */
const CLOSE = 0.03;

export function isInside([u, v]: Point): boolean {
  return u >= -SLACK && u <= 1 + SLACK && v >= -SLACK && v <= 1 + SLACK;
}

/** The parts of a path inside the picture, in order, as points of the unit square at most `step` apart. */
export function partsInside(path: Path, frame: Axes, step: number): Point[][] {
  const points = pointsOf(path, frame);
  const parts: Point[][] = [];
  let part: Point[] | null = null;
  for (let k = 1; k < points.length; k++) {
    const [a, b] = [points[k - 1]!, points[k]!];
    const cut = clip(a, b);
    if (!cut) {
      part = null;
      continue;
    }
    const [from, to] = cut;
    const at = (t: number): Point => [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])];
    if (!part || from > 0) parts.push((part = [at(from)]));
    const steps = Math.max(1, Math.ceil((Math.hypot(b[0] - a[0], b[1] - a[1]) * (to - from)) / step));
    for (let n = 1; n <= steps; n++) part.push(at(from + ((to - from) * n) / steps));
  }
  return parts;
}

/** Where a segment enters and leaves the unit square, as shares of its length (Liang and Barsky, 1984). */
function clip(a: Point, b: Point): readonly [number, number] | null {
  let [from, to] = [0, 1];
  for (const axis of [0, 1] as const) {
    const d = b[axis] - a[axis];
    if (d === 0) {
      if (a[axis] < -SLACK || a[axis] > 1 + SLACK) return null;
      continue;
    }
    const [t0, t1] = [(-SLACK - a[axis]) / d, (1 + SLACK - a[axis]) / d];
    from = Math.max(from, Math.min(t0, t1));
    to = Math.min(to, Math.max(t0, t1));
  }
  return from <= to ? [from, to] : null;
}

/** Where a path first leaves the picture, in the plane: null where it stays, undefined where it never comes in. */
export function leaves(path: Path, frame: Axes): Point | null | undefined {
  let inside = false;
  const points = pointsOf(path, frame);
  for (let k = 1; k < points.length; k++) {
    const cut = clip(points[k - 1]!, points[k]!);
    if (![...points[k - 1]!, ...points[k]!].every(Number.isFinite)) continue; // a gap
    inside ||= cut !== null;
    if (!inside || (cut && cut[1] === 1)) continue;
    const to = cut?.[1] ?? 0;
    const along = (values: Numbers) => values[k - 1]! + to * (values[k]! - values[k - 1]!);
    return [along(path.x), along(path.y)];
  }
  return inside || points.some(isInside) ? null : undefined;
}

/** How far from the plane a point must be for its part of the path to be dashed; null where nothing is known of it. */
export function farOff({ x, y, residual }: Path): number | null {
  return residual ? FAR_OFF * Math.hypot(extent(x), extent(y)) : null;
}

/** A path cut where it goes from near the plane to far from it; the far pieces are dashed. */
export function pieces(path: Path): Path[] {
  const limit = farOff(path);
  if (limit === null) return [path];
  const { x, y, residual, ...looks } = path;
  const cuts: Path[] = [];
  for (let from = 0; from + 1 < x.length; ) {
    const far = (k: number) => Math.max(residual![k]!, residual![k + 1]!) > limit;
    let to = from + 1;
    while (to + 1 < x.length && far(to) === far(from)) to++;
    cuts.push({ ...looks, x: x.slice(from, to + 1), y: y.slice(from, to + 1), dashed: path.dashed || far(from) });
    from = to;
  }
  return cuts;
}

/** The point of a path nearest to a grid point, among those that have more to tell; null where none is close. */
export function pathPointAt(paths: readonly Path[], frame: Frame, i: number, j: number): { path: Path; k: number } | null {
  const [u, v] = unitOfGrid(frame, i, j);
  // Half a cell of a coarse grid is close, too.
  let gap = Math.max(CLOSE, 0.75 / Math.min(frame.nx, frame.ny));
  let found: { path: Path; k: number } | null = null;
  for (const path of paths) {
    if (!path.time && !path.loss && !path.residual) continue;
    pointsOf(path, frame).forEach(([a, b], k) => {
      const far = Math.hypot(a - u, b - v);
      if (far >= gap) return;
      gap = far;
      found = { path, k };
    });
  }
  return found;
}

function pointsOf({ x, y }: Path, frame: Axes): Point[] {
  return Array.from(x, (value, k) => unitPoint(frame, value, y[k]!));
}

function extent(values: Numbers): number {
  const finite = Array.from(values).filter(Number.isFinite);
  return finite.reduce((a, b) => Math.max(a, b), -Infinity) - finite.reduce((a, b) => Math.min(a, b), Infinity);
}

/** Stroke what the ink has traced, over a halo that sets it off from any ground; dashes begin `along` pixels in. */
export function strokeTraced(ink: Ink, { color, dashed }: Path, along = 0): void {
  ink.lineJoin = 'round';
  ink.setLineDash(dashed ? DASH : []);
  ink.lineDashOffset = along;
  for (const [width, style] of strokes(color)) {
    ink.lineWidth = width;
    ink.strokeStyle = style;
    ink.stroke();
  }
  ink.setLineDash([]);
}

/** A sample of the line for a legend. */
export function keyOfPath({ color, dashed }: Path): SVGSVGElement {
  const lines = strokes(color).map(([width, style]) =>
    svg('path', { d: 'M1 5H26', fill: 'none', stroke: style, 'stroke-width': width, ...(dashed && { 'stroke-dasharray': DASH.join(' ') }) }));
  return svg('svg', { class: 'lw-path-key', width: 27, height: 10, 'aria-hidden': 'true' }, ...lines);
}

/** Width and colour of the halo, then of the line. */
function strokes(color: string): [number, string][] {
  const [r, g, b] = [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16)) as [number, number, number];
  const light = 0.299 * r + 0.587 * g + 0.114 * b > 140;
  return [[WIDTH + 2 * HALO, light ? 'rgba(0,0,0,0.6)' : 'rgba(255,255,255,0.85)'], [WIDTH, color]];
}
