// "Is my picture right?": what was checked about a picture and how it went, folded away but counted in sight.

import { el, setText } from './dom';
import { makeRoot } from './root';

export interface Check {
  name: string;
  state: string;
  detail: string;
}

const STATES: Record<string, { icon: string; word: string; one: string; many: string }> = {
  fail: { icon: '✕', word: 'failed', one: 'failure', many: 'failures' },
  warn: { icon: '!', word: 'warning', one: 'warning', many: 'warnings' },
  pass: { icon: '✓', word: 'passed', one: 'passed', many: 'passed' },
  info: { icon: 'i', word: 'note', one: 'note', many: 'notes' },
  pending: { icon: '…', word: 'pending', one: 'pending', many: 'pending' },
};
const ORDER = ['pass', 'fail', 'warn', 'info', 'pending'];

/** "6 passed, 1 warning"; "nothing checked yet" for an empty list. */
export function countText(checks: readonly Partial<Check>[]): string {
  const parts = ORDER.map((state) => {
    const n = checks.filter((check) => known(check.state) === state).length;
    return n ? `${n} ${n === 1 ? STATES[state]!.one : STATES[state]!.many}` : '';
  });
  return parts.filter(Boolean).join(', ') || 'nothing checked yet';
}

export class ChecksView {
  private readonly home;
  private readonly counts = el('span');
  private readonly list = el('ul');

  constructor(parent: HTMLElement) {
    this.home = makeRoot(parent, 'lw-checks-root', () => undefined);
    const title = el('summary', { 'data-lm-suppress-shortcuts': 'true' }, el('b', { text: 'Is my picture right?' }), this.counts);
    this.home.root.append(el('details', { class: 'lw-checks' }, title, this.list));
    this.show([]);
  }

  get root(): HTMLElement {
    return this.home.root;
  }

  show(checks: readonly Partial<Check>[]): void {
    setText(this.counts, countText(checks));
    this.list.replaceChildren(...checks.map((check) => {
      const state = known(check.state);
      const { icon, word } = STATES[state]!;
      return el('li', { 'data-state': state },
        el('span', { class: `lw-icon lw-icon-${state}`, 'aria-hidden': 'true', text: icon }),
        el('span', {}, el('span', { class: 'lw-hidden', text: `${word}: ` }), el('b', { text: check.name ?? '' }), check.detail ? ` · ${check.detail}` : ''),
      );
    }));
  }

  dispose(): void {
    this.home.dispose();
  }
}

function known(state: string | undefined): string {
  return state !== undefined && Object.hasOwn(STATES, state) ? state : 'info';
}
