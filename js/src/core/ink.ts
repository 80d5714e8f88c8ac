// Strokes that the panes share: text with a halo, discs, ticks that fit.

import { formatTicks, linearTicks, logTicks } from './ticks';
import type { Theme } from './theme';

export type Ink = CanvasRenderingContext2D;

export const TICK_FONT = 11;
export const LABEL_FONT = 12;

export function font(theme: Theme, size: number, weight = 400): string {
  return `${weight} ${size}px ${theme.font}`;
}

/** Text that stays readable on any picture: a soft outline in the background colour under it. */
export function haloText(ink: Ink, theme: Theme, text: string, x: number, y: number): void {
  ink.save();
  ink.lineJoin = 'round';
  ink.lineWidth = 3.5;
  ink.globalAlpha = 0.82;
  ink.strokeStyle = theme.background;
  ink.strokeText(text, x, y);
  ink.restore();
  ink.fillText(text, x, y);
}

/** A ring that shows on dark and on light colours alike. */
export function ring(ink: Ink, x: number, y: number, radius: number, fill?: string): void {
  ink.beginPath();
  ink.arc(x, y, radius, 0, 2 * Math.PI);
  if (fill) {
    ink.fillStyle = fill;
    ink.fill();
  }
  ink.lineWidth = 3.5;
  ink.strokeStyle = 'rgba(0,0,0,0.6)';
  ink.stroke();
  ink.lineWidth = 1.75;
  ink.strokeStyle = '#fff';
  ink.stroke();
}

/** A line that shows on dark and on light colours alike. */
export function twoToneLine(ink: Ink, x0: number, y0: number, x1: number, y1: number): void {
  for (const [width, style] of [[2.5, 'rgba(0,0,0,0.38)'], [1, 'rgba(255,255,255,0.95)']] as const) {
    ink.beginPath();
    ink.moveTo(x0, y0);
    ink.lineTo(x1, y1);
    ink.lineWidth = width;
    ink.strokeStyle = style;
    ink.stroke();
  }
}

export interface Ticks {
  readonly values: number[];
  readonly texts: string[];
}

/** About `count` round ticks. */
export function ticksOf(low: number, high: number, count: number, log = false): Ticks {
  const values = log ? logTicks(low, high, count) : linearTicks(low, high, count);
  return { values, texts: formatTicks(values, log && high / low > 10) };
}

/** As many round ticks as fit side by side into `pixels` with air between their labels. */
export function ticksThatFit(ink: Ink, low: number, high: number, pixels: number, log = false): Ticks {
  for (let count = Math.max(2, Math.floor(pixels / 48)); ; count--) {
    const { values, texts } = ticksOf(low, high, count, log);
    const needed = texts.reduce((sum, text) => sum + ink.measureText(text).width + 14, 0);
    if (needed <= pixels + 14 || count <= 2) return { values, texts };
  }
}

/** Crisp: the centre of the device pixel nearest to v. */
export function crisp(v: number, ratio: number): number {
  return (Math.floor(v * ratio) + 0.5) / ratio;
}

/** Labels already drawn in one picture, so that the next one can give way. */
export class Placed {
  private readonly boxes: (readonly [number, number, number, number])[] = [];

  /** Draw a haloed label at (x, y) with the ink's own alignment unless it would touch an earlier one. */
  text(ink: Ink, theme: Theme, text: string, x: number, y: number): boolean {
    const { actualBoundingBoxLeft: l, actualBoundingBoxRight: r } = ink.measureText(text);
    const box = [x - l - 3, y - 7, x + r + 3, y + 7] as const;
    if (this.boxes.some((b) => box[0] < b[2] && b[0] < box[2] && box[1] < b[3] && b[1] < box[3])) return false;
    this.boxes.push(box);
    haloText(ink, theme, text, x, y);
    return true;
  }
}

/** A text cut to `pixels`. */
export function cut(ink: Ink, text: string, pixels: number): string {
  let short = text;
  while (short.length > 1 && ink.measureText(short).width > pixels) short = `${short.slice(0, Math.min(-2, -0.1 * short.length))}…`;
  return short;
}

/** Break a text at spaces into lines of at most `width` pixels; a longer word stays whole. */
export function wrap(ink: Ink, text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
    if (lines.length && ink.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}
