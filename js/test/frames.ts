// Frames for the tests, and pictures of them as Python sends them.

import type { Frame } from '../src/pictures/surface/frame';

export interface Wanted {
  nx?: number;
  ny?: number;
  x?: [number, number];
  y?: [number, number];
  metrics?: string[];
  errors?: (number | null)[];
  metric?: string;
  log?: boolean;
  colormap?: string;
  final?: boolean;
  tag?: number;
  /** Every how many grid lines a point counts as evaluated. */
  every?: number;
  names?: [string[], string[]];
}

const linear = (a: number, b: number, n: number) => Float32Array.from({ length: n }, (_, k) => a + ((b - a) * k) / Math.max(1, n - 1));

/** A frame of f(x, y, metric index). */
export function frameOf(f: (x: number, y: number, m: number) => number, wanted: Wanted = {}): Frame {
  const { nx = 33, ny = 17, metrics = ['loss'], every = 1, names = null } = wanted;
  const [x, y] = [linear(...(wanted.x ?? [-1, 1]), nx), linear(...(wanted.y ?? [-1, 1]), ny)];
  const values = metrics.map((_, m) => Float32Array.from({ length: nx * ny }, (_, k) => f(x[Math.floor(k / ny)]!, y[k % ny]!, m)));
  const evaluated = Uint8Array.from({ length: nx * ny }, (_, k) => (Math.floor(k / ny) % every === 0 && (k % ny) % every === 0 ? 1 : 0));
  return {
    nx, ny, x, y, labels: ['alpha', 'beta'], names, metrics, values, evaluated,
    errors: wanted.errors ?? metrics.map(() => null), metric: wanted.metric ?? metrics[0]!, log: wanted.log ?? false,
    colormap: wanted.colormap ?? 'viridis', final: wanted.final ?? true, tag: wanted.tag ?? 1,
  };
}

/** The same as the traits of a live picture: arrays come as DataViews, `offset` bytes into a message. */
export function sentSurface(f: (x: number, y: number, m: number) => number, wanted: Wanted = {}, offset = 0) {
  const { nx, ny, x, y, values, evaluated, names, ...head } = frameOf(f, wanted);
  const send = (array: Float32Array | Uint8Array, shape: number[]) => {
    const message = new Uint8Array(offset + array.byteLength);
    message.set(new Uint8Array(array.buffer as ArrayBuffer), offset);
    return { coding: array instanceof Float32Array ? 'f4' : 'u1', shape, data: new DataView(message.buffer, offset) };
  };
  const grids = values.map((grid, m) => [String(10 + m), send(grid, [nx, ny])]);
  return {
    arrays: { 1: send(x, [nx]), 2: send(y, [ny]), 3: send(evaluated, [nx, ny]), ...(Object.fromEntries(grids) as object) } as Record<string, any>,
    picture: {
      kind: 'surface', ...head, ...(names && { names }), shape: [nx, ny], x: { array: 1 }, y: { array: 2 }, evaluated: { array: 3 },
      values: { arrays: values.map((_, m) => 10 + m) },
    } as Record<string, any>,
  };
}

/** Repeatable numbers in [0, 1). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
