// "Is my picture right?": what was checked about a picture and how it went, folded away but counted in sight.

import { el, setText } from '../core/dom';
import { makeRoot } from '../core/root';

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

/** "5 checks pass"; "4 of 5 checks pass: 1 failure". Notes claim nothing, so they are not counted among the five. */
export function passText(checks: readonly Partial<Check>[]): string {
  const claims = checks.filter(({ state }) => known(state) !== 'info');
  const passed = claims.filter(({ state }) => state === 'pass').length;
  if (!claims.length) return countText(checks);
  if (passed === claims.length) return `${passed} ${passed === 1 ? 'check passes' : 'checks pass'}`;
  return `${passed} of ${claims.length} checks pass: ${countText(claims.filter(({ state }) => state !== 'pass'))}`;
}

const STYLE = /* css */ `
.lw-checks { padding: 4px 10px; }
.lw-checks summary { cursor: pointer; border-radius: 3px; }
.lw-checks summary b { font-weight: 600; }
.lw-checks summary span { color: var(--lw-muted); margin-left: 8px; }
.lw-checks ul { list-style: none; margin: 6px 0 2px; padding: 0; }
.lw-checks li { display: grid; grid-template-columns: 20px minmax(0, 1fr); padding: 3px 0; overflow-wrap: anywhere; }
.lw-checks li b { font-weight: 600; }
.lw-icon { font-weight: 700; }
.lw-icon-pass { color: var(--lw-good); } .lw-icon-warn { color: var(--lw-pin); } .lw-icon-fail { color: var(--lw-bad); }
.lw-icon-info { color: var(--lw-accent); } .lw-icon-pending { color: var(--lw-muted); }
`;

export class ChecksView {
  private readonly home;
  private readonly counts = el('span');
  private readonly list = el('ul');

  /** @param told Says in a few words how a list of checks went. @param note Below the list. */
  constructor(parent: HTMLElement, private readonly told = countText, note = '') {
    this.home = makeRoot(parent, 'lw-checks-root', () => undefined, STYLE);
    const title = el('summary', { 'data-lm-suppress-shortcuts': 'true' }, el('b', { text: 'Is my picture right?' }), this.counts);
    this.home.root.append(el('details', { class: 'lw-checks' }, title, this.list, ...(note ? [el('div', { class: 'lw-caption', text: note })] : [])));
    this.show([]);
  }

  get root(): HTMLElement {
    return this.home.root;
  }

  show(checks: readonly Partial<Check>[]): void {
    setText(this.counts, this.told(checks));
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
