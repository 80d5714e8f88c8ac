// Curves: lines, points and bands over two axes, each linear or logarithmic.

import type { Arrays, Ref } from '../core/arrays';
import { colour, type Fields, fault, flag, list, oneOf, PROSE, record, text, within } from '../core/strict';
import { type Kind, Mixer, range, type Range, reference, type Weighted } from './base';
import { LinePlotView } from './curves/line_plot';

export interface Axes {
  readonly xLabel: string;
  readonly yLabel: string;
  readonly xLog: boolean;
  readonly yLog: boolean;
  /** Whether one unit is as long on both axes. */
  readonly equal: boolean;
  readonly xRange: Range;
  readonly yRange: Range;
  readonly caption: string;
}

export interface Looks {
  readonly label: string;
  readonly color: string;
  readonly style: Style;
  readonly width: number;
  readonly opacity: number;
}

export type Style = (typeof STYLES)[number];
const STYLES = ['solid', 'dashed', 'points', 'band'] as const;

interface Curves extends Axes {
  readonly series: readonly (Looks & { readonly x: Ref; readonly y: Ref })[];
}

export interface Curve extends Looks {
  readonly x: Float32Array;
  /** Of a band: all of its lower edge, then all of its upper one. */
  readonly y: Float32Array;
}

export interface Drawing extends Axes {
  readonly curves: readonly Curve[];
}

export const curves: Kind<Curves, Drawing> = {
  name: 'curves',

  read(raw, at, arrays) {
    const [xLog, yLog, equal] = [flag(raw.x_log, `${at}.x_log`), flag(raw.y_log, `${at}.y_log`), flag(raw.equal, `${at}.equal`)];
    if (equal && (xLog || yLog)) fault(`${at}.equal`, 'be false on a log scale', 'true');
    return {
      xLabel: text(raw.x, `${at}.x`),
      yLabel: text(raw.y, `${at}.y`),
      xLog,
      yLog,
      equal,
      xRange: range(raw.x_range, `${at}.x_range`, xLog),
      yRange: range(raw.y_range, `${at}.y_range`, yLog),
      caption: text(raw.caption, `${at}.caption`, PROSE),
      series: list(raw.series, `${at}.series`).map((one, k) => readSeries(record(one, `${at}.series[${k}]`), `${at}.series[${k}]`, arrays)),
    };
  },

  // Coordinates and ranges are mixed, all else is of the nearest picture.
  mix(arrays, near, parts) {
    const used = alike(arrays, near, parts) ? parts : [{ picture: near, weight: 1 }];
    const mixer = new Mixer(arrays, used);
    const mixed = (of: (picture: Curves) => Range): Range => [mixer.number((picture) => of(picture)[0]), mixer.number((picture) => of(picture)[1])];
    const { series, ...axes } = near;
    const words = ({ caption, series }: Curves) => JSON.stringify([caption, series.map(({ label }) => label)]);
    const noun = series.length ? ['curves'] : [];
    return {
      ...axes,
      xRange: mixed(({ xRange }) => xRange),
      yRange: mixed(({ yRange }) => yRange),
      curves: series.map((one, k) => ({
        ...one, x: mixer.floats(({ series }) => series[k]!.x), y: mixer.floats(({ series }) => series[k]!.y),
      })),
      mixed: used.length > 1 ? noun : [],
      kept: [...(used.length < parts.length ? noun : []), ...(parts.some(({ picture }) => words(picture) !== words(near)) ? ['words'] : [])],
    };
  },

  mount(place) {
    const view = new LinePlotView(place);
    return { el: place, show: (drawing) => view.show(drawing), dispose: () => view.dispose() };
  },
};

/** Whether curves belong to each other, one by one and point by point. */
function alike(arrays: Arrays, near: Curves, parts: readonly Weighted<Curves>[]): boolean {
  const kind = ({ xLog, yLog, series }: Curves) => JSON.stringify([xLog, yLog, series.map(({ style, x }) => [style, arrays.shape(x)])]);
  return parts.every(({ picture }) => kind(picture) === kind(near));
}

function readSeries(r: Fields, at: string, arrays: Arrays): Curves['series'][number] {
  const style = oneOf(r.style ?? 'solid', `${at}.style`, STYLES);
  const x = reference(r.x, `${at}.x`, [null], arrays);
  const n = arrays.shape(x)[0]!;
  return {
    x,
    y: reference(r.y, `${at}.y`, style === 'band' ? [2, n] : [n], arrays),
    label: text(r.label, `${at}.label`),
    color: colour(r.color, `${at}.color`, '#0072B2'),
    style,
    width: within(r.width, `${at}.width`, 0, 100, 2),
    opacity: within(r.opacity, `${at}.opacity`, 0, 1, 1),
  };
}
