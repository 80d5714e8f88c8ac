// A saved landscape (lwidgets/landscape.py: save) as a companion document of one picture.

import { bytesOf } from './arrays';
import { fault, finite, flag, list, record, refuse, text, whole } from './strict';
import { formatCount, formatNumber } from './ticks';

const MAX_POINTS = 1 << 24;
const BLUE = '#0072B2';

interface Axis {
  readonly name: string;
  readonly label: string;
  readonly coords: Float64Array;
}

interface Metric {
  readonly name: string;
  readonly values: Float64Array;
  readonly error: number;
}

/**
 * A parsed `*.landscape.json` as a companion document: a surface of two axes, or a curve of one.
 *
 * The digest is not checked. Numbers are rounded to float32.
 *
 * @throws CompanionError naming the place, the rule and what came instead.
 */
export function landscapeDocument(json: unknown): unknown {
  const r = record(json, 'landscape');
  if (r.format !== 'lwidgets.landscape') refuse('format', 'be "lwidgets.landscape"', r.format);
  if (r.version !== 1) refuse('version', 'be 1; update lwidgets to open this file', r.version);
  const shape = list(r.shape, 'shape').map((n, k) => whole(n, `shape[${k}]`, MAX_POINTS + 1));
  if (shape.length !== 1 && shape.length !== 2) refuse('shape', 'have one or two axes', shape.length);
  const count = shape.reduce((a, b) => a * b, 1);
  if (count > MAX_POINTS || shape.some((n) => n < 2)) {
    fault('shape', `hold 2 or more points an axis, and at most ${MAX_POINTS} in all`, shape.join(' x '));
  }
  const axes = list(r.axes, 'axes', shape.length).map((one, k): Axis => {
    const axis = record(one, `axes[${k}]`);
    const name = text(axis.name, `axes[${k}].name`);
    return { name, label: text(axis.label, `axes[${k}].label`) || name, coords: doubles(axis.coords, shape[k]!, `axes[${k}].coords`) };
  });
  const metrics = list(r.metrics, 'metrics').map((one, k): Metric => {
    const metric = record(one, `metrics[${k}]`);
    return {
      name: text(metric.name, `metrics[${k}].name`),
      values: doubles(metric.values, count, `metrics[${k}].values`),
      error: doubles(metric.error, 1, `metrics[${k}].error`)[0]!,
    };
  });
  if (!metrics.length) fault('metrics', 'name at least one metric', 'none');
  const evaluated = unpack(r.evaluated, count, 'evaluated').map((byte) => (byte ? 1 : 0));
  const evaluations = finite(r.evaluations, 'evaluations');
  const table = new Table();
  const [kind, picture] = shape.length === 2
    ? (['height_field', surface(axes, metrics, evaluated, flag(r.final, 'final'), shape, table)] as const)
    : (['line_plot', curve(axes[0]!, metrics[0]!, evaluated, table)] as const);
  const title = `${metrics[0]!.name} over ${axes.map(({ label }) => label).join(' and ')}`;
  return {
    format: 'lwidgets.companion', version: 1, title,
    studies: [{
      title, source: '', sliders: [], fixed: [{ label: 'evaluations', value: formatCount(evaluations) }],
      views: [{ kind }], frames: [[0]], pictures: [picture],
    }],
    arrays: table.specs,
    data: table.data(),
  };
}

function surface(axes: readonly Axis[], metrics: readonly Metric[], evaluated: Uint8Array, final: boolean, shape: readonly number[], table: Table) {
  return {
    frame: {
      shape,
      x: table.floats(axes[0]!.coords, [shape[0]!]),
      y: table.floats(axes[1]!.coords, [shape[1]!]),
      labels: axes.map(({ label }) => label),
      metrics: metrics.map(({ name }) => name),
      values: { arrays: metrics.map(({ values }) => table.floats(values, shape).array) },
      evaluated: table.bytes(evaluated, shape),
      errors: metrics.map(({ error }) => (Number.isFinite(error) ? error : null)),
      metric: metrics[0]!.name, log: false, colormap: 'viridis', final, tag: 0,
    },
    markers: [],
    paths: [],
    description: `Landscape of the ${metrics[0]!.name}`,
  };
}

function curve({ coords, label }: Axis, { name, values, error }: Metric, evaluated: Uint8Array, table: Table) {
  const drawn = values.filter(Number.isFinite);
  const measured = [...evaluated.keys()].filter((k) => evaluated[k]);
  const series = (x: Float64Array, y: Float64Array, style: string, width: number) => ({
    x: table.floats(x, [x.length]), y: table.floats(y, [y.length]), label: '', color: BLUE, style, width, opacity: 1,
  });
  const low = drawn.reduce((a, b) => Math.min(a, b), Infinity);
  const high = drawn.reduce((a, b) => Math.max(a, b), -Infinity);
  const range = drawn.length ? `${name} from ${formatNumber(low)} to ${formatNumber(high)}` : `${name}: no value can be drawn`;
  const missing = [...values.keys()].filter((k) => !Number.isFinite(values[k]!));
  const unknown = missing.filter((k) => !evaluated[k]).length;
  const all = measured.length === values.length;
  return {
    x_label: label, y_label: name, log: false,
    x_range: padded(coords[0]!, coords[coords.length - 1]!),
    y_range: drawn.length ? padded(low, high) : [0, 1],
    caption: [
      range,
      all ? `all ${formatCount(values.length)} points measured` : `${formatCount(measured.length)} of ${formatCount(values.length)} points measured`,
      all ? '' : Number.isFinite(error) ? `interpolation error at most about ${formatNumber(error, 2)}` : 'interpolation error not known yet',
      missing.length > unknown ? `${formatCount(missing.length - unknown)} not finite` : '',
      unknown ? `${formatCount(unknown)} not measured and without a value` : '',
    ].filter(Boolean).join(' · '),
    series: [
      series(coords, values, 'solid', 2),
      series(Float64Array.from(measured, (k) => coords[k]!), Float64Array.from(measured, (k) => values[k]!), 'points', 1.5),
    ],
  };
}

/** A little wider than the data, as the notebook draws it. */
function padded(low: number, high: number): [number, number] {
  const room = 0.03 * (high - low) || 0.05 * Math.abs(high) || 0.5;
  return [low - room, high + room];
}

/** Collects arrays for a document, uncompressed: it stays in memory. */
class Table {
  readonly specs: object[] = [];
  private readonly parts: Uint8Array[] = [];

  floats(values: Float64Array, shape: readonly number[]): { array: number } {
    return this.add('f4', new Uint8Array(Float32Array.from(values).buffer), shape);
  }

  bytes(values: Uint8Array, shape: readonly number[]): { array: number } {
    return this.add('u1', values, shape);
  }

  /** Base64 of a zlib stream of stored blocks (RFC 1950 and 1951). */
  data(): string {
    const bytes = new Uint8Array(this.parts.reduce((n, part) => n + part.length, 0));
    let at = 0;
    for (const part of this.parts) {
      bytes.set(part, at);
      at += part.length;
    }
    const blocks: Uint8Array[] = [Uint8Array.of(0x78, 0x01)];
    for (let k = 0; k < bytes.length; k += 0xffff) {
      const block = bytes.subarray(k, k + 0xffff);
      const n = block.length;
      blocks.push(Uint8Array.of(k + n < bytes.length ? 0 : 1, n & 255, n >> 8, ~n & 255, (~n >> 8) & 255), block);
    }
    const sum = adler32(bytes);
    blocks.push(Uint8Array.of(sum >>> 24, (sum >>> 16) & 255, (sum >>> 8) & 255, sum & 255));
    const letters = blocks.map((block) => {
      let out = '';
      for (let k = 0; k < block.length; k += 0x2000) out += String.fromCharCode(...block.subarray(k, k + 0x2000));
      return out;
    });
    return btoa(letters.join(''));
  }

  private add(coding: string, bytes: Uint8Array, shape: readonly number[]): { array: number } {
    this.parts.push(bytes);
    this.specs.push({ coding, shape, low: 0, high: 0, base: null });
    return { array: this.specs.length - 1 };
  }
}

function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return ((b << 16) | a) >>> 0;
}

function doubles(value: unknown, count: number, where: string): Float64Array {
  return new Float64Array(unpack(value, 8 * count, where).buffer);
}

function unpack(value: unknown, length: number, where: string): Uint8Array<ArrayBuffer> {
  if (typeof value !== 'string') refuse(where, 'be text in base64', value);
  // Told from its length, before anything is decoded.
  if (value.length !== 4 * Math.ceil(length / 3)) fault(where, `hold ${length} bytes for this shape`, `${value.length} characters of base64`);
  const bytes = bytesOf(value, where);
  return bytes.length === length ? bytes : fault(where, `hold ${length} bytes for this shape`, String(bytes.length));
}
