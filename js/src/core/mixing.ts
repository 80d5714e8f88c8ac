// What lies between positions: the pictures of the neighbours, mixed multilinearly where they can be.

import type { Arrays } from './arrays';
import type { HeightPicture, LineAxes, LineLooks, LinePicture, Range, Ref, Slider } from './document';
import type { Path } from './paths';

export interface Corner {
  /** Index into the frames of a study. */
  readonly frame: number;
  readonly weight: number;
}

/** The frames around a place given in (fractional) positions, with weights that add up to one. */
export function cornersOf(sliders: readonly Slider[], at: readonly number[]): Corner[] {
  let corners: Corner[] = [{ frame: 0, weight: 1 }];
  sliders.forEach(({ positions }, s) => {
    const low = Math.floor(at[s]!);
    const share = at[s]! - low;
    corners = corners.flatMap(({ frame, weight }) => {
      const first = { frame: frame * positions.length + low, weight: weight * (1 - share) };
      return share > 0 ? [first, { frame: first.frame + 1, weight: weight * share }] : [first];
    });
  });
  return corners;
}

/** Index of the frame nearest to a place. */
export function nearestFrame(sliders: readonly Slider[], at: readonly number[]): number {
  return sliders.reduce((frame, { positions }, s) => frame * positions.length + Math.round(at[s]!), 0);
}

export interface Weighted<P> {
  readonly picture: P;
  readonly weight: number;
}

/** A frame as HeightFieldView takes it. Grids and axes are mixed, all else is of the nearest picture. */
export function mixHeight(arrays: Arrays, near: HeightPicture, parts: readonly Weighted<HeightPicture>[]): object {
  const { nx, ny, ...head } = near.head;
  const mixer = new Mixer(arrays, parts.map(({ weight }) => weight));
  const { metrics } = head;
  const same = parts.every(({ picture: { head } }) =>
    head.nx === nx && head.ny === ny && head.metrics.length === metrics.length && head.metrics.every((name, m) => name === metrics[m]));
  const pick = (ref: (picture: HeightPicture) => Ref) => (same ? mixer.floats(parts.map(({ picture }) => ref(picture))) : arrays.floats(ref(near)));
  const values = new Float32Array(metrics.length * nx * ny);
  metrics.forEach((_, m) => values.set(pick((picture) => picture.values[m]!), m * nx * ny));
  return {
    ...head, shape: [nx, ny], x: pick(({ x }) => x), y: pick(({ y }) => y), values, evaluated: arrays.stored(near.evaluated),
  };
}

/** Paths as HeightFieldView takes them. Coordinates are mixed where all neighbours have the same ones, by name and length. */
export function mixPaths(arrays: Arrays, near: HeightPicture, parts: readonly Weighted<HeightPicture>[]): Path[] {
  const kinds = ({ paths }: HeightPicture) => JSON.stringify(paths.map(({ label, x }) => [label, arrays.shape(x)]));
  const used = parts.every(({ picture }) => kinds(picture) === kinds(near)) ? parts : [{ picture: near, weight: 1 }];
  const mixer = new Mixer(arrays, used.map(({ weight }) => weight));
  const along = (k: number, axis: 'x' | 'y') => [...mixer.floats(used.map(({ picture }) => picture.paths[k]![axis]))];
  return near.paths.map((path, k) => ({ ...path, x: along(k, 'x'), y: along(k, 'y') }));
}

export interface Curve extends LineLooks {
  readonly x: Float32Array;
  /** Of a band: all of its lower edge, then all of its upper one. */
  readonly y: Float32Array;
}

export interface LineDrawing extends LineAxes {
  readonly curves: readonly Curve[];
}

/** Curves as LinePlotView takes them. Coordinates and ranges are mixed, all else is of the nearest picture. */
export function mixLines(arrays: Arrays, near: LinePicture, parts: readonly Weighted<LinePicture>[]): LineDrawing {
  const { series, ...axes } = near;
  const shape = (ref: Ref) => arrays.shape(ref).join();
  const same = parts.every(({ picture }) =>
    picture.log === near.log && picture.series.length === series.length &&
    picture.series.every((one, k) => one.style === series[k]!.style && shape(one.x) === shape(series[k]!.x)));
  const used = same ? parts : [{ picture: near, weight: 1 }];
  const mixer = new Mixer(arrays, used.map(({ weight }) => weight));
  const range = (of: (picture: LinePicture) => Range): Range =>
    [mixer.number(used.map(({ picture }) => of(picture)[0])), mixer.number(used.map(({ picture }) => of(picture)[1]))];
  return {
    ...axes,
    xRange: range(({ xRange }) => xRange),
    yRange: range(({ yRange }) => yRange),
    curves: series.map((one, k) => ({
      ...one,
      x: mixer.floats(used.map(({ picture }) => picture.series[k]!.x)),
      y: mixer.floats(used.map(({ picture }) => picture.series[k]!.y)),
    })),
  };
}

/** Weighted sums in float64. A value that is not finite in any part leaves its mark: nothing is invented there. */
class Mixer {
  constructor(private readonly arrays: Arrays, private readonly weights: readonly number[]) {}

  number(values: readonly number[]): number {
    return values.every((value) => value === values[0]) ? values[0]! : values.reduce((sum, value, k) => sum + this.weights[k]! * value, 0);
  }

  floats(refs: readonly Ref[]): Float32Array {
    if (refs.every((ref) => ref === refs[0])) return this.arrays.floats(refs[0]!);
    const parts = refs.map((ref) => this.arrays.floats(ref));
    return parts[0]!.map((_, k) => parts.reduce((sum, part, p) => sum + this.weights[p]! * part[k]!, 0));
  }
}
