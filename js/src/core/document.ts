// A companion document, checked and typed: what the views of studies show at every position of their sliders.

import { type Arrays, decodeArrays } from './arrays';
import type { Orbit } from './camera';
import { decodeHead, type FrameHead, FrameError, increasing } from './frame';
import type { Marker } from './pane';
import type { Path } from './paths';
import {
  clip, CompanionError, fault, type Fields, finite, flag, list, oneOf, record, refuse, text, whole, within,
} from './strict';

/** Index of an array in the table of the document. */
export type Ref = number;

export interface Companion {
  readonly title: string;
  readonly studies: readonly Study[];
  readonly arrays: Arrays;
}

export interface Study {
  readonly title: string;
  readonly source: string;
  readonly sliders: readonly Slider[];
  readonly fixed: readonly { readonly label: string; readonly value: string }[];
  readonly views: readonly ViewKind[];
  /** For each combination of positions, the last slider fastest, a picture for each view; null where it shows nothing. */
  readonly frames: readonly (readonly (Picture | null)[])[];
}

export type SliderKind = 'integer' | 'number' | 'pair' | 'choice' | 'toggle';

export interface Slider {
  readonly name: string;
  readonly label: string;
  readonly kind: SliderKind;
  readonly positions: readonly unknown[];
  readonly start: number;
  /** Whether it stops between positions. */
  readonly continuous: boolean;
  readonly help: string;
}

export type ViewKind = 'height_field' | 'line_plot' | 'text';
export type Picture = HeightPicture | LinePicture | TextPicture;

export interface HeightPicture {
  readonly kind: 'height_field';
  readonly head: FrameHead;
  readonly x: Ref;
  readonly y: Ref;
  readonly values: readonly Ref[];
  readonly evaluated: Ref;
  readonly markers: readonly Marker[];
  readonly paths: readonly (PathLooks & { readonly x: Ref; readonly y: Ref })[];
  readonly description: string;
  readonly panes: readonly string[];
  readonly camera: Partial<Orbit>;
  readonly showPoints: boolean;
  readonly contours: number;
}

export type PathLooks = Omit<Path, 'x' | 'y'>;

export type Range = readonly [number, number];

export interface LineAxes {
  readonly xLabel: string;
  readonly yLabel: string;
  readonly log: boolean;
  readonly xRange: Range;
  readonly yRange: Range;
  readonly caption: string;
}

export interface LineLooks {
  readonly label: string;
  readonly color: string;
  readonly style: LineStyle;
  readonly width: number;
  readonly opacity: number;
}

export type LineStyle = 'solid' | 'dashed' | 'points' | 'band';

export interface LinePicture extends LineAxes {
  readonly kind: 'line_plot';
  /** Among the pictures of its study. */
  readonly index: number;
  readonly series: readonly (LineLooks & { readonly x: Ref; readonly y: Ref })[];
}

export interface TextPicture {
  readonly kind: 'text';
  readonly text: string;
}

const KINDS: readonly SliderKind[] = ['integer', 'number', 'pair', 'choice', 'toggle'];
const VIEWS: readonly ViewKind[] = ['height_field', 'line_plot', 'text'];
const STYLES: readonly LineStyle[] = ['solid', 'dashed', 'points', 'band'];
const COLOR = /^(#[0-9a-f]{3,8}|[a-z]{1,30})$/i;
const PROSE = 10_000;
const MAX_FRAMES = 1_000_000;

/** @throws CompanionError naming the place, the rule and what came instead. */
export async function decodeCompanion(document: unknown): Promise<Companion> {
  const r = record(document, 'document');
  if (r.format !== 'lwidgets.companion') refuse('format', 'be "lwidgets.companion"', r.format);
  if (r.version !== 1) refuse('version', 'be 1; this page is older than the document or the document is damaged', r.version);
  const raw = list(r.studies, 'studies');
  if (!raw.length) fault('studies', 'hold at least one study', 'none');
  const arrays = await decodeArrays(r.arrays, r.data);
  const axes = new Map<Ref, true>();
  const studies = raw.map((study, k) => readStudy(study, raw.length === 1 ? '' : `studies[${k}].`, arrays, axes));
  return { title: text(r.title, 'title'), studies, arrays };
}

function readStudy(raw: unknown, at: string, arrays: Arrays, axes: Map<Ref, true>): Study {
  const r = record(raw, at ? at.slice(0, -1) : 'study');
  const sliders = list(r.sliders, `${at}sliders`).map((slider, k) => readSlider(slider, `${at}sliders[${k}]`));
  const views = list(r.views, `${at}views`).map((view, k) => oneOf(record(view, `${at}views[${k}]`).kind, `${at}views[${k}].kind`, VIEWS));
  const total = sliders.reduce((n, slider) => n * slider.positions.length, 1);
  if (total > MAX_FRAMES) refuse(`${at}sliders`, `have at most ${MAX_FRAMES} combinations of positions`, total);
  const rawPictures = list(r.pictures, `${at}pictures`);
  const pictures = new Map<string, Picture>();
  // A picture is checked once for each kind of view that shows it.
  const picture = (index: number, kind: ViewKind) => {
    const key = `${kind} ${index}`;
    let found = pictures.get(key);
    if (!found) pictures.set(key, (found = readPicture(rawPictures[index], kind, index, `${at}pictures[${index}]`, arrays, axes)));
    return found;
  };
  const frames = list(r.frames, `${at}frames`, total).map((frame, f) =>
    list(frame, `${at}frames[${f}]`, views.length).map((index, v) =>
      index === null ? null : picture(whole(index, `${at}frames[${f}][${v}]`, rawPictures.length), views[v]!)));
  return {
    title: text(r.title, `${at}title`),
    source: text(r.source, `${at}source`, PROSE),
    sliders,
    fixed: list(r.fixed ?? [], `${at}fixed`).map((one, k) => {
      const { label, value } = record(one, `${at}fixed[${k}]`);
      return { label: text(label, `${at}fixed[${k}].label`), value: text(value, `${at}fixed[${k}].value`) };
    }),
    views,
    frames,
  };
}

function readSlider(raw: unknown, at: string): Slider {
  const r = record(raw, at);
  const kind = oneOf(r.kind, `${at}.kind`, KINDS);
  const positions = list(r.positions, `${at}.positions`);
  if (!positions.length) fault(`${at}.positions`, 'hold at least one position', 'none');
  positions.forEach((value, k) => checkPosition(value, kind, `${at}.positions[${k}]`));
  const between = oneOf(r.between ?? 'snap', `${at}.between`, ['snap', 'interpolate']);
  const name = text(r.name, `${at}.name`);
  return {
    name,
    label: text(r.label, `${at}.label`) || name,
    kind,
    positions,
    start: whole(r.start, `${at}.start`, positions.length),
    continuous: kind === 'number' && between === 'interpolate' && positions.length > 1,
    help: text(r.help, `${at}.help`, PROSE),
  };
}

function checkPosition(value: unknown, kind: SliderKind, at: string): void {
  if (kind === 'pair') list(value, at, 2).forEach((end, k) => finite(end, `${at}[${k}]`));
  else if (kind === 'toggle') {
    if (typeof value !== 'boolean') refuse(at, 'be true or false', value);
  } else if (kind !== 'choice') finite(value, at);
}

function readPicture(raw: unknown, kind: ViewKind, index: number, at: string, arrays: Arrays, axes: Map<Ref, true>): Picture {
  const r = record(raw, at);
  if (kind === 'text') return { kind, text: text(r.text, `${at}.text`, PROSE) };
  return kind === 'line_plot' ? readLinePicture(r, index, at, arrays) : readHeightPicture(r, at, arrays, axes);
}

function readHeightPicture(r: Fields, at: string, arrays: Arrays, axes: Map<Ref, true>): HeightPicture {
  const frame = record(r.frame, `${at}.frame`);
  const head = told(`${at}.frame`, () => decodeHead(frame));
  const axis = (name: 'x' | 'y', n: number) => {
    const where = `${at}.frame.${name}`;
    const ref = reference(frame[name], where, [n], arrays);
    if (!axes.has(ref)) told(`${at}.frame`, () => increasing(arrays.floats(ref), name));
    axes.set(ref, true);
    return ref;
  };
  const grid = [head.nx, head.ny];
  const where = `${at}.frame.values`;
  const values = list(record(frame.values, where).arrays, `${where}.arrays`, head.metrics.length);
  return {
    kind: 'height_field',
    head: {
      ...head,
      metric: clip(head.metric),
      metrics: head.metrics.map((name) => clip(name)),
      labels: [clip(head.labels[0]), clip(head.labels[1])],
    },
    x: axis('x', head.nx),
    y: axis('y', head.ny),
    values: values.map((index, m) => reference({ array: index }, `${where}[${m}]`, grid, arrays)),
    evaluated: reference(frame.evaluated, `${at}.frame.evaluated`, grid, arrays, true),
    markers: list(r.markers ?? [], `${at}.markers`).map((one, k) => {
      const { x, y, label } = record(one, `${at}.markers[${k}]`);
      return {
        x: finite(x, `${at}.markers[${k}].x`), y: finite(y, `${at}.markers[${k}].y`), label: text(label, `${at}.markers[${k}].label`),
      };
    }),
    paths: list(r.paths ?? [], `${at}.paths`).map((one, k) => readPath(one, `${at}.paths[${k}]`, arrays)),
    description: text(r.description, `${at}.description`),
    panes: list(r.panes ?? ['map', 'surface'], `${at}.panes`).map((pane, k) => oneOf(pane, `${at}.panes[${k}]`, ['map', 'surface'])),
    camera: readCamera(r.camera, `${at}.camera`),
    showPoints: flag(r.show_points, `${at}.show_points`),
    contours: within(r.contours, `${at}.contours`, 0, 40, 12),
  };
}

function readPath(raw: unknown, at: string, arrays: Arrays): HeightPicture['paths'][number] {
  const r = record(raw, at);
  const color = text(r.color, `${at}.color`);
  if (!/^#[0-9a-f]{6}$/i.test(color)) refuse(`${at}.color`, 'be a colour such as #0072b2', color);
  const x = reference(r.x, `${at}.x`, [null], arrays);
  return {
    x,
    y: reference(r.y, `${at}.y`, arrays.shape(x), arrays),
    label: text(r.label, `${at}.label`),
    color,
    dashed: flag(r.dashed, `${at}.dashed`),
  };
}

function readCamera(raw: unknown, at: string): Partial<Orbit> {
  if (raw === undefined) return {};
  const r = record(raw, at);
  const given = (['yaw', 'pitch', 'zoom'] as const).filter((name) => r[name] !== undefined);
  return Object.fromEntries(given.map((name) => [name, finite(r[name], `${at}.${name}`)]));
}

function readLinePicture(r: Fields, index: number, at: string, arrays: Arrays): LinePicture {
  const log = flag(r.log, `${at}.log`);
  return {
    kind: 'line_plot',
    index,
    xLabel: text(r.x_label, `${at}.x_label`),
    yLabel: text(r.y_label, `${at}.y_label`),
    log,
    xRange: readRange(r.x_range, `${at}.x_range`, false),
    yRange: readRange(r.y_range, `${at}.y_range`, log),
    caption: text(r.caption, `${at}.caption`, PROSE),
    series: list(r.series, `${at}.series`).map((one, k) => readSeries(one, `${at}.series[${k}]`, arrays)),
  };
}

function readSeries(raw: unknown, at: string, arrays: Arrays): LinePicture['series'][number] {
  const r = record(raw, at);
  const style = oneOf(r.style ?? 'solid', `${at}.style`, STYLES);
  const color = text(r.color, `${at}.color`) || '#0072B2';
  if (!COLOR.test(color)) refuse(`${at}.color`, 'be a colour such as #0072B2', color);
  const x = reference(r.x, `${at}.x`, [null], arrays);
  const n = arrays.shape(x)[0]!;
  return {
    x,
    y: reference(r.y, `${at}.y`, style === 'band' ? [2, n] : [n], arrays),
    label: text(r.label, `${at}.label`),
    color,
    style,
    width: within(r.width, `${at}.width`, 0, 100, 2),
    opacity: within(r.opacity, `${at}.opacity`, 0, 1, 1),
  };
}

function readRange(raw: unknown, at: string, log: boolean): Range {
  const [low, high] = list(raw, at, 2).map((end, k) => finite(end, `${at}[${k}]`)) as [number, number];
  if (!(low < high) || !Number.isFinite(high - low)) fault(at, 'increase', `${low}, ${high}`);
  if (log && low <= 0) refuse(at, 'be positive on a log scale', low);
  return [low, high];
}

/** The index in {"array": index}, once the array is of the shape (null: any length) and coding that its place asks for. */
function reference(raw: unknown, at: string, shape: readonly (number | null)[], arrays: Arrays, bytes = false): Ref {
  const ref = whole(record(raw, at).array, `${at}.array`, arrays.length);
  const own = arrays.shape(ref);
  if (own.length !== shape.length || shape.some((n, axis) => n !== null && n !== own[axis])) {
    fault(at, `have shape [${shape.map((n) => n ?? 'n').join(', ')}]`, `[${own.join(', ')}]`);
  }
  if ((arrays.coding(ref) === 'u1') !== bytes) refuse(at, bytes ? 'be bytes, of coding u1' : 'be numbers, of coding f4, q2 or l2', arrays.coding(ref));
  return ref;
}

/** Run a check of frames, and say of its fault where it is. */
function told<T>(at: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    throw new CompanionError(clip(`companion: ${at}.${error.message.replace(/^frame: /, '')}`, 500));
  }
}
