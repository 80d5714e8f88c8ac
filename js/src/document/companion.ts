// Studies without a kernel: their sliders, and their panels redrawn from a companion document.

import type { Arrays } from '../core/arrays';
import { el, setText } from '../core/dom';
import { makeRoot } from '../core/root';
import { CompanionError } from '../core/strict';
import { ChecksView, passText } from '../parts/checks';
import type { View } from '../pictures/base';
import { Controls, CONTROLS_STYLE, type MakeControl, type Slider, valueText } from './controls';
import type { Moment } from './frames';
import type { Companion, Panel, Study } from './read';

export { CompanionError } from '../core/strict';
export { landscapeCompanion } from './landscape_file';
export { decodeCompanion } from './read';
export type { Companion } from './read';

export interface Mounted {
  dispose(): void;
  /** Put sliders of a study by name. */
  set(study: number, values: Record<string, unknown>): void;
}

/** What a host puts in place of our own views and native controls; where it has none, ours stay. */
export interface Makers {
  readonly control?: MakeControl;
  /** The view of the p-th panel of its study. */
  view?(panel: Panel, p: number, place: HTMLElement): View<never> | undefined;
}

/**
 * Draw a companion: each study with its sliders above its panels. What is drawn at once is the start of each.
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

/** Say in place why a companion is not there, above its still picture where it has one. */
export function mountFault(parent: HTMLElement, error: unknown): { dispose(): void } {
  const home = makeRoot(parent, 'lw-fault', () => undefined, STYLE);
  const what = error instanceof Error ? error.message : String(error);
  home.root.append(el('div', { class: 'lw-notice', role: 'alert', text: `This picture could not be shown. ${what}` }));
  const still = error instanceof CompanionError ? error.still : '';
  if (still) home.root.append(el('img', { class: 'lw-still', src: still, alt: 'The picture as it was when it was saved' }));
  return home;
}

const STYLE = /* css */ `
.lw-study { margin: 0 0 20px; }
.lw-study-head h2 { margin: 2px 10px 6px; font: 600 15px/1.35 var(--lw-font); overflow-wrap: anywhere; }
.lw-claim { margin: 0 10px 4px; max-width: 75ch; font-size: 13px; overflow-wrap: anywhere; white-space: pre-line; }
.lw-study > .lw-root > .lw-caption { padding: 0 10px; max-width: 100ch; white-space: pre-line; }
/* In reach of what they move, and never more than a third of the screen. */
.lw-study > .lw-root.lw-study-hand { position: sticky; top: 0; z-index: 3; max-height: 34vh; overflow: hidden auto; background: var(--lw-background);
  padding-block: 4px; border-bottom: 1px solid var(--lw-wash); border-radius: 0; }
.lw-study > .lw-root > .lw-between { max-width: none; }
.lw-study > .lw-root.lw-study-foot { padding-block: 6px 2px; }
.lw-between { min-height: 1.5em; }
.lw-panels.lw-beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 0 var(--lw-gap, 12px); align-items: start; }
.lw-view { min-width: 0; }
.lw-still { display: block; max-width: 100%; height: auto; margin: 8px 10px; background: #fff; }
@media print { .lw-view { break-inside: avoid; } .lw-study > .lw-root.lw-study-hand { position: static; max-height: none; } }
`;

class StudyView {
  readonly controls: Controls;
  private readonly el = el('section', { class: 'lw-study' });
  private readonly homes: { dispose(): void }[] = [];
  private readonly note = el('div', { class: 'lw-caption lw-between' });
  private readonly trouble = el('div', { class: 'lw-notice', role: 'alert', hidden: '' });
  private readonly views: readonly View<unknown>[];
  private raf = 0;
  private asked = 0;
  private disposed = false;

  constructor(parent: HTMLElement, private readonly study: Study, private readonly arrays: Arrays, makers: Makers) {
    parent.append(this.el);
    this.controls = new Controls(study.sliders, () => this.soon(), makers.control);
    const { title, claim, source, limits, citation, fixed, sliders, checks } = study;
    if (title) this.el.setAttribute('aria-label', title);
    this.block('lw-study-head',
      title && el('h2', { text: title }), claim && el('p', { class: 'lw-claim', text: claim }), caption('', source),
      caption('Fixed: ', fixed.map(({ label, value }) => `${label} ${value}`).join(', ')),
    );
    this.note.hidden = !sliders.some(({ continuous }) => continuous);
    this.block('lw-study-hand', sliders.length && this.controls.root, !this.note.hidden && this.note);
    this.block('lw-study-trouble', this.trouble);
    this.views = this.placePanels(makers);
    this.block('lw-study-foot', caption('Limits: ', limits), caption('Cite as: ', citation));
    if (checks.length) {
      const view = new ChecksView(this.el, passText, sliders.length ? 'Checked where the sliders begin, unless another place is named.' : '');
      view.show(checks);
      this.homes.push(view);
    }
    this.draw();
  }

  dispose(): void {
    this.disposed = true;
    cancelAnimationFrame(this.raf);
    this.controls.dispose();
    for (const view of this.views) view.dispose();
    for (const home of this.homes) home.dispose();
    this.el.remove();
  }

  /** A themed part of the study, unless it would be empty. */
  private block(kind: string, ...children: (HTMLElement | false | '' | 0)[]): void {
    const there = children.filter((child) => child instanceof HTMLElement);
    if (!there.length) return;
    const home = makeRoot(this.el, kind, () => undefined, STYLE + CONTROLS_STYLE);
    home.root.append(...there);
    this.homes.push(home);
  }

  /** In the study's order; what is beside another panel stands in its row. */
  private placePanels(makers: Makers): View<unknown>[] {
    const rows = new Map<string, HTMLElement>();
    return this.study.panels.map((panel, p) => {
      const { name, kind, beside } = panel;
      const row = rows.get(beside) ?? this.el.appendChild(el('div', { class: 'lw-panels' }));
      rows.set(name, row);
      const place = row.appendChild(el('div', { class: 'lw-view', 'data-kind': kind.name, 'data-panel': name }));
      row.classList.toggle('lw-beside', row.children.length > 1);
      return makers.view?.(panel, p, place) ?? kind.mount(place, () => undefined);
    });
  }

  /** Several events of one frame are drawn once, at its end. */
  private soon(): void {
    this.raf ||= requestAnimationFrame(() => {
      this.raf = 0;
      this.draw();
    });
  }

  /** Show what belongs to the place of the sliders: now where it is known, else as soon as it comes, unless it is asked for anew. */
  private draw(): void {
    const asked = ++this.asked;
    const places = [...this.controls.at];
    const moment = this.study.frames.at(places);
    if (!(moment instanceof Promise)) return this.show(moment, places);
    moment.then(
      (shown) => asked === this.asked && !this.disposed && this.show(shown, places),
      (error: unknown) => asked === this.asked && !this.disposed && this.tell(error instanceof Error ? error.message : String(error)),
    );
  }

  private show(moment: Moment, places: readonly number[]): void {
    this.tell('');
    const { panels, sliders } = this.study;
    const [mixed, kept] = [new Set<string>(), new Set<string>()];
    this.views.forEach((view, p) => {
      const shown = moment[p] ?? null;
      view.el.hidden = shown === null;
      if (!shown) return;
      const drawn = panels[p]!.kind.mix(this.arrays, shown.near, shown.parts);
      for (const noun of drawn.mixed ?? []) mixed.add(noun);
      for (const noun of drawn.kept ?? []) kept.add(noun);
      view.show(drawn, shown.index);
    });
    const words = betweenText([...mixed], [...kept], sliders, places);
    if (words === this.note.textContent) return;
    this.note.textContent = words;
    // What is below does not jump when the words go.
    if (words) this.note.style.minHeight = `${this.note.offsetHeight}px`;
  }

  private tell(fault: string): void {
    setText(this.trouble, fault);
    this.trouble.hidden = !fault;
  }
}

function caption(lead: string, text: string): HTMLElement | '' {
  return text && el('div', { class: 'lw-caption', text: lead + text });
}

/** How what is on show between positions came about; empty at a position. */
export function betweenText(mixed: readonly string[], kept: readonly string[], sliders: readonly Slider[], places: readonly number[]): string {
  const off = sliders.flatMap((slider, k) => {
    const near = Math.round(places[k]!);
    return near === places[k] ? [] : [`${slider.label} ${valueText(slider.positions[near])}`];
  });
  if (!off.length) return '';
  const parts = [
    mixed.length && `${listed(mixed)} are mixed from the neighbouring ones`, kept.length && `${listed(kept.map((noun) => (mixed.includes(noun) ? `some ${noun}` : noun)))} are those of ${off.join(', ')}`,
  ].filter(Boolean);
  return `Between computed positions: ${parts.join('; ') || 'all neighbours show the same'}.`;
}

function listed(nouns: readonly string[]): string {
  return nouns.length > 1 ? `${nouns.slice(0, -1).join(', ')} and ${nouns[nouns.length - 1]}` : nouns[0]!;
}
