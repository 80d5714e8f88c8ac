// A pane: two stacked canvases (the picture below, what follows the pointer above), with focus, gestures and a hint.

import { el } from '../../core/dom';
import type { Field } from './field';
import { decimal, nearest, type Point, unitOfGrid, unitPoint } from './frame';
import { type Gestures, listen } from '../../core/gestures';
import type { Ink } from '../../core/ink';
import type { Palette } from './palette';
import { isInside, type Path } from './paths';
import type { Picture, Renderer } from './renderer';
import type { Theme } from '../../core/theme';
import type { Levels } from '../../core/ticks';

export interface Marker {
  readonly x: number;
  readonly y: number;
  readonly label: string;
}

export interface GridPoint {
  readonly i: number;
  readonly j: number;
}

/** What all panes of one figure show. */
export interface Shared {
  readonly renderer: Renderer | null;
  readonly picture: Picture | null;
  theme: Theme;
  field: Field | null;
  palette: Palette | null;
  ticks: number[];
  tickTexts: string[];
  levels: Levels;
  hover: GridPoint | null;
  pinned: readonly [number, number] | null;
  markers: readonly Marker[];
  paths: readonly Path[];
  /** Of the paths, what is drawn the same all along. */
  strokes: readonly Path[];
  showPoints: boolean;
}

export interface PaneEvents {
  hover(point: GridPoint | null): void;
  pin(point: GridPoint | null): void;
  /** The camera moved: the picture must be drawn again. */
  moved(): void;
  /** A gesture ended. */
  settled(): void;
}

export abstract class Pane {
  readonly el: HTMLElement;
  readonly base = el('canvas', { class: 'lw-base', role: 'img' });
  readonly overlay: HTMLCanvasElement;
  readonly reset = el('button', { class: 'lw-reset', type: 'button', 'data-lm-suppress-shortcuts': 'true', text: 'Reset view', hidden: '' });
  private readonly hint = el('div', { class: 'lw-hint', 'aria-hidden': 'true', text: 'Click the picture, or hold Ctrl, to zoom with the wheel' });
  protected readonly ink: Ink;
  protected readonly overInk: Ink;
  protected width = 0;
  protected height = 0;
  protected ratio = 1;
  private hintTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly life = new AbortController();

  constructor(readonly kind: 'map' | 'surface', keys: string, protected readonly shared: Shared, protected readonly events: PaneEvents) {
    // Lab's shortcuts take arrow keys unless the focused element itself carries this attribute.
    this.overlay = el('canvas', {
      class: 'lw-overlay', tabindex: '0', role: 'application', 'aria-label': keys, 'data-lm-suppress-shortcuts': 'true',
    });
    this.el = el('div', { class: `lw-pane lw-${kind}` }, this.base, this.overlay, this.reset, this.hint);
    this.ink = this.base.getContext('2d')!;
    this.overInk = this.overlay.getContext('2d')!;
    const { signal } = this.life;
    listen(this.overlay, { ...this.pointing(), ...this.gestures() }, signal);
    this.overlay.addEventListener('keydown', (event) => {
      if (event.altKey || event.metaKey || event.ctrlKey || !this.key(event.key, event.shiftKey)) return;
      event.preventDefault();
      event.stopPropagation();
    }, { signal });
    this.reset.addEventListener('click', () => { this.home(); events.settled(); this.overlay.focus(); }, { signal });
  }

  /** Take a new size in CSS pixels; true when the canvases had to change. */
  resize(width: number, height: number, ratio: number): boolean {
    if (width === this.width && height === this.height && ratio === this.ratio) return false;
    Object.assign(this, { width, height, ratio });
    return true;
  }

  /** Draw the picture; false when it could not be drawn now and the old one was kept. */
  draw(): boolean {
    if (!this.width || !this.height) return false;
    if (!this.ready()) return false;
    this.fit(this.base);
    this.ink.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.ink.clearRect(0, 0, this.width, this.height);
    const done = this.paint();
    this.reset.hidden = this.isHome();
    return done;
  }

  drawOverlay(): void {
    if (!this.width || !this.height) return;
    this.fit(this.overlay);
    this.overInk.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.overInk.clearRect(0, 0, this.width, this.height);
    if (this.shared.field) this.paintOverlay();
  }

  dispose(): void {
    this.life.abort();
    clearTimeout(this.hintTimer);
    this.el.remove();
  }

  protected abstract paint(): boolean;
  protected abstract paintOverlay(): void;
  /** What dragging, zooming and panning do here; pointing is the same in every pane. */
  protected abstract gestures(): Pick<Gestures, 'drag' | 'pan' | 'zoom'>;
  protected abstract gridUnder(px: number, py: number): GridPoint | null;
  /** Handle a key; true when it was used. */
  protected abstract key(key: string, shift: boolean): boolean;
  protected abstract home(): void;
  protected abstract isHome(): boolean;
  /** Whether painting can succeed now; asked before anything is erased. */
  protected ready(): boolean {
    return true;
  }

  /** A point as unit-square coordinates, or null when it lies outside the domain. */
  protected unitOf(x: number, y: number): Point | null {
    const unit = unitPoint(this.shared.field!.frame, x, y);
    return isInside(unit) ? unit : null;
  }

  protected unitOfGrid({ i, j }: GridPoint): [number, number] {
    return unitOfGrid(this.shared.field!.frame, i, j);
  }

  protected gridAt(u: number, v: number): GridPoint | null {
    const field = this.shared.field;
    if (!field || u < -0.02 || u > 1.02 || v < -0.02 || v > 1.02) return null;
    const { nx, ny, names } = field.frame;
    const clamp = (k: number, n: number) => Math.max(0, Math.min(n - 1, names ? Math.floor(k * n) : Math.round(k * (n - 1))));
    return { i: clamp(u, nx), j: clamp(v, ny) };
  }

  /** Where keyboard movement starts: the cursor, else the pin, else the smallest value. */
  protected cursor(): GridPoint | null {
    const { field, hover, pinned } = this.shared;
    if (!field) return null;
    if (hover) return hover;
    if (pinned) return { i: nearest(field.frame.x, pinned[0]), j: nearest(field.frame.y, pinned[1]) };
    const k = Math.max(0, field.argmin);
    return { i: Math.floor(k / field.frame.ny), j: k % field.frame.ny };
  }

  private pointing(): Omit<Gestures, 'drag' | 'pan' | 'zoom'> {
    return {
      hover: (at) => this.events.hover(at && this.gridUnder(at[0], at[1])),
      tap: (x, y) => {
        const point = this.gridUnder(x, y);
        if (point) this.events.pin(point);
      },
      reset: () => this.home(),
      end: () => this.events.settled(),
      refused: () => this.showHint(),
    };
  }

  protected showHint(): void {
    this.hint.classList.add('lw-on');
    clearTimeout(this.hintTimer);
    this.hintTimer = setTimeout(() => this.hint.classList.remove('lw-on'), 1400);
  }

  private fit(canvas: HTMLCanvasElement): void {
    const [w, h] = [Math.round(this.width * this.ratio), Math.round(this.height * this.ratio)];
    if (canvas.width !== w) canvas.width = w;
    if (canvas.height !== h) canvas.height = h;
  }
}

/** Coordinates of a grid point as the short decimals that Python gets. */
export function pointOf(field: Field, { i, j }: GridPoint): [number, number] {
  return [decimal(field.frame.x[i]!), decimal(field.frame.y[j]!)];
}
