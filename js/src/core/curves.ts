// From numbers to SVG paths. A value without a place on its axis leaves a gap.

type Numbers = ArrayLike<number>;

const FAR = 1e5; // pixels; beyond it a path only has to leave in the right direction

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
