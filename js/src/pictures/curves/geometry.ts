// From numbers to SVG paths. A value without a place on its axis leaves a gap.

type Numbers = ArrayLike<number>;

const FAR = 1e5; // pixels; beyond it a path only has to leave in the right direction

/** The value at a share of the way from one end of an axis to the other. */
export function valueAlong(low: number, high: number, share: number, log = false): number {
  return log ? low * (high / low) ** share : low + share * (high - low);
}

export interface EqualBox {
  readonly width: number;
  readonly height: number;
  readonly xRange: readonly [number, number];
  readonly yRange: readonly [number, number];
}

/** The largest area of `width` pixels and at most `tall` in which a unit is as long on both axes; a range that would be a sliver is widened. */
export function equalBox(xRange: readonly [number, number], yRange: readonly [number, number], width: number, tall: number): EqualBox {
  const [wide, high] = [xRange[1] - xRange[0], yRange[1] - yRange[0]];
  const unit = Math.min(width / wide, tall / high);
  const box = [Math.max(unit * wide, Math.min(width, 0.4 * tall)), Math.max(unit * high, Math.min(tall, 0.4 * width))] as const;
  const widened = ([low, end]: readonly [number, number], pixels: number) => {
    const room = (pixels / unit - (end - low)) / 2;
    return [low - room, end + room] as const;
  };
  return { width: box[0], height: box[1], xRange: widened(xRange, box[0]), yRange: widened(yRange, box[1]) };
}

/** The map from a value to a pixel; NaN for what has no place on the axis. */
export function pixelOf(low: number, high: number, from: number, to: number, log = false): (value: number) => number {
  const scale = log ? (v: number) => (v > 0 ? Math.log(v) : NaN) : (v: number) => v;
  const [start, end] = [scale(low), scale(high)];
  return (value) => {
    const pixel = from + ((scale(value) - start) / (end - start)) * (to - from);
    return Number.isFinite(pixel) ? Math.round(100 * Math.max(-FAR, Math.min(FAR, pixel))) / 100 : NaN;
  };
}

/** Indices of points in a row that have a place: [first, last] of each run. */
function runs(...pixels: Numbers[]): [number, number][] {
  const found: [number, number][] = [];
  let open = false;
  for (let k = 0; k < pixels[0]!.length; k++) {
    const there = pixels.every((p) => !Number.isNaN(p[k]));
    if (there && open) found[found.length - 1]![1] = k;
    else if (there) found.push([k, k]);
    open = there;
  }
  return found;
}

function through(x: Numbers, y: Numbers, from: number, to: number): string {
  const step = from <= to ? 1 : -1;
  const points: string[] = [];
  for (let k = from; k !== to + step; k += step) points.push(`${x[k]} ${y[k]}`);
  return points.join('L');
}

/** Points a few pixels apart on a line, between those of its own that have a place; none on an upright one, which is a cursor. */
export function pointsAlong(x: Numbers, y: Numbers, apart = 4): [number, number][] {
  if (new Set(Array.from(x)).size < 2) return [];
  return runs(x, y).flatMap(([a, b]) => {
    const found: [number, number][] = [];
    for (let k = a; k < b; k++) {
      const [dx, dy] = [x[k + 1]! - x[k]!, y[k + 1]! - y[k]!];
      const steps = Math.max(1, Math.min(1000, Math.ceil(Math.hypot(dx, dy) / apart)));
      for (let i = 0; i < steps; i++) found.push([x[k]! + (i / steps) * dx, y[k]! + (i / steps) * dy]);
    }
    return found;
  });
}

export interface Corner { readonly top: boolean; readonly right: boolean }

/** The corner of a picture in which the fewest points lie, top right before the others; sizes are [width, height]. */
export function roomiestCorner(points: readonly (readonly [number, number])[], [width, height]: Size, [wide, high]: Size): Corner {
  const corners = [true, false].flatMap((top) => [true, false].map((right) => ({ top, right })));
  const crowd = ({ top, right }: Corner) =>
    points.filter(([x, y]) => (right ? width - x : x) < wide && (top ? y : height - y) < high).length;
  const crowds = corners.map(crowd);
  return corners[crowds.indexOf(Math.min(...crowds))]!;
}

type Size = readonly [number, number];

/** A line with gaps; a point between two gaps is a dot, which a round line cap draws. */
export function linePath(x: Numbers, y: Numbers): string {
  return runs(x, y).map(([a, b]) => `M${through(x, y, a, b)}${a === b ? 'h0' : ''}`).join('');
}

/** A dot for every point. */
export function dotsPath(x: Numbers, y: Numbers): string {
  return runs(x, y).map(([a, b]) => `M${through(x, y, a, b).replaceAll('L', 'h0M')}h0`).join('');
}

/** The area between two edges. */
export function bandPath(x: Numbers, lower: Numbers, upper: Numbers): string {
  return runs(x, lower, upper).map(([a, b]) => `M${through(x, lower, a, b)}L${through(x, upper, b, a)}Z`).join('');
}
