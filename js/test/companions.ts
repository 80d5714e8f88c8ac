// Companion documents for the tests, encoded here from the format's description, not by code under test.

import type { Moment } from '../src/document/frames';
import type { Companion } from '../src/document/read';
import { frameOf, type Wanted } from './frames';

export interface Stored {
  coding: string;
  shape: number[];
  low: number;
  high: number;
  base: number | null;
}

export async function deflated(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate'));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  let text = '';
  for (const byte of packed) text += String.fromCharCode(byte);
  return btoa(text);
}

export class Table {
  readonly specs: Stored[] = [];
  readonly parts: number[][] = [];
  private readonly codes: number[][] = [];

  floats(values: ArrayLike<number>, shape = [values.length]): { array: number } {
    const bytes = new DataView(new ArrayBuffer(4 * values.length));
    Array.from(values).forEach((value, k) => bytes.setFloat32(4 * k, value, true));
    return this.put({ coding: 'f4', shape, low: 0, high: 0, base: null }, [...new Uint8Array(bytes.buffer)], []);
  }

  bytes(values: ArrayLike<number>, shape = [values.length]): { array: number } {
    return this.put({ coding: 'u1', shape, low: 0, high: 0, base: null }, Array.from(values), []);
  }

  /** Codes as they are: 0 to 65532, and 65533, 65534, 65535 for -inf, inf, nan. */
  quantised(codes: number[], low: number, high: number, { shape = [codes.length], base = null as number | null, coding = 'q2' } = {}): { array: number } {
    const steps = codes.map((code, k) => (code - (base === null ? (k ? codes[k - 1]! : 0) : this.codes[base]![k]!) + 65536) % 65536);
    return this.put({ coding, shape, low, high, base }, [...steps.map((s) => s % 256), ...steps.map((s) => Math.floor(s / 256))], codes);
  }

  get raw(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.parts.flat());
  }

  private put(spec: Stored, bytes: number[], codes: number[]): { array: number } {
    this.specs.push(spec);
    this.parts.push(bytes);
    this.codes.push(codes);
    return { array: this.specs.length - 1 };
  }
}

type Study = Record<string, any>;

export async function documentOf(table: Table, ...studies: object[]) {
  return {
    format: 'lwidgets.companion', needs: [] as string[], title: 'A companion', studies: studies as Study[], arrays: table.specs as object[], data: await deflated(table.raw),
  };
}

export const slider = (name: string, positions: unknown[], more: object = {}) =>
  ({ name, label: name.replace('_', ' '), kind: 'integer', positions, start: 0, between: 'snap', help: '', ...more });

/** A surface of f(x, y, metric) on a grid. */
export function surface(table: Table, f: (x: number, y: number, m: number) => number, wanted: Wanted = {}, more: object = {}) {
  const { nx, ny, x, y, values, evaluated, ...head } = frameOf(f, wanted);
  return {
    ...head,
    shape: [nx, ny],
    x: table.floats(x),
    y: table.floats(y),
    values: { arrays: values.map((grid) => table.floats(grid, [nx, ny]).array) },
    evaluated: table.bytes(evaluated, [nx, ny]),
    markers: [] as object[],
    description: 'Loss surface',
    ...more,
  };
}

export const linear = (a: number, b: number, n: number) => Array.from({ length: n }, (_, k) => a + ((b - a) * k) / (n - 1));

export const series = (table: Table, x: number[], y: number[], more: object = {}) =>
  ({ x: table.floats(x), y: table.floats(y, y.length === 2 * x.length ? [2, x.length] : [y.length]), label: '', color: '#0072B2', style: 'solid', width: 2, opacity: 1, ...more });

export const curves = (list: object[], more: object = {}) =>
  ({ x: 'alpha', y: 'loss', x_log: false, y_log: false, x_range: [0, 1], y_range: [0, 1], caption: 'Loss along the line', legend: 'top-right', series: list, ...more });

/** Panels are named after their kinds. */
export const study = (sliders: object[], panels: string[], pictures: (number | null)[][], all: object[], more: object = {}) => ({
  title: 'A study', sliders, fixed: [], panels: panels.map((kind, p) => ({ name: `${kind} ${p}`, kind, beside: '' })),
  frames: { kind: 'recorded', pictures }, pictures: all, ...more,
});

/** What the p-th panel of a document's first study draws where its sliders stand. */
export function drawnAt({ studies, arrays }: Companion, places: number[] = [], p = 0) {
  const { frames, panels } = studies[0]!;
  const shown = (frames.at(places) as Moment)[p]!;
  return panels[p]!.kind.mix(arrays, shown.near, shown.parts);
}

export const INJECTIONS = [
  '<img src=x onerror="window.__pwned=1">', '<script>window.__pwned=1</script>', '</script><script>window.__pwned=1</script>',
  '"><svg onload=window.__pwned=1>', "';window.__pwned=1;//", 'javascript:window.__pwned=1', '${window.__pwned=1}', '{{constructor.constructor("window.__pwned=1")()}}',
  '<!--', ']]>', '\u202e\u0000\ufeff', '__proto__', 'constructor', '&lt;b&gt;', 'url(https://example.invalid/x)', 'expression(alert(1))',
];
