// The picture in words: caption, readout and accessible description say the same as the pixels.

import { coordinatesOf, type Field } from './field';
import { decimal, type Frame } from './frame';
import type { Path } from './paths';
import { formatCount, formatNumber } from './ticks';

/** What is drawn, its extremes, how much was measured and how wrong the rest can be. */
export function summary(field: Field): string {
  const { frame } = field;
  const total = frame.nx * frame.ny;
  const parts: string[] = [];
  if (field.argmin < 0) {
    parts.push(`${field.metric}: no value can be drawn`);
  } else {
    const [x, y] = coordinatesOf(frame, field.argmin);
    const scale = field.log ? ' (log scale)' : '';
    if (field.min === field.max) parts.push(`${field.metric}${scale} is ${formatNumber(field.min)} everywhere`);
    else parts.push(
      `${field.metric}${scale} from ${formatNumber(field.min)} at (${formatNumber(x)}, ${formatNumber(y)}) to ${formatNumber(field.max)}`,
    );
  }
  if (field.evaluatedCount === total) {
    parts.push(`all ${formatCount(total)} points measured`);
  } else {
    const share = formatNumber((100 * field.evaluatedCount) / total, 2);
    parts.push(`${formatCount(field.evaluatedCount)} of ${formatCount(total)} points measured (${share} %)`);
    parts.push(field.error === null ? 'interpolation error not known yet' : `interpolation error ${errorText(field)}`);
  }
  return parts.join(' · ');
}

/** The names of the paths drawn over the picture; empty when none has one. */
export function pathsText(paths: readonly Path[]): string {
  const names = paths.map(({ label }) => label).filter(Boolean);
  return names.length ? `${names.length === 1 ? 'path' : 'paths'}: ${names.join(', ')}` : '';
}

/** How many values are missing from the picture and why; empty when none is. */
export function maskedText(field: Field): string {
  const total = formatCount(field.frame.nx * field.frame.ny);
  const parts: string[] = [];
  if (field.notFinite) parts.push(`${formatCount(field.notFinite)} of ${total} values ${field.notFinite === 1 ? 'is' : 'are'} not finite`);
  if (field.notMeasured) parts.push(`${formatCount(field.notMeasured)} of ${total} values ${field.notMeasured === 1 ? 'was' : 'were'} not measured and cannot be interpolated`);
  if (field.notPositive) {
    parts.push(`${formatCount(field.notPositive)} of ${total} values ${field.notPositive === 1 ? 'is' : 'are'} not positive and cannot be drawn on a log scale`);
  }
  return parts.join('; ');
}

function errorText(field: Field): string {
  const range = field.max - field.min;
  const share = range > 0 ? ` (${formatNumber((100 * field.error!) / range, 2)} % of the range)` : '';
  return `at most about ${formatNumber(field.error!, 2)}${share}`;
}

/** One line about a grid point: coordinates, every metric, and whether it was measured. */
export function pointText(frame: Frame, i: number, j: number): { where: string; metrics: [string, string][]; how: string } {
  const k = i * frame.ny + j;
  const where = `${frame.labels[0]} = ${formatNumber(decimal(frame.x[i]!))}, ${frame.labels[1]} = ${formatNumber(decimal(frame.y[j]!))}`;
  const unknown = (v: number) => !frame.evaluated[k] && !Number.isFinite(v);
  const metrics = frame.metrics.map((name, m): [string, string] => {
    const value = frame.values[m]![k]!;
    return [name, unknown(value) ? 'not known' : formatNumber(value, 5)];
  });
  if (frame.evaluated[k]) return { where, metrics, how: 'measured' };
  if (frame.values.every((values) => unknown(values[k]!))) return { where, metrics, how: 'not measured' };
  const known = frame.errors.some((e) => e !== null);
  const single = frame.metrics.length === 1;
  const within = frame.errors.map((e, m) => `${e === null ? 'not known yet' : formatNumber(e, 2)}${single ? '' : ` (${frame.metrics[m]})`}`);
  return { where, metrics, how: known ? `interpolated, within ${within.join(', ')}` : 'interpolated, error not known yet' };
}
