// Sliders as a browser has them: one row each with a label, a native control and its value. Places are (fractional)
// indices into the positions, so one kind of control serves numbers at any spacing.

import { el, setText, svg, uniqueId } from '../core/dom';
import { clip, CompanionError, fault, finite, flag, list, oneOf, PROSE, record, refuse, text, whole } from '../core/strict';
import { formatNumber } from '../core/ticks';

const KINDS = ['integer', 'number', 'pair', 'choice', 'toggle'] as const;
export type SliderKind = (typeof KINDS)[number];

export interface Slider {
  readonly name: string;
  readonly label: string;
  readonly kind: SliderKind;
  readonly positions: readonly unknown[];
  readonly start: number;
  /** Whether it stops between positions. */
  readonly continuous: boolean;
  /** Whether what lies between positions is even in the logarithm. */
  readonly log: boolean;
  /** Whether it can walk through its positions by itself. */
  readonly play: boolean;
  readonly help: string;
}

export function readSlider(raw: unknown, at: string): Slider {
  const r = record(raw, at);
  const kind = oneOf(r.kind, `${at}.kind`, KINDS);
  const numbers = kind === 'number' || kind === 'integer';
  const log = flag(r.log, `${at}.log`);
  const positions = list(r.positions, `${at}.positions`);
  if (!positions.length) fault(`${at}.positions`, 'hold at least one position', 'none');
  positions.forEach((value, k) => checkPosition(value, kind, `${at}.positions[${k}]`));
  if (log && !numbers) refuse(`${at}.log`, 'be false where the slider holds no numbers', log);
  if (log) positions.forEach((value, k) => (value as number) > 0 || refuse(`${at}.positions[${k}]`, 'be positive on a log scale', value));
  const between = oneOf(r.between ?? 'snap', `${at}.between`, ['snap', 'interpolate']);
  const name = text(r.name, `${at}.name`);
  return {
    name,
    label: text(r.label, `${at}.label`) || name,
    kind,
    positions,
    start: whole(r.start, `${at}.start`, positions.length),
    continuous: kind === 'number' && between === 'interpolate' && positions.length > 1,
    log,
    play: flag(r.play, `${at}.play`) && numbers && positions.length > 1,
    help: text(r.help, `${at}.help`, PROSE),
  };
}

function checkPosition(value: unknown, kind: SliderKind, at: string): void {
  if (kind === 'pair') list(value, at, 2).forEach((end, k) => finite(end, `${at}[${k}]`));
  else if (kind === 'toggle') {
    if (typeof value !== 'boolean') refuse(at, 'be true or false', value);
  } else if (kind !== 'choice') finite(value, at);
}

/** The value at a place; between positions on a straight line, of their logarithms where the slider is logarithmic. */
export function valueAt({ positions, log }: Slider, at: number): unknown {
  const low = Math.floor(at);
  const first = positions[low] as number;
  if (at === low) return first;
  const next = positions[low + 1] as number;
  return log ? first * (next / first) ** (at - low) : first + (at - low) * (next - first);
}

/** A value in words; a pair as "lo to hi". */
export function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.map(valueText).join(' to ');
  if (typeof value === 'number') return Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value).replace('-', '−') : formatNumber(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'string') return clip(value, 100);
  return value === null ? 'none' : clip(String(JSON.stringify(value)), 100);
}

/**
 * The place of a value: exactly there where the slider moves continuously, else the nearest position.
 *
 * @throws CompanionError where the value is of another kind, or not among the choices.
 */
export function placeOf(slider: Slider, value: unknown): number {
  const { positions, kind, name } = slider;
  const equal = positions.findIndex((position) => JSON.stringify(position) === JSON.stringify(value));
  if (equal >= 0) return equal;
  const ends = (kind === 'pair' ? value : [value]) as readonly number[];
  const fits = kind !== 'choice' && kind !== 'toggle' && Array.isArray(ends) && ends.length === (kind === 'pair' ? 2 : 1) && ends.every(Number.isFinite);
  if (!fits) throw new CompanionError(`companion: ${name} must be one of its positions, got ${valueText(value)}.`);
  const scale = (v: number) => (slider.log ? Math.log(Math.max(v, Number.MIN_VALUE)) : v);
  if (slider.continuous) {
    for (let k = 0; k + 1 < positions.length; k++) {
      const [a, b] = [positions[k] as number, positions[k + 1] as number];
      if ((a - ends[0]!) * (b - ends[0]!) <= 0 && a !== b) return k + (scale(ends[0]!) - scale(a)) / (scale(b) - scale(a));
    }
  }
  const gaps = positions.map((position) => ([position].flat() as number[]).reduce((sum, end, e) => sum + Math.abs(scale(end) - scale(ends[e]!)), 0));
  return gaps.indexOf(Math.min(...gaps));
}

export const CONTROLS_STYLE = /* css */ `
.lw-controls { display: grid; grid-template-columns: minmax(0, max-content) minmax(120px, 1fr) minmax(5em, max-content); gap: 6px 14px;
  align-items: center; padding: 4px 10px; font-size: 13px; color-scheme: var(--lw-scheme); }
.lw-row { display: contents; }
.lw-row label, .lw-row output { overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.lw-stage > .jupyter-widgets { flex: 1 1 auto; }
.lw-stage { display: flex; align-items: center; gap: 8px; min-width: 0; }
.lw-row :is(input, select) { min-width: 0; max-width: 100%; margin: 0; font: inherit; accent-color: var(--lw-accent); }
.lw-row input[type=range] { flex: 1; width: 100%; height: 22px; cursor: pointer; }
.lw-root .lw-play { display: grid; place-items: center; flex: none; width: 26px; height: 24px; padding: 0; border: 1px solid var(--lw-line); border-radius: 4px;
  background: var(--lw-background); color: var(--lw-text); cursor: pointer; }
.lw-row :is(input, select):focus-visible { outline: 2px solid var(--lw-accent); outline-offset: 2px; border-radius: 3px; }
@container (max-width: 480px) {
  .lw-controls { grid-template-columns: minmax(0, 1fr); gap: 6px; }
  .lw-row { display: grid; grid-template-columns: minmax(0, 1fr) max-content; gap: 0 12px; }
  .lw-row label { grid-area: 1 / 1; } .lw-row output { grid-area: 1 / 2; } .lw-row .lw-stage { grid-area: 2 / 1 / 3 / 3; }
}
@media print { .lw-root .lw-play { display: none; } }
`;

/** What a reader moves a slider with. */
export interface Control {
  readonly el: HTMLElement;
  /** Where a button that plays it goes, first of all. */
  readonly stage: HTMLElement;
  show(at: number): void;
}

/** Makes the control of the k-th slider, which calls `move` with the place it is moved to. */
export type MakeControl = (slider: Slider, k: number, move: (at: number) => void) => Control;

export class Controls {
  readonly root = el('div', { class: 'lw-controls' });
  private readonly rows: readonly Control[];
  private readonly places: number[];
  private readonly players: Player[] = [];

  constructor(private readonly sliders: readonly Slider[], private readonly changed: () => void, make: MakeControl = nativeControl) {
    this.places = sliders.map(({ start }) => start);
    this.rows = sliders.map((slider, k) => {
      const move = (at: number) => {
        this.places[k] = at;
        row.show(at);
        this.changed();
      };
      const row = make(slider, k, (at) => {
        this.players[k]?.pause();
        move(at);
      });
      row.show(slider.start);
      if (slider.play) this.players[k] = new Player(slider, row, () => this.places[k]!, move);
      return row;
    });
    this.root.append(...this.rows.map((row) => row.el));
    this.root.hidden = !sliders.length;
  }

  /** Where each slider stands, as a (fractional) index into its positions. */
  get at(): readonly number[] {
    return this.places;
  }

  /** Put sliders by name; none is moved when one of the values has no place. */
  put(values: Readonly<Record<string, unknown>>): void {
    const moves = Object.entries(values).map(([name, value]) => {
      const k = this.sliders.findIndex((slider) => slider.name === name);
      if (k < 0) throw new CompanionError(`companion: sliders must be among ${this.sliders.map((s) => s.name).join(', ') || 'none'}, got ${clip(name, 60)}.`);
      return [k, placeOf(this.sliders[k]!, value)] as const;
    });
    for (const [k, at] of moves) {
      this.players[k]?.pause();
      this.places[k] = at;
      this.rows[k]!.show(at);
    }
    if (moves.length) this.changed();
  }

  dispose(): void {
    this.players.forEach((player) => player.dispose());
  }
}

const WALK_MS = 5000;

/** A button that walks a slider through its positions, to the last, until somebody takes it in hand. */
class Player {
  private readonly button = el('button', { class: 'lw-play', type: 'button', 'data-lm-suppress-shortcuts': 'true' });
  private readonly still = matchMedia('(prefers-reduced-motion: reduce)');
  private readonly life = new AbortController();
  private readonly last: number;
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly slider: Slider, row: Control, private readonly at: () => number, private readonly move: (at: number) => void) {
    const { signal } = this.life;
    this.last = slider.positions.length - 1;
    row.stage.prepend(this.button);
    this.button.addEventListener('click', () => (this.timer === undefined ? this.play() : this.pause()), { signal });
    for (const type of ['pointerdown', 'keydown'] as const) {
      row.el.addEventListener(type, (event) => void (this.button.contains(event.target as Node) || this.pause()), { signal });
    }
    this.still.addEventListener('change', () => this.pause(), { signal });
    this.draw();
  }

  pause(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.draw();
  }

  dispose(): void {
    this.pause();
    this.life.abort();
  }

  private play(): void {
    if (this.at() >= this.last) this.move(0);
    this.timer = setInterval(() => {
      this.move(Math.min(this.last, Math.floor(this.at()) + 1));
      if (this.at() >= this.last) this.pause();
    }, Math.max(80, Math.min(600, WALK_MS / this.last)));
    this.draw();
  }

  private draw(): void {
    const playing = this.timer !== undefined;
    this.button.hidden = this.still.matches;
    this.button.setAttribute('aria-label', `${playing ? 'Pause' : 'Play'} ${this.slider.label}`);
    this.button.title = playing ? 'Pause' : 'Play';
    this.button.replaceChildren(svg('svg', { viewBox: '0 0 10 10', width: 10, height: 10, 'aria-hidden': 'true' },
      svg('path', { d: playing ? 'M1.5 1h2.5v8h-2.5zM6 1h2.5v8h-2.5z' : 'M2 .5 9 5 2 9.5z', fill: 'currentColor' })));
  }
}

const nativeControl: MakeControl = (slider, _, move) => {
  const id = uniqueId('lw');
  const label = el('label', { for: id, text: slider.label, title: slider.help || undefined });
  const common = {
    id, title: slider.help || undefined, 'aria-description': slider.help || undefined, 'data-lm-suppress-shortcuts': 'true',
  };
  const output = el('output', { for: id, 'aria-live': 'off' });
  let control: HTMLInputElement | HTMLSelectElement;
  let show: (at: number) => void;
  if (slider.kind === 'choice') {
    const select = el('select', common, ...slider.positions.map((value, p) => el('option', { value: String(p), text: valueText(value) })));
    select.addEventListener('change', () => move(select.selectedIndex));
    show = (at) => { select.selectedIndex = at; };
    control = select;
  } else if (slider.kind === 'toggle') {
    const box = el('input', { ...common, type: 'checkbox' });
    const [on, off] = [slider.positions.indexOf(true), slider.positions.indexOf(false)];
    box.addEventListener('change', () => move(box.checked ? on : off));
    show = (at) => {
      box.checked = slider.positions[at] === true;
      setText(output, valueText(slider.positions[at]));
    };
    control = box;
  } else {
    const range = el('input', {
      ...common, type: 'range', min: '0', max: String(slider.positions.length - 1), step: slider.continuous ? 'any' : '1',
    });
    range.addEventListener('input', () => move(range.valueAsNumber));
    show = (at) => {
      const words = valueText(valueAt(slider, at));
      range.valueAsNumber = at;
      range.setAttribute('aria-valuetext', words);
      setText(output, words);
    };
    control = range;
  }
  control.disabled = slider.positions.length < 2;
  const stage = el('span', { class: 'lw-stage' }, control);
  return { el: el('div', { class: 'lw-row' }, label, stage, output), stage, show };
};
