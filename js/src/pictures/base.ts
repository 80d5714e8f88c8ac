// What every kind of picture can do. A kind is one file here, and a line in index.ts; nothing else knows it by name.

import type { Arrays, Ref } from '../core/arrays';
import { fault, type Fields, finite, list, record, refuse } from '../core/strict';

/** One of the pictures around a place, with weights that add up to one. */
export interface Weighted<P> {
  readonly picture: P;
  readonly weight: number;
}

/** What of a picture between positions is mixed from its neighbours, and what is of the nearest alone: "curves", "words". */
export interface Between {
  readonly mixed?: readonly string[];
  readonly kept?: readonly string[];
}

/** What a person holds of a picture, e.g. a camera. */
export type Held = Readonly<Record<string, unknown>>;

export interface View<D> {
  /** Hidden where there is nothing to show. */
  readonly el: HTMLElement;
  /** @param index Of the nearest picture among those of its study, where it has one. */
  show(drawn: D, index?: number): void;
  /** Put what is held, from outside; what is not named stays. */
  hold?(held: Held): void;
  dispose(): void;
}

/** @typeParam P A picture as it was read: checked, with references to its arrays. @typeParam D What is drawn. */
export interface Kind<P, D> {
  readonly name: string;
  /** @throws CompanionError naming the place (after `at`), the rule and what came instead. */
  read(raw: Fields, at: string, arrays: Arrays): P;
  /** What to draw where `parts` meet; `near` is the one whose words count. */
  mix(arrays: Arrays, near: P, parts: readonly Weighted<P>[]): D & Between;
  /** @param tell Called with what a person has taken hold of. */
  mount(place: HTMLElement, tell: (held: Held) => void): View<D>;
}

/** The array in {"array": index}, once it is of the shape (null: any length) and coding that its place asks for. */
export function reference(raw: unknown, at: string, shape: readonly (number | null)[], arrays: Arrays, bytes = false): Ref {
  const ref = arrays.find(record(raw, at).array, `${at}.array`);
  const own = arrays.shape(ref);
  if (own.length !== shape.length || shape.some((n, axis) => n !== null && n !== own[axis])) {
    fault(at, `have shape [${shape.map((n) => n ?? 'n').join(', ')}]`, `[${own.join(', ')}]`);
  }
  if ((arrays.coding(ref) === 'u1') !== bytes) refuse(at, bytes ? 'be bytes, of coding u1' : 'be numbers, of coding f4, q2 or l2', arrays.coding(ref));
  return ref;
}

export type Range = readonly [number, number];

export function range(raw: unknown, at: string, log: boolean): Range {
  const [low, high] = list(raw, at, 2).map((end, k) => finite(end, `${at}[${k}]`)) as [number, number];
  if (!(low < high) || !Number.isFinite(high - low)) fault(at, 'increase', `${low}, ${high}`);
  if (log && low <= 0) refuse(at, 'be positive on a log scale', low);
  return [low, high];
}

/** Weighted sums in float64. A value that is not finite in any part leaves its mark: nothing is invented there. */
export class Mixer<P> {
  constructor(private readonly arrays: Arrays, private readonly parts: readonly Weighted<P>[]) {}

  number(of: (picture: P) => number): number {
    const values = this.parts.map(({ picture }) => of(picture));
    return values.every((value) => value === values[0]) ? values[0]! : this.sum((p) => values[p]!);
  }

  floats(of: (picture: P) => Ref): Float32Array {
    const refs = this.parts.map(({ picture }) => of(picture));
    const arrays = [...new Set(refs)].length === 1 ? [this.arrays.floats(refs[0]!)] : refs.map((ref) => this.arrays.floats(ref));
    return arrays.length === 1 ? arrays[0]! : arrays[0]!.map((_, k) => this.sum((p) => arrays[p]![k]!));
  }

  private sum(of: (part: number) => number): number {
    return this.parts.reduce((sum, { weight }, p) => sum + weight * of(p), 0);
  }
}
