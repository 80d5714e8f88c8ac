// The picture in words: caption, readout and accessible description say the same as the pixels.

import type { Field } from './field';
import { type Axes, type Frame, nameOf, unitPoint } from './frame';
import type { Marker } from './pane';
import { farOff, isInside, leaves, type Path } from './paths';
import { formatCount, formatNumber } from '../../core/ticks';

/** What is drawn, its extremes, how much was measured and how wrong the rest can be. */
export function summary(field: Field): string {
  const { frame } = field;
  const total = frame.nx * frame.ny;
  const noun = frame.names ? 'cells' : 'points';
  const parts: string[] = [];
  if (field.argmin < 0) {
    parts.push(`${field.metric}: no value can be drawn`);
  } else {
    const at = [Math.floor(field.argmin / frame.ny), field.argmin % frame.ny].map((k, axis) => nameOf(frame, axis as 0 | 1, k, formatNumber));
    const scale = field.log ? ' (log scale)' : '';
    if (field.min === field.max) parts.push(`${field.metric}${scale} is ${formatNumber(field.min)} everywhere`);
    else parts.push(
      `${field.metric}${scale} from ${formatNumber(field.min)} at (${at.join(', ')}) to ${formatNumber(field.max)}`,
    );
  }
  if (field.evaluatedCount === total) {
    parts.push(`all ${formatCount(total)} ${noun} measured`);
  } else {
    const share = formatNumber((100 * field.evaluatedCount) / total, 2);
    parts.push(`${formatCount(field.evaluatedCount)} of ${formatCount(total)} ${noun} measured (${share} %)`);
    parts.push(field.error === null ? 'interpolation error not known yet' : `interpolation error ${errorText(field)}`);
  }
  return parts.join(' · ');
}

/** The names of the paths drawn over the picture; empty when none has one. */
export function pathsText(paths: readonly Path[]): string {
  const names = paths.map(({ label }) => label).filter(Boolean);
  return names.length ? `${names.length === 1 ? 'path' : 'paths'}: ${names.join(', ')}` : '';
}

/** What of the paths and markers is not to be seen in the picture, or not as it lies. */
export function outsideText(paths: readonly Path[], markers: readonly Marker[], frame: Axes): string[] {
  const parts: string[] = [];
  for (const path of paths) {
    const out = leaves(path, frame);
    const name = path.label ? `path “${path.label}”` : 'a path';
    if (out) parts.push(`${name} leaves the picture at (${out.map((v) => formatNumber(v, 3)).join(', ')})`);
    else if (out === undefined && path.x.length) parts.push(`${name} lies outside the picture`);
    const limit = farOff(path);
    if (limit !== null && Array.from(path.residual!).some((r) => r > limit)) {
      parts.push(`${name} is dashed where it is more than ${formatNumber(limit, 2)} off the plane`);
    }
  }
  const gone = markers.filter(({ x, y }) => !isInside(unitPoint(frame, x, y))).length;
  if (gone) parts.push(`${gone} of ${markers.length} markers ${gone === 1 ? 'lies' : 'lie'} outside the picture`);
  return parts;
}

/** What is known of a point of a path. */
export function pathPointText({ label, time, loss, residual }: Path, k: number): string {
  const told = [
    time && `at time ${formatNumber(time[k]!)}`, loss && `loss ${formatNumber(loss[k]!, 5)}`, residual && `${formatNumber(residual[k]!, 3)} off the plane`,
  ].filter(Boolean);
  return `${label || 'path'}: ${told.join(', ')}`;
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
  const where = `${frame.labels[0]} = ${nameOf(frame, 0, i, formatNumber)}, ${frame.labels[1]} = ${nameOf(frame, 1, j, formatNumber)}`;
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
