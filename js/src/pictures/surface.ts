// A surface: metrics over a grid, seen as a map with contours and in three dimensions; or cells, one flat square a point.

import type { Arrays, Ref } from '../core/arrays';
import { fault, type Fields, finite, flag, list, oneOf, PROSE, record, refuse, text, whole, within } from '../core/strict';
import { type Held, type Kind, Mixer, reference, type Weighted } from './base';
import type { Orbit } from './surface/camera';
import { type FigureOptions, SurfaceFigure } from './surface/figure';
import { type Frame, type FrameHead, MAX_POINTS } from './surface/frame';
import type { Marker } from './surface/pane';
import type { Path } from './surface/paths';

type Along = 'x' | 'y' | 'time' | 'loss' | 'residual';
type PathLooks = Pick<Path, 'label' | 'color' | 'dashed'>;
type PathRefs = PathLooks & Record<'x' | 'y', Ref> & Partial<Record<Along, Ref>>;
const ALONG: readonly Along[] = ['x', 'y', 'time', 'loss', 'residual'];

interface Surface extends Omit<FigureOptions, 'paths'> {
  readonly head: FrameHead;
  readonly x: Ref;
  readonly y: Ref;
  /** One of shape [nx, ny] a metric. */
  readonly values: readonly Ref[];
  readonly evaluated: Ref;
  readonly paths: readonly PathRefs[];
}

export interface SurfaceDrawing extends FigureOptions {
  readonly frame: Frame;
}

export const surface: Kind<Surface, SurfaceDrawing> = {
  name: 'surface',

  read(raw, at, arrays) {
    const names = readNames(raw.names, `${at}.names`);
    const shape = list(raw.shape, `${at}.shape`, 2).map((n, axis) => whole(n, `${at}.shape[${axis}]`, MAX_POINTS + 1)) as [number, number];
    const [nx, ny] = shape;
    if (Math.min(nx, ny) < (names ? 1 : 2)) fault(`${at}.shape`, `be two whole numbers of at least ${names ? 1 : 2}`, JSON.stringify(shape));
    if (nx * ny > MAX_POINTS) fault(`${at}.shape`, `hold at most ${MAX_POINTS} points`, `${nx} x ${ny}`);
    names?.forEach((own, axis) => own.length !== shape[axis] && fault(`${at}.names[${axis}]`, `name ${shape[axis]} points`, String(own.length)));
    const metrics = texts(raw.metrics, `${at}.metrics`);
    if (!metrics.length) fault(`${at}.metrics`, 'name at least one metric', 'none');
    const values = list(record(raw.values, `${at}.values`).arrays, `${at}.values.arrays`, metrics.length);
    return {
      head: {
        nx, ny, names, metrics,
        labels: texts(raw.labels ?? ['x', 'y'], `${at}.labels`, 2) as [string, string],
        metric: oneOf(text(raw.metric ?? metrics[0], `${at}.metric`), `${at}.metric`, metrics),
        errors: list(raw.errors ?? metrics.map(() => null), `${at}.errors`, metrics.length).map((error, m) =>
          (error === null ? null : finite(error, `${at}.errors[${m}]`))),
        log: flag(raw.log, `${at}.log`),
        colormap: text(raw.colormap, `${at}.colormap`) || 'viridis',
        final: raw.final === undefined || flag(raw.final, `${at}.final`),
        tag: raw.tag === undefined ? 0 : whole(raw.tag, `${at}.tag`, Number.MAX_SAFE_INTEGER),
      },
      x: readAxis(raw.x, `${at}.x`, nx, arrays),
      y: readAxis(raw.y, `${at}.y`, ny, arrays),
      values: values.map((array, m) => reference({ array }, `${at}.values[${m}]`, shape, arrays)),
      evaluated: reference(raw.evaluated, `${at}.evaluated`, shape, arrays, true),
      markers: list(raw.markers ?? [], `${at}.markers`).map((one, k) => readMarker(record(one, `${at}.markers[${k}]`), `${at}.markers[${k}]`)),
      paths: list(raw.paths ?? [], `${at}.paths`).map((one, k) => readPath(record(one, `${at}.paths[${k}]`), `${at}.paths[${k}]`, arrays)),
      description: text(raw.description, `${at}.description`),
      missable: text(raw.missable, `${at}.missable`, PROSE),
      panes: list(raw.panes ?? ['map', 'surface'], `${at}.panes`).map((pane, k) => oneOf(pane, `${at}.panes[${k}]`, ['map', 'surface'])),
      camera: readCamera(raw.camera, `${at}.camera`),
      showPoints: flag(raw.show_points, `${at}.show_points`),
      contours: within(raw.contours, `${at}.contours`, 0, 40, 12),
    };
  },

  // Grids, paths and markers are mixed where they belong to each other; all else is of the nearest picture.
  mix(arrays, near, parts) {
    const { head, x, y, values, evaluated, paths, markers, ...rest } = near;
    const belong = (words: (picture: Surface) => unknown) => {
      const own = JSON.stringify(words(near));
      return parts.every(({ picture }) => JSON.stringify(words(picture)) === own);
    };
    const told = { mixed: [] as string[], kept: [] as string[] };
    const mixer = (noun: string, some: boolean, words: (picture: Surface) => unknown) => {
      const together = parts.length > 1 && belong(words);
      if (some && parts.length > 1) (together ? told.mixed : told.kept).push(noun);
      return new Mixer(arrays, together ? parts : ([{ picture: near, weight: 1 }] as Weighted<Surface>[]));
    };
    const grids = mixer('grids', true, ({ head: { nx, ny, metrics, names } }) => [nx, ny, metrics, names]);
    const lines = mixer('paths', paths.length > 0, ({ paths }) => paths.map((path) => [path.label, ...ALONG.map((name) => path[name] !== undefined && arrays.shape(path[name]!))]));
    const marks = mixer('markers', markers.length > 0, ({ markers }) => markers.map(({ label }) => label));
    if (!belong(({ description, missable, head: { labels } }) => [description, missable, labels])) told.kept.push('words');
    return {
      ...rest,
      ...told,
      frame: {
        ...head,
        x: grids.floats((picture) => picture.x),
        y: grids.floats((picture) => picture.y),
        values: values.map((_, m) => grids.floats((picture) => picture.values[m]!)),
        evaluated: arrays.bytes(evaluated),
      },
      paths: paths.map(({ label, color, dashed, ...refs }, k) => ({
        label, color, dashed,
        ...Object.fromEntries(Object.keys(refs).map((name) => [name, lines.floats((picture) => picture.paths[k]![name as Along]!)])),
      }) as Path),
      markers: markers.map(({ label }, k) => ({ label, x: marks.number(({ markers }) => markers[k]!.x), y: marks.number(({ markers }) => markers[k]!.y) })),
    };
  },

  mount(place, tell) {
    const figure = new SurfaceFigure(place, (held) => tell({ ...held }));
    return {
      el: place,
      show: ({ frame, ...options }) => figure.show(frame, options),
      hold: (held) => figure.hold({ camera: readCamera(held.camera ?? {}, 'held.camera'), point: readPoint(held) }),
      dispose: () => figure.dispose(),
    };
  },
};

function readPoint({ point }: Held): readonly number[] | undefined {
  return point === undefined ? undefined : list(point, 'held.point').map((v, k) => finite(v, `held.point[${k}]`));
}

function texts(value: unknown, at: string, length?: number): string[] {
  return list(value, at, length).map((one, k) => text(one ?? null, `${at}[${k}]`));
}

function readNames(raw: unknown, at: string): readonly [readonly string[], readonly string[]] | null {
  if (raw === undefined || raw === null) return null;
  const [x, y] = list(raw, at, 2).map((names, axis) => texts(names, `${at}[${axis}]`));
  return [x!, y!];
}

const sound = new WeakMap<Arrays, Set<Ref>>();

/** Coordinates, finite and strictly increasing; those that many pictures share are looked at once. */
function readAxis(raw: unknown, at: string, n: number, arrays: Arrays): Ref {
  const ref = reference(raw, at, [n], arrays);
  const known = sound.get(arrays) ?? new Set();
  sound.set(arrays, known);
  if (known.has(ref)) return ref;
  arrays.floats(ref).forEach((value, k, all) => {
    if (!Number.isFinite(value) || (k > 0 && value <= all[k - 1]!)) fault(at, 'be finite and strictly increasing', `${value} at index ${k}`);
  });
  known.add(ref);
  return ref;
}

function readMarker({ x, y, label }: Fields, at: string): Marker {
  return { x: finite(x, `${at}.x`), y: finite(y, `${at}.y`), label: text(label, `${at}.label`) };
}

function readPath(r: Fields, at: string, arrays: Arrays): PathRefs {
  const color = text(r.color, `${at}.color`) || '#0072b2';
  if (!/^#[0-9a-f]{6}$/i.test(color)) refuse(`${at}.color`, 'be a colour such as #0072b2', color);
  const x = reference(r.x, `${at}.x`, [null], arrays);
  const given = ALONG.slice(1).filter((name) => name === 'y' || (r[name] !== undefined && r[name] !== null));
  return {
    label: text(r.label, `${at}.label`), color, dashed: flag(r.dashed, `${at}.dashed`), x,
    ...(Object.fromEntries(given.map((name) => [name, reference(r[name], `${at}.${name}`, arrays.shape(x), arrays)])) as { y: Ref }),
  };
}

function readCamera(raw: unknown, at: string): Partial<Orbit> {
  const r = record(raw ?? {}, at);
  const given = (['yaw', 'pitch', 'zoom'] as const).filter((name) => r[name] !== undefined);
  return Object.fromEntries(given.map((name) => [name, finite(r[name], `${at}.${name}`)]));
}
