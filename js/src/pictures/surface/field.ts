// A field: one metric of a frame, scaled to 0..1 for height and colour, with what a reader wants to know about it.

import type { Frame } from './frame';

export interface Field {
  readonly frame: Frame;
  readonly metric: string;
  readonly log: boolean;
  readonly values: Float32Array;
  readonly error: number | null;
  /** Height and colour in [0, 1] per grid point; NaN where a value is masked. */
  readonly heights: Float32Array;
  /** Smallest and largest value drawn (float64); NaN when nothing can be drawn. */
  readonly min: number;
  readonly max: number;
  /** Flat index of the smallest value, -1 when nothing can be drawn. */
  readonly argmin: number;
  /** Measured, and not finite. */
  readonly notFinite: number;
  /** Not measured, and without a value. */
  readonly notMeasured: number;
  /** Finite but not positive on a logarithmic scale. */
  readonly notPositive: number;
  readonly evaluatedCount: number;
}

export function makeField(frame: Frame): Field {
  const m = frame.metrics.indexOf(frame.metric);
  const values = frame.values[m]!;
  const { log } = frame;
  let min = Infinity;
  let max = -Infinity;
  let argmin = -1;
  let notFinite = 0;
  let notMeasured = 0;
  let notPositive = 0;
  for (let k = 0; k < values.length; k++) {
    const v = values[k]!;
    if (!Number.isFinite(v)) {
      if (frame.evaluated[k]) notFinite++;
      else notMeasured++;
    }
    else if (log && v <= 0) notPositive++;
    else {
      if (v < min) {
        min = v;
        argmin = k;
      }
      if (v > max) max = v;
    }
  }
  if (argmin < 0) min = max = NaN;
  const heights = new Float32Array(values.length);
  const scale = heightOf(min, max, log);
  for (let k = 0; k < values.length; k++) heights[k] = scale(values[k]!);
  let evaluatedCount = 0;
  for (const e of frame.evaluated) if (e) evaluatedCount++;
  return {
    frame, metric: frame.metric, log, values, error: frame.errors[m] ?? null, heights,
    min, max, argmin, notFinite, notMeasured, notPositive, evaluatedCount,
  };
}

/** The map from a value to 0..1. A constant field lies in the middle; masked values give NaN. */
export function heightOf(min: number, max: number, log: boolean): (value: number) => number {
  if (Number.isNaN(min)) return () => NaN;
  const masked = (v: number) => !Number.isFinite(v) || (log && v <= 0);
  if (!(max > min)) return (v) => (masked(v) ? NaN : 0.5);
  if (!log) return (v) => (masked(v) ? NaN : (v - min) / (max - min));
  const base = Math.log(min);
  const span = Math.log(max) - base;
  return (v) => (masked(v) ? NaN : (Math.log(v) - base) / span);
}

/**
 * Bilinear height at fractional grid position (u, v), 0 <= u <= nx - 1.
 *
 * NaN when any corner of the cell is masked, so that a picture never invents a value beside a hole.
 */
export function sampleHeight(heights: Float32Array, nx: number, ny: number, u: number, v: number): number {
  const i = Math.max(0, Math.min(nx - 2, Math.floor(u)));
  const j = Math.max(0, Math.min(ny - 2, Math.floor(v)));
  const a = heights[i * ny + j]!;
  const b = heights[i * ny + j + 1]!;
  const c = heights[(i + 1) * ny + j]!;
  const d = heights[(i + 1) * ny + j + 1]!;
  const s = u - i;
  const t = v - j;
  return (a * (1 - t) + b * t) * (1 - s) + (c * (1 - t) + d * t) * s;
}
