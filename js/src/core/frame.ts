// A frame: everything one picture needs, as it crosses from Python in a single atomic value.
//
// Grids are 'ij': value (i, j) belongs to x[i], y[j] and sits at index i * ny + j of its metric.

export interface Frame {
  readonly nx: number;
  readonly ny: number;
  readonly x: Float32Array;
  readonly y: Float32Array;
  readonly labels: readonly [string, string];
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

/** A frame that breaks the rules. Its message is meant for the reader of the page. */
export class FrameError extends Error {}

const MAX_CELLS = 1 << 24;

/** A frame without its grids. */
export type FrameHead = Omit<Frame, 'x' | 'y' | 'values' | 'evaluated'>;

/**
 * Check a raw frame and give it types.
 *
 * @throws FrameError naming the field, the rule and what came instead; shapes are checked before anything is allocated.
 */
export function decodeFrame(raw: unknown): Frame {
  const head = decodeHead(raw);
  const { nx, ny, metrics } = head;
  const r = raw as Record<string, unknown>;
  const x = increasing(floats(r.x, nx, 'x'), 'x');
  const y = increasing(floats(r.y, ny, 'y'), 'y');
  const all = floats(r.values, metrics.length * nx * ny, 'values');
  const evaluated = bytes(r.evaluated, nx * ny, 'evaluated');
  return { ...head, x, y, values: metrics.map((_, m) => all.subarray(m * nx * ny, (m + 1) * nx * ny)), evaluated };
}

/** The part of `decodeFrame` that needs no binary field. */
export function decodeHead(raw: unknown): FrameHead {
  if (typeof raw !== 'object' || raw === null) fail('frame', 'be an object', typeof raw);
  const r = raw as Record<string, unknown>;

  const shape = r.shape;
  if (!Array.isArray(shape) || shape.length !== 2 || !shape.every((n) => Number.isInteger(n) && n >= 2)) {
    fail('shape', 'be two whole numbers of at least 2', JSON.stringify(shape));
  }
  const [nx, ny] = shape as [number, number];
  if (nx * ny > MAX_CELLS) fail('shape', `hold at most ${MAX_CELLS} points`, `${nx} x ${ny}`);

  const metrics = strings(r.metrics, 'metrics');
  if (!metrics.length) fail('metrics', 'name at least one metric', 'none');
  const labels = strings(r.labels ?? ['x', 'y'], 'labels');
  if (labels.length !== 2) fail('labels', 'be two strings', `${labels.length}`);
  const metric = String(r.metric ?? metrics[0]);
  if (!metrics.includes(metric)) fail('metric', `be one of ${metrics.join(', ')}`, metric);

  const errors = r.errors ?? metrics.map(() => null);
  if (!Array.isArray(errors) || errors.length !== metrics.length) {
    fail('errors', `hold one number or null for each of the ${metrics.length} metrics`, JSON.stringify(errors));
  }

  return {
    nx,
    ny,
    labels: labels as [string, string],
    metrics,
    errors: errors.map((e) => (typeof e === 'number' && Number.isFinite(e) ? e : null)),
    metric,
    log: r.log === true,
    colormap: typeof r.colormap === 'string' ? r.colormap : 'viridis',
    final: r.final !== false,
    tag: typeof r.tag === 'number' ? r.tag : 0,
  };
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

function fail(field: string, rule: string, got: string): never {
  throw new FrameError(`frame: ${field} must ${rule}, got ${got}.`);
}

function strings(value: unknown, field: string): string[] {
  if (!Array.isArray(value) || !value.every((v) => typeof v === 'string')) fail(field, 'be a list of strings', JSON.stringify(value));
  return value as string[];
}

function bytes(value: unknown, length: number, field: string): Uint8Array {
  let view: Uint8Array;
  if (value instanceof ArrayBuffer) view = new Uint8Array(value);
  else if (ArrayBuffer.isView(value)) view = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  else fail(field, 'be binary', typeof value);
  if (view.byteLength !== length) fail(field, `be ${length} bytes long for this shape`, `${view.byteLength}`);
  return view;
}

function floats(value: unknown, count: number, field: string): Float32Array {
  let view = bytes(value, 4 * count, field);
  // A buffer of a message may start anywhere; Float32Array wants a multiple of four.
  if (view.byteOffset % 4) view = view.slice();
  return new Float32Array(view.buffer as ArrayBuffer, view.byteOffset, count);
}

/** @throws FrameError unless the coordinates are finite and strictly increasing. */
export function increasing(values: Float32Array, field: string): Float32Array {
  for (let k = 0; k < values.length; k++) {
    if (!Number.isFinite(values[k]) || (k > 0 && values[k]! <= values[k - 1]!)) {
      fail(field, 'be finite and strictly increasing', `${values[k]} at index ${k}`);
    }
  }
  return values;
}
