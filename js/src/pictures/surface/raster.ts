// The map painted by the CPU: what a browser without WebGL2 shows, and the faster way where GL is emulated in software.

import { sampleHeight, type Field } from './field';
import { type MapCamera, screenToMap, type Rect } from './camera';
import { CONTOUR_ENTRIES, type Palette } from './palette';

export interface Hatch {
  readonly ground: readonly [number, number, number];
  readonly stripe: readonly [number, number, number];
}

/**
 * Fill an image of width x height device pixels with the part of the field that the camera shows.
 *
 * Values are bilinear inside each cell; a cell with a masked corner is hatched.
 */
export function rasterMap(
  image: ImageData, field: Field, palette: Palette, camera: MapCamera, hatch: Hatch, pixelRatio: number,
): void {
  const { width, height, data } = image;
  const { nx, ny } = field.frame;
  const heights = field.heights;
  const { colors, contours } = palette;
  const pixels = new Uint32Array(data.buffer, data.byteOffset, width * height);
  const table = new Uint32Array(colors.buffer, colors.byteOffset, 256);
  const ground = pack(hatch.ground);
  const stripe = pack(hatch.stripe);
  const period = Math.max(4, Math.round(7 * pixelRatio));
  const stroke = Math.max(1, Math.round(1.4 * pixelRatio));
  const rect: Rect = { left: 0, top: 0, width, height };

  const [x0, y0] = screenToMap(camera, rect, 0.5, 0.5);
  const du = (nx - 1) / (width * camera.zoom); // grid steps per pixel
  const dv = (ny - 1) / (height * camera.zoom);
  const u0 = x0 * (nx - 1);
  const v0 = y0 * (ny - 1);

  for (let row = 0; row < height; row++) {
    const v = Math.max(0, Math.min(ny - 1, v0 - row * dv));
    const j = Math.min(ny - 2, Math.floor(v));
    const t = v - j;
    let cell = -1;
    let low = 0; // height at the left edge of the cell, on this row
    let slope = 0; // along u
    let bottom = 0; // slope along v at the left edge
    let twist = 0;
    for (let column = 0; column < width; column++) {
      const u = Math.max(0, Math.min(nx - 1, u0 + column * du));
      const i = Math.min(nx - 2, Math.floor(u));
      if (i !== cell) {
        cell = i;
        const a = heights[i * ny + j]!;
        const b = heights[i * ny + j + 1]!;
        const c = heights[(i + 1) * ny + j]!;
        const d = heights[(i + 1) * ny + j + 1]!;
        low = a + (b - a) * t;
        slope = c + (d - c) * t - low;
        bottom = b - a;
        twist = d - c - bottom;
      }
      const s = u - i;
      const h = low + slope * s;
      const at = row * width + column;
      if (h !== h) {
        pixels[at] = (row + column) % period < stroke ? stripe : ground;
        continue;
      }
      let color = table[(h * 255 + 0.5) | 0]!;
      const entry = 2 * ((h * (CONTOUR_ENTRIES - 1) + 0.5) | 0);
      const strength = contours[entry + 1]!;
      if (strength > 0) {
        const gu = slope * du;
        const gv = (bottom + twist * s) * dv;
        const far = Math.abs(h - contours[entry]!);
        const reach = pixelRatio * 0.5 + 0.5;
        // Compare squares first: most pixels are far from any line and need no root.
        const gradient2 = gu * gu + gv * gv;
        if (far * far < gradient2 * reach * reach) {
          color = line(color, strength * Math.min(1, reach - far / Math.sqrt(gradient2)));
        }
      }
      pixels[at] = color;
    }
  }
}

/** The same of cells: each point of the grid is a square of one colour, hatched where it is masked. */
export function rasterCells(
  image: ImageData, field: Field, palette: Palette, camera: MapCamera, hatch: Hatch, pixelRatio: number,
): void {
  const { width, height, data } = image;
  const { nx, ny } = field.frame;
  const pixels = new Uint32Array(data.buffer, data.byteOffset, width * height);
  const table = new Uint32Array(palette.colors.buffer, palette.colors.byteOffset, 256);
  const [ground, stripe] = [pack(hatch.ground), pack(hatch.stripe)];
  const period = Math.max(4, Math.round(7 * pixelRatio));
  const stroke = Math.max(1, Math.round(1.4 * pixelRatio));
  const rect: Rect = { left: 0, top: 0, width, height };
  const cell = (share: number, n: number) => Math.max(0, Math.min(n - 1, Math.floor(share * n)));
  const columns = Int32Array.from({ length: width }, (_, column) => cell(screenToMap(camera, rect, column + 0.5, 0)[0], nx));
  for (let row = 0; row < height; row++) {
    const j = cell(screenToMap(camera, rect, 0, row + 0.5)[1], ny);
    for (let column = 0; column < width; column++) {
      const h = field.heights[columns[column]! * ny + j]!;
      pixels[row * width + column] = h === h ? table[(h * 255 + 0.5) | 0]! : (row + column) % period < stroke ? stripe : ground;
    }
  }
}

/** A contour line over a colour: dark on light, light on dark. Little-endian ABGR. */
function line(color: number, alpha: number): number {
  const r = color & 255;
  const g = (color >> 8) & 255;
  const b = (color >> 16) & 255;
  const ink = 0.299 * r + 0.587 * g + 0.114 * b > 95 ? 0 : 255;
  const mix = (c: number) => (c + (ink - c) * alpha) | 0;
  return ((255 << 24) | (mix(b) << 16) | (mix(g) << 8) | mix(r)) >>> 0;
}

function pack([r, g, b]: readonly [number, number, number]): number {
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

/** Height under a point of the unit square; NaN where masked. */
export function heightAt(field: Field, x: number, y: number): number {
  const { nx, ny } = field.frame;
  return sampleHeight(field.heights, nx, ny, x * (nx - 1), y * (ny - 1));
}
