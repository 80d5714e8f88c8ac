// Where ticks and contour lines go, and how numbers are written.

/** The smallest of 1, 2, 2.5, 5, 10 times a power of ten that is not below `rough`. */
export function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  for (const m of [1, 2, 2.5, 5]) if (m * power >= rough * (1 - 1e-9)) return m * power;
  return 10 * power;
}

/** Multiples of `step` inside [low, high]. */
export function multiples(low: number, high: number, step: number): number[] {
  const slack = 1e-9 * (high - low);
  const first = Math.ceil((low - slack) / step);
  const last = Math.floor((high + slack) / step);
  const out: number[] = [];
  // k * step carries rounding (3 * 0.1); its 15 leading digits do not.
  for (let k = first; k <= last && out.length < 1000; k++) out.push(k === 0 ? 0 : Number((k * step).toPrecision(15)));
  return out;
}

/** About `count` round numbers inside [low, high]. */
export function linearTicks(low: number, high: number, count: number): number[] {
  if (!(high > low) || count < 1) return Number.isFinite(low) ? [low] : [];
  return multiples(low, high, niceStep((high - low) / count));
}

const DECADE_DIVISIONS = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 5], [1, 1.5, 2, 3, 5, 7], [1, 2, 3, 4, 5, 6, 7, 8, 9]];

/** Numbers m * 10^k inside [low, high], with m from the given list. */
function decades(low: number, high: number, mantissas: readonly number[], every = 1): number[] {
  const out: number[] = [];
  for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k++) {
    if (((k % every) + every) % every) continue;
    for (const m of mantissas) {
      const v = Number(`${m}e${k}`);
      if (v >= low * (1 - 1e-9) && v <= high * (1 + 1e-9)) out.push(v);
    }
  }
  return out;
}

function logChoices(low: number, high: number): number[][] {
  const choices = [12, 8, 6, 4, 3, 2].map((every) => decades(low, high, [1], every));
  for (const division of DECADE_DIVISIONS) choices.push(decades(low, high, division));
  return choices;
}

/** About `count` round numbers inside [low, high] for a logarithmic scale; both ends positive. */
export function logTicks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const fitting = logChoices(low, high).filter((c) => c.length <= Math.max(count + 1, 2));
  const best = fitting.reduce((a, b) => (b.length > a.length ? b : a), []);
  // Within less than about a decade no power of ten may fall inside: then round numbers as on a linear scale.
  return best.length >= 2 && best.length >= count / 2 ? best : linearTicks(low, high, Math.max(2, count));
}

export interface Levels {
  /** Values at which a contour line is drawn, increasing. */
  readonly values: number[];
  /** For each level whether it is a tick too: such lines are drawn a little stronger. */
  readonly major: boolean[];
}

/**
 * Contour levels that contain the ticks of the colour bar which lie inside the range.
 *
 * @param ticks of the colour bar for the same range.
 * @param count wanted; the nearest number that divides the ticks evenly is taken.
 */
export function contourLevels(low: number, high: number, log: boolean, ticks: readonly number[], count: number): Levels {
  if (!(high > low) || count < 1) return { values: [], major: [] };
  let best: number[] = [];
  const isTick = (v: number) => ticks.some((t) => Math.abs(t - v) <= 1e-9 * Math.max(Math.abs(t), Math.abs(v), high - low));
  const consider = (levels: number[]) => {
    const inside = levels.filter((v) => v > low && v < high);
    const agrees = ticks.every((t) => t <= low || t >= high || inside.some((v) => Math.abs(v - t) <= 1e-9 * Math.max(Math.abs(v), high - low)));
    if (agrees && (!best.length || Math.abs(inside.length - count) < Math.abs(best.length - count))) best = inside;
  };
  const evenly = ticks.length > 1 ? ticks[1]! - ticks[0]! : 0;
  const linear = ticks.length > 1 && ticks.every((t, k) => k === 0 || Math.abs(t - ticks[k - 1]! - evenly) < 1e-6 * evenly);
  if (log && !(linear && ticks.length > 2)) for (const choice of logChoices(low, high)) consider(choice);
  if (linear && (!log || ticks.length > 2)) for (const parts of [1, 2, 4, 5, 10, 20]) consider(multiples(low, high, evenly / parts));
  if (!best.length) consider([...ticks]);
  return { values: best, major: best.map(isTick) };
}

const SUPERSCRIPTS: Record<string, string> = {
  '-': '⁻', '0': '⁰', '1': '¹', '2': '²', '3': '³', '4': '⁴', '5': '⁵', '6': '⁶', '7': '⁷', '8': '⁸', '9': '⁹',
};
const superscript = (n: number) => [...String(n)].map((c) => SUPERSCRIPTS[c]).join('');
const minus = (text: string) => text.replace('-', '−');

/** A number with `digits` significant digits for reading: 1,234.5, −0.012, 3.2×10⁻⁷. */
export function formatNumber(value: number, digits = 4): string {
  if (Number.isNaN(value)) return 'not a number';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split('e') as [string, string];
    const short = mantissa.includes('.') ? mantissa.replace(/\.?0+$/, '') : mantissa;
    const power = `10${superscript(Number(exponent))}`;
    return minus(short === '1' ? power : short === '-1' ? `-${power}` : `${short}×${power}`);
  }
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return minus(group(String(Number(value.toFixed(Math.min(decimals, 20))))));
}

/** A whole number with thousands separated: 4,225. */
export function formatCount(n: number): string {
  return group(String(n));
}

function group(text: string): string {
  const [whole, fraction] = text.split('.') as [string, string | undefined];
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ',');
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

/** Labels of ticks on one axis: the same number of decimals on all of them. */
export function formatTicks(ticks: readonly number[], log = false): string[] {
  const size = Math.max(...ticks.map(Math.abs), 0);
  if (log || ticks.length < 2 || size >= 1e6 || (size > 0 && size < 1e-3)) return ticks.map((t) => formatNumber(t, distinguishing(ticks)));
  const step = Math.min(...ticks.slice(1).map((t, k) => t - ticks[k]!));
  let decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  if (ticks.some((t) => Math.abs(t * 10 ** decimals - Math.round(t * 10 ** decimals)) > 1e-4)) decimals++;
  return ticks.map((t) => minus(group(t === 0 ? '0' : t.toFixed(Math.min(decimals, 12)))));
}

/** How many significant digits it takes to tell neighbouring ticks apart. */
function distinguishing(ticks: readonly number[]): number {
  for (let digits = 2; digits < 12; digits++) {
    const texts = ticks.map((t) => t.toPrecision(digits));
    if (ticks.every((t, k) => Math.abs(Number(texts[k]) - t) <= 1e-6 * Math.abs(t))) return digits;
  }
  return 12;
}
