// Named polylines in the plane: what of them lies in the picture, and how they are stroked.

import { svg } from './dom';
import type { Frame } from './frame';
import type { Ink } from './ink';

export interface Path {
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly label: string;
  /** #rrggbb */
  readonly color: string;
  readonly dashed?: boolean;
}

export type Point = readonly [number, number];

const WIDTH = 2;
const HALO = 1.25;
const DASH = [7, 4];
const SLACK = 1e-6; // axes are float32, so a path along the border may lie a little outside

/** A point of the plane in the unit square that the axes of a frame span. */
export function unitPoint({ x: xs, y: ys }: Pick<Frame, 'x' | 'y'>, x: number, y: number): Point {
  const along = (axis: Float32Array, v: number) => (v - axis[0]!) / (axis[axis.length - 1]! - axis[0]!);
  return [along(xs, x), along(ys, y)];
}

export function isInside([u, v]: Point): boolean {
  return u >= -SLACK && u <= 1 + SLACK && v >= -SLACK && v <= 1 + SLACK;
}

/** The parts of a path inside the picture, in order, as points of the unit square at most `step` apart. */
export function partsInside(path: Path, frame: Pick<Frame, 'x' | 'y'>, step: number): Point[][] {
  const points = path.x.map((x, k) => unitPoint(frame, x, path.y[k]!));
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
