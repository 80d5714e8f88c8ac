// A saved landscape (lwidgets/landscape.py: save) as a companion of one picture.

import { bytesOf, type Sent, SentArrays } from '../core/arrays';
import { fault, type Fields, finite, flag, list, record, refuse, text, whole } from '../core/strict';
import { formatCount, formatNumber } from '../core/ticks';
import { curves } from '../pictures/curves';
import { surface } from '../pictures/surface';
import { Recorded } from './frames';
import type { Companion } from './read';

const MAX_POINTS = 1 << 24;

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
 * A parsed `*.landscape.json` as a companion: a surface of two axes, or a curve of one.
 *
 * The digest is not checked. Numbers are rounded to float32.
 *
 * @throws CompanionError naming the place, the rule and what came instead.
 */
export function landscapeCompanion(json: unknown): Companion {
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
  const [kind, raw, sent] = shape.length === 2
    ? ([surface, ...surfaceOf(axes, metrics, evaluated, flag(r.final, 'final'), shape)] as const)
    : ([curves, ...curveOf(axes[0]!, metrics[0]!, evaluated)] as const);
  const arrays = new SentArrays(new Map(sent.entries()));
  const title = `${metrics[0]!.name} over ${axes.map(({ label }) => label).join(' and ')}`;
  const picture = kind.read(record(raw, 'landscape'), 'landscape', arrays);
  const study = {
    title, claim: '', source: '', limits: '', citation: '', sliders: [], fixed: [{ label: 'evaluations', value: formatCount(evaluations) }],
    panels: [{ name: '', kind, beside: '' }], frames: new Recorded([], [[{ index: 0, picture }]]), checks: [],
  };
  return { title, studies: [study], arrays };
}

/** A picture, and the arrays that it names by their index. */
type Made = [Fields, Sent[]];

function surfaceOf(axes: readonly Axis[], metrics: readonly Metric[], evaluated: Uint8Array, final: boolean, shape: readonly number[]): Made {
  const sent: Sent[] = [...axes.map(({ coords }) => floats(coords)), { data: evaluated, shape }, ...metrics.map(({ values }) => floats(values, shape))];
  const picture = {
    shape,
    x: { array: 0 },
    y: { array: 1 },
    evaluated: { array: 2 },
    values: { arrays: metrics.map((_, m) => 3 + m) },
    labels: axes.map(({ label }) => label),
    metrics: metrics.map(({ name }) => name),
    errors: metrics.map(({ error }) => (Number.isFinite(error) ? error : null)),
    final,
    description: `Landscape of the ${metrics[0]!.name}`,
  };
  return [picture, sent];
}

function curveOf({ coords, label }: Axis, { name, values, error }: Metric, evaluated: Uint8Array): Made {
  const drawn = values.filter(Number.isFinite);
  const measured = [...evaluated.keys()].filter((k) => evaluated[k]);
  const sent = [
    floats(coords), floats(values), floats(Float64Array.from(measured, (k) => coords[k]!)), floats(Float64Array.from(measured, (k) => values[k]!)),
  ];
  const low = drawn.reduce((a, b) => Math.min(a, b), Infinity);
  const high = drawn.reduce((a, b) => Math.max(a, b), -Infinity);
  const range = drawn.length ? `${name} from ${formatNumber(low)} to ${formatNumber(high)}` : `${name}: no value can be drawn`;
  const missing = [...values.keys()].filter((k) => !Number.isFinite(values[k]!));
  const unknown = missing.filter((k) => !evaluated[k]).length;
  const all = measured.length === values.length;
  const picture = {
    x: label,
    y: name,
    x_range: padded(coords[0]!, coords[coords.length - 1]!),
    y_range: drawn.length ? padded(low, high) : [0, 1],
    caption: [
      range,
      all ? `all ${formatCount(values.length)} points measured` : `${formatCount(measured.length)} of ${formatCount(values.length)} points measured`,
      all ? '' : Number.isFinite(error) ? `interpolation error at most about ${formatNumber(error, 2)}` : 'interpolation error not known yet',
      missing.length > unknown ? `${formatCount(missing.length - unknown)} not finite` : '',
      unknown ? `${formatCount(unknown)} not measured and without a value` : '',
    ].filter(Boolean).join(' · '),
    series: [{ x: { array: 0 }, y: { array: 1 } }, { x: { array: 2 }, y: { array: 3 }, style: 'points', width: 1.5 }],
  };
  return [picture, sent];
}

function floats(values: Float64Array, shape: readonly number[] = [values.length]): Sent {
  return { data: Float32Array.from(values), shape };
}

/** A little wider than the data, as the notebook draws it. */
function padded(low: number, high: number): [number, number] {
  const room = 0.03 * (high - low) || 0.05 * Math.abs(high) || 0.5;
  return [low - room, high + room];
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
