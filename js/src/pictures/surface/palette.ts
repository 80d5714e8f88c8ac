// How a height in 0..1 becomes a colour with contour lines: one table, used by the shaders and by the CPU alike.

import { colormap } from './colormaps';
import { heightOf } from './field';
import type { Levels } from '../../core/ticks';

export interface Palette {
  /** 256 RGBA colours. */
  readonly colors: Uint8ClampedArray;
  /**
   * For each of CONTOUR_ENTRIES heights: the height of the nearest contour level and the line's strength (0 for none).
   * Comparing with the nearest level instead of counting levels lets them lie at round numbers of any scale.
   */
  readonly contours: Float32Array;
  readonly key: string;
}

export const CONTOUR_ENTRIES = 1024;
const MINOR = 0.34;
const MAJOR = 0.62;

export function makePalette(name: string, levels: Levels, min: number, max: number, log: boolean): Palette {
  const scale = heightOf(min, max, log);
  const heights = levels.values.map(scale);
  const contours = new Float32Array(2 * CONTOUR_ENTRIES).fill(-1);
  for (let e = 0, k = 0; e < CONTOUR_ENTRIES; e++) {
    const h = e / (CONTOUR_ENTRIES - 1);
    while (k + 1 < heights.length && Math.abs(heights[k + 1]! - h) < Math.abs(heights[k]! - h)) k++;
    contours[2 * e] = heights.length ? heights[k]! : -1;
    contours[2 * e + 1] = heights.length ? (levels.major[k] ? MAJOR : MINOR) : 0;
  }
  return { colors: colormap(name), contours, key: `${name}|${min}|${max}|${log}|${levels.values.join()}` };
}
