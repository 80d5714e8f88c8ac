// Studies without a kernel: their sliders, and their views redrawn from a companion document.

import type { Arrays } from './arrays';
import { Controls, type MakeControl } from './controls';
import type { Companion, HeightPicture, LinePicture, Picture, Study, ViewKind } from './document';
import { el, setText } from './dom';
import { HeightFieldView } from './height_field';
import { LinePlotView } from './line_plot';
import { cornersOf, mixHeight, mixLines, mixPaths, nearestFrame, type Weighted } from './mixing';
import { makeRoot } from './root';
import { CompanionError } from './strict';
import { wordsOf } from './words';

export { decodeCompanion } from './document';
export type { Companion } from './document';
export { landscapeDocument } from './landscape_file';
export { CompanionError } from './strict';

export interface Mounted {
  dispose(): void;
  /** Put sliders of a study by name. */
  set(study: number, values: Record<string, unknown>): void;
}

/** What a host puts in place of our own views and native controls; where it has none, ours stay. */
export interface Makers {
  readonly control?: MakeControl;
  /** The view that is the v-th of its study. */
  view?(kind: ViewKind, v: number, place: HTMLElement): View | undefined;
}

/**
 * Draw a companion: each study with its sliders above its views. What is drawn at once is the start of each.
 *
 * @param makers Those of each study.
 */
export function mountCompanion(parent: HTMLElement, companion: Companion, makers: readonly Makers[] = []): Mounted {
  const studies = companion.studies.map((study, s) => new StudyView(parent, study, companion.arrays, makers[s] ?? {}));
  return {
    set(study, values) {
      const view = studies[study];
      if (!view) throw new CompanionError(`companion: study must be below ${studies.length}, got ${study}.`);
      view.controls.put(values);
    },
    dispose() {
      for (const study of studies) study.dispose();
    },
  };
}

/** Say in place why a companion is not there. */
export function mountFault(parent: HTMLElement, error: unknown): { dispose(): void } {
  const home = makeRoot(parent, 'lw-fault', () => undefined);
  const what = error instanceof Error ? error.message : String(error);
  home.root.append(el('div', { class: 'lw-notice', role: 'alert', text: `This picture could not be shown. ${what}` }));
  return home;
}

class StudyView {
  readonly controls: Controls;
  private readonly el = el('section', { class: 'lw-study' });
  private readonly home;
  private readonly note = el('div', { class: 'lw-caption lw-between', hidden: '' });
  private readonly views: readonly View[];
  private raf = 0;

  constructor(parent: HTMLElement, private readonly study: Study, private readonly arrays: Arrays, makers: Makers) {
    parent.append(this.el);
    this.home = makeRoot(this.el, 'lw-study-head', () => undefined);
    this.controls = new Controls(study.sliders, () => this.soon(), makers.control);
    const { title, source, fixed } = study;
    const told = fixed.map(({ label, value }) => `${label} ${value}`).join(', ');
    if (title) this.el.setAttribute('aria-label', title);
    this.home.root.append(
      el('h2', { text: title, hidden: title ? undefined : '' }),
      this.controls.root,
      this.note,
      el('div', { class: 'lw-caption', text: `Fixed: ${told}`, hidden: told ? undefined : '' }),
      el('div', { class: 'lw-caption', text: source, hidden: source ? undefined : '' }),
    );
    this.views = study.views.map((kind, v) => {
      const place = el('div', { class: 'lw-view' });
      this.el.append(place);
      return makers.view?.(kind, v, place) ?? makeView(kind, place);
    });
    this.draw();
  }

  dispose(): void {
    cancelAnimationFrame(this.raf);
    for (const view of this.views) view.dispose();
    this.home.dispose();
    this.el.remove();
  }

  /** Several events of one frame are drawn once, at its end. */
  private soon(): void {
    this.raf ||= requestAnimationFrame(() => {
      this.raf = 0;
      this.draw();
    });
  }

  private draw(): void {
    const { study, arrays, controls: { at } } = this;
    const near = study.frames[nearestFrame(study.sliders, at)]!;
    const corners = cornersOf(study.sliders, at);
    let mixed = false;
    this.views.forEach((view, v) => {
      const picture = near[v] ?? null;
      view.el.hidden = picture === null;
      if (!picture) return;
      const around = corners.map(({ frame, weight }) => ({ picture: study.frames[frame]![v] ?? null, weight }));
      // Where a neighbour shows nothing there is nothing to mix with.
      const parts = around.some((part) => part.picture === null) ? [{ picture, weight: 1 }] : (around as Weighted<Picture>[]);
      mixed ||= parts.length > 1 && picture.kind !== 'text';
      view.show(arrays, picture, parts);
    });
    setText(this.note, mixed ? 'Between computed positions: mixed from the neighbouring ones.' : '');
    this.note.hidden = !study.sliders.some(({ continuous }) => continuous);
  }
}

export interface View {
  readonly el: HTMLElement;
  show(arrays: Arrays, near: Picture, parts: readonly Weighted<Picture>[]): void;
  dispose(): void;
}

function makeView(kind: ViewKind, place: HTMLElement): View {
  if (kind === 'text') {
    const home = makeRoot(place, 'lw-prose', () => undefined);
    const words = el('div', { class: 'lw-words', 'aria-live': 'polite' });
    home.root.append(words);
    let told = '';
    const show: View['show'] = (_, near) => {
      if (near.kind !== 'text' || near.text === told) return; // a screen reader is not woken for nothing
      words.replaceChildren(...wordsOf(told = near.text));
    };
    return { el: place, dispose: home.dispose, show };
  }
  if (kind === 'line_plot') {
    const view = new LinePlotView(place);
    const show: View['show'] = (arrays, near, parts) => view.set(mixLines(arrays, near as LinePicture, parts as Weighted<LinePicture>[]));
    return { el: place, show, dispose: () => view.dispose() };
  }
  return heightView(place);
}

function heightView(place: HTMLElement): View {
  const view = new HeightFieldView(place);
  const shown = new Map<string, string>();
  return {
    el: place,
    dispose: () => view.dispose(),
    show(arrays, picture, parts) {
      const near = picture as HeightPicture;
      const around = parts as Weighted<HeightPicture>[];
      const paths = mixPaths(arrays, near, around);
      const { markers, description, panes, camera, showPoints, contours } = near;
      // The reader turns the surface and zooms the map: only what differs from the last picture is set again.
      const changes = Object.entries({ markers, paths, description, panes, camera, showPoints, contours }).filter(([name, value]) => {
        const text = JSON.stringify(value);
        return shown.get(name) !== text && shown.set(name, text);
      });
      if (changes.length) view.set(Object.fromEntries(changes));
      view.setFrame(mixHeight(arrays, near, around));
      view.flush();
    },
  };
}
