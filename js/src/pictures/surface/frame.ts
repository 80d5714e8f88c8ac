// A frame: the grids of one picture. They are 'ij': value (i, j) belongs to x[i], y[j] and sits at index i * ny + j of its metric.

export interface Frame {
  readonly nx: number;
  readonly ny: number;
  readonly x: Float32Array;
  readonly y: Float32Array;
  readonly labels: readonly [string, string];
  /** Of the points along x and along y, where each is a cell of its own instead of a sample of a surface. */
  readonly names: readonly [readonly string[], readonly string[]] | null;
  readonly metrics: readonly string[];
  /** One array of nx * ny values per metric; NaN and infinities are data. */
  readonly values: readonly Float32Array[];
  /** 1 where a value was really evaluated, 0 where it was interpolated. */
  readonly evaluated: Uint8Array;
  /** Largest expected error of an interpolated value per metric; null while not known. */
  readonly errors: readonly (number | null)[];
  readonly metric: string;
  readonly log: boolean;
  readonly colormap: string;
  readonly final: boolean;
  readonly tag: number;
}

/** A frame without its grids. */
export type FrameHead = Omit<Frame, 'x' | 'y' | 'values' | 'evaluated'>;

/** What of a frame says where its points are. */
export type Axes = Pick<Frame, 'x' | 'y' | 'names'>;

export type Point = readonly [number, number];

export const MAX_POINTS = 1 << 24;

/** Where a point of the plane lies in the unit square of the picture: on it from border to border, or in the middle of its cell. */
export function unitPoint({ x: xs, y: ys, names }: Axes, x: number, y: number): Point {
  const along = (axis: Float32Array, v: number) => {
    const n = axis.length;
    if (!names) return (v - axis[0]!) / (axis[n - 1]! - axis[0]!);
    let k = 0;
    while (k < n - 2 && axis[k + 1]! <= v) k++;
    return (k + 0.5 + (v - axis[k]!) / (n > 1 ? axis[k + 1]! - axis[k]! : 1)) / n;
  };
  return [along(xs, x), along(ys, y)];
}

/** The same of grid point (i, j). */
export function unitOfGrid({ nx, ny, names }: Pick<Frame, 'nx' | 'ny' | 'names'>, i: number, j: number): [number, number] {
  return names ? [(i + 0.5) / nx, (j + 0.5) / ny] : [i / (nx - 1), j / (ny - 1)];
}

/** Height of the picture divided by its width. Cells are squares, unless there are many more of them one way than the other. */
export function pictureAspect({ nx, ny, x, y, names }: Frame, aspectOf: (rangeX: number, rangeY: number) => number): number {
  return names ? Math.max(0.25, Math.min(4, ny / nx)) : aspectOf(x[nx - 1]! - x[0]!, y[ny - 1]! - y[0]!);
}

/** Index of the grid line nearest to a coordinate (clamped to the grid). */
export function nearest(coordinates: Float32Array, value: number): number {
  let low = 0;
  let high = coordinates.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (coordinates[middle]! <= value) low = middle;
    else high = middle;
  }
  return value - coordinates[low]! <= coordinates[high]! - value ? low : high;
}

/** The shortest decimal that is this float32: 0.3, not 0.30000001192092896. */
export function decimal(value: number): number {
  return Number(Math.fround(value).toPrecision(7));
}

/** What grid line k is called. */
export function nameOf({ x, y, names }: Axes, axis: 0 | 1, k: number, format: (value: number) => string): string {
  return names ? names[axis][k]! : format(decimal((axis ? y : x)[k]!));
}
