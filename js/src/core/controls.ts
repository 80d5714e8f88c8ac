// Sliders as a browser has them: one row each with a label, a native control and its value. Places are (fractional)
// indices into the positions, so one kind of control serves numbers at any spacing.

import type { Slider } from './document';
import { el, setText, uniqueId } from './dom';
import { clip, CompanionError } from './strict';
import { formatNumber } from './ticks';

/** The value at a place; between positions on a straight line. */
export function valueAt({ positions }: Slider, at: number): unknown {
  const low = Math.floor(at);
  const first = positions[low];
  if (at === low) return first;
  return (first as number) + (at - low) * ((positions[low + 1] as number) - (first as number));
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
  if (slider.continuous) {
    for (let k = 0; k + 1 < positions.length; k++) {
      const [a, b] = [positions[k] as number, positions[k + 1] as number];
      if ((a - ends[0]!) * (b - ends[0]!) <= 0 && a !== b) return k + (ends[0]! - a) / (b - a);
    }
  }
  const gaps = positions.map((position) => ([position].flat() as number[]).reduce((sum, end, e) => sum + Math.abs(end - ends[e]!), 0));
  return gaps.indexOf(Math.min(...gaps));
}

/** What a reader moves a slider with. */
export interface Control {
  readonly el: HTMLElement;
  show(at: number): void;
}

/** Makes the control of the k-th slider, which calls `move` with the place it is moved to. */
export type MakeControl = (slider: Slider, k: number, move: (at: number) => void) => Control;

export class Controls {
  readonly root = el('div', { class: 'lw-controls' });
  private readonly rows: readonly Control[];
  private readonly places: number[];

  constructor(private readonly sliders: readonly Slider[], private readonly changed: () => void, make: MakeControl = nativeControl) {
    this.places = sliders.map(({ start }) => start);
    this.rows = sliders.map((slider, k) => {
      const row = make(slider, k, (at) => {
        this.places[k] = at;
        row.show(at);
        this.changed();
      });
      row.show(slider.start);
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
      this.places[k] = at;
      this.rows[k]!.show(at);
    }
    if (moves.length) this.changed();
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
  return { el: el('div', { class: 'lw-row' }, label, control, output), show };
};
