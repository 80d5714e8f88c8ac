// What the panels of a study show where its sliders stand. A document holds it recorded, at every combination of
// positions; a way to compute it would be another kind of frames.

import type { Fields } from '../core/strict';
import { fault, list, whole } from '../core/strict';
import type { AnyKind } from '../pictures';
import type { Weighted } from '../pictures/base';
import type { Slider } from './controls';

/** What one panel shows: the pictures around the place of the sliders, and the nearest of them. */
export interface Shown {
  readonly near: unknown;
  readonly parts: readonly Weighted<unknown>[];
  /** Of the nearest among the pictures of the study, where they are recorded. */
  readonly index?: number;
}

/** For each panel what it shows, null where nothing. */
export type Moment = readonly (Shown | null)[];

export interface Frames {
  /**
   * What is shown with the sliders at (fractional) positions: at once where it is known, later where it takes time.
   *
   * Who asks again before an answer has come wants only the newest.
   */
  at(places: readonly number[]): Moment | Promise<Moment>;
}

/** What a way of making frames is given to read. */
export interface FramesContext {
  readonly at: string;
  readonly sliders: readonly Slider[];
  readonly panels: readonly { readonly kind: AnyKind }[];
  readonly pictures: number;
  /** The picture at an index, read as a kind; each is read once. */
  picture(index: number, kind: AnyKind): unknown;
}

/** By the name of their kind in a document. */
export const FRAMES: Record<string, (raw: Fields, context: FramesContext) => Frames> = {
  recorded: (raw, { at, sliders, panels, pictures, picture }) => {
    const total = sliders.reduce((n, { positions }) => n * positions.length, 1);
    if (total > MAX_FRAMES) fault(`${at}sliders`, `have at most ${MAX_FRAMES} combinations of positions`, String(total));
    const where = `${at}frames.pictures`;
    return new Recorded(sliders, list(raw.pictures, where, total).map((frame, f) => list(frame, `${where}[${f}]`, panels.length).map((given, p) => {
      if (given === null) return null;
      const index = whole(given, `${where}[${f}][${p}]`, pictures);
      return { index, picture: picture(index, panels[p]!.kind) };
    })));
  },
};

const MAX_FRAMES = 1_000_000;

interface Entry {
  readonly index: number;
  readonly picture: unknown;
}

/** A picture for each panel at each combination of positions, the last slider fastest. */
export class Recorded implements Frames {
  constructor(private readonly sliders: readonly Slider[], private readonly table: readonly (readonly (Entry | null)[])[]) {}

  at(places: readonly number[]): Moment {
    const corners = cornersOf(this.sliders, places);
    return this.table[nearestFrame(this.sliders, places)]!.map((near, p) => {
      if (!near) return null;
      const around = corners.map(({ frame, weight }) => ({ picture: this.table[frame]![p]?.picture, weight }));
      // Where a neighbour shows nothing, or all show the same, there is nothing to mix with.
      const mixes = around.every(({ picture }) => picture !== undefined) && around.some(({ picture }) => picture !== near.picture);
      return { near: near.picture, index: near.index, parts: mixes ? around : [{ picture: near.picture, weight: 1 }] };
    });
  }
}

type Positions = Pick<Slider, 'positions'>;

export interface Corner {
  /** Index into the frames of a study. */
  readonly frame: number;
  readonly weight: number;
}

/** The frames around a place given in (fractional) positions, with weights that add up to one. */
export function cornersOf(sliders: readonly Positions[], at: readonly number[]): Corner[] {
  let corners: Corner[] = [{ frame: 0, weight: 1 }];
  sliders.forEach(({ positions }, s) => {
    const low = Math.floor(at[s]!);
    const share = at[s]! - low;
    corners = corners.flatMap(({ frame, weight }) => {
      const first = { frame: frame * positions.length + low, weight: weight * (1 - share) };
      return share > 0 ? [first, { frame: first.frame + 1, weight: weight * share }] : [first];
    });
  });
  return corners;
}

/** Index of the frame nearest to a place. */
export function nearestFrame(sliders: readonly Positions[], at: readonly number[]): number {
  return sliders.reduce((frame, { positions }, s) => frame * positions.length + Math.round(at[s]!), 0);
}
