// The colour bar: the scale of both panes, with the contour levels drawn on it as they appear in the picture.

import { el } from '../../core/dom';
import { heightOf } from './field';
import { crisp, font, LABEL_FONT, TICK_FONT } from '../../core/ink';
import type { Shared } from './pane';

const THICK = 14;

export class ColorBar {
  readonly el = el('canvas', { class: 'lw-bar', role: 'img' });
  private width = 0;
  private height = 0;
  private ratio = 1;

  constructor(private readonly shared: Shared) {}

  resize(width: number, height: number, ratio: number): void {
    Object.assign(this, { width, height, ratio });
    this.el.style.width = `${width}px`;
    this.el.style.height = `${height}px`;
  }

  /** Draw upright (`vertical`) between y0 and y1, or lying between the same distances from the left. */
  draw(vertical: boolean, from: number, to: number): void {
    const { width, height, ratio, shared } = this;
    const { field, palette, theme } = shared;
    const ink = this.el.getContext('2d')!;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.el.width !== w) this.el.width = w;
    if (this.el.height !== h) this.el.height = h;
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.clearRect(0, 0, width, height);
    if (!field || !palette || field.argmin < 0) return;
    const title = `${field.metric}${field.log ? ' (log scale)' : ''}`;
    this.el.setAttribute('aria-label', `Colour scale of ${title}: ${shared.tickTexts.join(', ')}`);

    // Along the bar, 0 is the smallest value: at the bottom, or at the left.
    const at = (t: number) => (vertical ? to - t * (to - from) : from + t * (to - from));
    const across = vertical ? 4 : 22;
    const length = to - from;
    ink.save();
    ink.imageSmoothingEnabled = true;
    if (vertical) {
      ink.translate(across, to);
      ink.rotate(-Math.PI / 2);
    } else ink.translate(from, across);
    ink.drawImage(this.strip(palette.colors), 0, 0, 256, 1, 0, 0, length, THICK);
    ink.restore();

    const scale = heightOf(field.min, field.max, field.log);
    shared.levels.values.forEach((value, k) => {
      const t = scale(value);
      const entry = 4 * Math.round(t * 255);
      const [r, g, b] = palette.colors.subarray(entry);
      const strength = shared.levels.major[k] ? 0.62 : 0.34;
      ink.strokeStyle = 0.299 * r! + 0.587 * g! + 0.114 * b! > 95 ? `rgba(0,0,0,${strength})` : `rgba(255,255,255,${strength})`;
      this.stroke(ink, vertical, crisp(at(t), ratio), across, across + THICK);
    });
    ink.strokeStyle = theme.line;
    ink.lineWidth = 1;
    if (vertical) ink.strokeRect(across - 0.5, from - 0.5, THICK + 1, length + 1);
    else ink.strokeRect(from - 0.5, across - 0.5, length + 1, THICK + 1);

    ink.fillStyle = theme.text;
    ink.font = font(theme, TICK_FONT);
    ink.textBaseline = vertical ? 'middle' : 'top';
    ink.textAlign = vertical ? 'left' : 'center';
    let widest = 0;
    let last = -Infinity;
    shared.ticks.forEach((value, k) => {
      const t = scale(value);
      if (!(t >= -1e-9 && t <= 1 + 1e-9)) return;
      const text = shared.tickTexts[k]!;
      const size = ink.measureText(text).width;
      const p = at(t);
      if (!vertical && p - size / 2 < last + 6) return;
      last = p + size / 2;
      widest = Math.max(widest, size);
      this.stroke(ink, vertical, crisp(p, ratio), across + THICK + 1, across + THICK + 5);
      if (vertical) ink.fillText(text, across + THICK + 9, p + 0.5);
      else ink.fillText(text, Math.max(size / 2, Math.min(width - size / 2, p)), across + THICK + 8);
    });

    ink.font = font(theme, LABEL_FONT, 500);
    ink.textBaseline = 'alphabetic';
    if (vertical) {
      ink.save();
      ink.translate(Math.min(width - 5, across + THICK + 9 + widest + 18), (from + to) / 2);
      ink.rotate(-Math.PI / 2);
      ink.textAlign = 'center';
      ink.fillText(title, 0, 0, length + 20);
      ink.restore();
    } else {
      ink.textAlign = 'left';
      ink.fillText(title, from, 14, length);
    }
  }

  /** The colour table as an image of 256 x 1 pixels. */
  private strip(colors: Uint8ClampedArray): HTMLCanvasElement {
    const canvas = el('canvas', { width: '256', height: '1' });
    canvas.getContext('2d')!.putImageData(new ImageData(new Uint8ClampedArray(colors), 256, 1), 0, 0);
    return canvas;
  }

  private stroke(ink: CanvasRenderingContext2D, vertical: boolean, along: number, a: number, b: number): void {
    ink.beginPath();
    if (vertical) {
      ink.moveTo(a, along);
      ink.lineTo(b, along);
    } else {
      ink.moveTo(along, a);
      ink.lineTo(along, b);
    }
    ink.stroke();
  }
}
