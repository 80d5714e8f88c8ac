// Raw frames as Python sends them, for the tests.

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
}

const linear = (a: number, b: number, n: number) => Float32Array.from({ length: n }, (_, k) => a + ((b - a) * k) / (n - 1));

/** A frame of f(x, y, metric index) with DataViews, as they come out of a message. */
export function rawFrame(f: (x: number, y: number, m: number) => number, wanted: Wanted = {}) {
  const { nx = 33, ny = 17, x = [-1, 1], y = [-1, 1], metrics = ['loss'], every = 1 } = wanted;
  const [xs, ys] = [linear(...x, nx), linear(...y, ny)];
  const values = new Float32Array(metrics.length * nx * ny);
  const evaluated = new Uint8Array(nx * ny);
  for (let m = 0; m < metrics.length; m++) {
    for (let i = 0; i < nx; i++) {
      for (let j = 0; j < ny; j++) {
        values[m * nx * ny + i * ny + j] = f(xs[i]!, ys[j]!, m);
        evaluated[i * ny + j] = i % every === 0 && j % every === 0 ? 1 : 0;
      }
    }
  }
  const view = (a: Float32Array | Uint8Array) => new DataView(a.buffer as ArrayBuffer);
  return {
    shape: [nx, ny], x: view(xs), y: view(ys), labels: ['alpha', 'beta'], metrics, values: view(values), evaluated: view(evaluated),
    errors: wanted.errors ?? metrics.map(() => null), metric: wanted.metric ?? metrics[0]!, log: wanted.log ?? false,
    colormap: wanted.colormap ?? 'viridis', final: wanted.final ?? true, tag: wanted.tag ?? 1,
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
