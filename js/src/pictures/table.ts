// A table of texts: a row of names, rows with a colour where they have one, and notes.

import { el, same } from '../core/dom';
import { makeRoot } from '../core/root';
import { colour, fault, flag, list, PROSE, text, whole } from '../core/strict';
import type { Kind } from './base';

interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** One for each row, or none. */
  readonly colors: readonly string[];
  /** The row that is on show elsewhere. */
  readonly chosen: number | null;
  readonly notes: readonly string[];
  readonly folded: boolean;
}

const MAX_CELLS = 20_000;

const STYLE = /* css */ `
.lw-table-home { padding: 4px 10px; }
.lw-table-home summary { cursor: pointer; font-weight: 600; border-radius: 3px; overflow-wrap: anywhere; }
.lw-table { margin: 4px 0; overflow-x: auto; outline: none; }
.lw-table:focus-visible { box-shadow: inset 0 0 0 2px var(--lw-accent); border-radius: 3px; }
.lw-table table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: normal; color: inherit; }
.lw-table caption { padding: 0 0 4px; text-align: left; font-weight: 600; color: inherit; }
.lw-table th, .lw-table td { padding: 2px 16px 2px 0; text-align: left; vertical-align: top; border: 0; font-weight: inherit; overflow-wrap: normal; }
.lw-table thead th { font-weight: 600; border-bottom: 1px solid var(--lw-muted); }
.lw-table tr[aria-current] { font-weight: 600; }
.lw-swatch { display: inline-block; width: 10px; height: 10px; margin-right: 6px; border: 1px solid var(--lw-line); border-radius: 2px; }
`;

export const table: Kind<Table, Table> = {
  name: 'table',

  read(raw, at) {
    const texts = (value: unknown, where: string, length?: number) =>
      list(value ?? [], where, length).map((one, k) => text(one ?? null, `${where}[${k}]`, PROSE));
    const head = texts(raw.head, `${at}.head`);
    const given = list(raw.rows, `${at}.rows`);
    if (given.length * head.length > MAX_CELLS) fault(`${at}.rows`, `hold at most ${MAX_CELLS} cells`, String(given.length * head.length));
    const colors = list(raw.colors ?? [], `${at}.colors`);
    if (colors.length && colors.length !== given.length) fault(`${at}.colors`, 'hold one for each row, or none', `${colors.length} for ${given.length} rows`);
    return {
      title: text(raw.title, `${at}.title`),
      head,
      rows: given.map((row, k) => texts(row, `${at}.rows[${k}]`, head.length)),
      colors: colors.map((one, k) => colour(one, `${at}.colors[${k}]`, '')),
      chosen: raw.chosen == null ? null : whole(raw.chosen, `${at}.chosen`, given.length),
      notes: texts(raw.notes, `${at}.notes`),
      folded: flag(raw.folded, `${at}.folded`),
    };
  },

  mix: (_, near, parts) => ({ ...near, kept: parts.length > 1 ? ['tables'] : [] }),

  mount(place) {
    const home = makeRoot(place, 'lw-table-root', () => undefined, STYLE);
    let shown: Table | undefined;
    return {
      el: place,
      dispose: home.dispose,
      show({ title, head, rows, colors, chosen, notes, folded }) {
        const now = { title, head, rows, colors, chosen, notes, folded };
        if (same(now, shown)) return;
        // What a reader has opened stays open.
        const open = home.root.querySelector('details')?.open ?? false;
        shown = now;
        const body = [tableOf(now), ...notes.map((note) => el('div', { class: 'lw-caption', text: note }))];
        home.root.querySelector('.lw-table-home')?.remove();
        home.root.append(folded
          ? el('details', { class: 'lw-table-home', open: open ? '' : undefined }, el('summary', { 'data-lm-suppress-shortcuts': 'true', text: title || 'Table' }), ...body)
          : el('div', { class: 'lw-table-home' }, ...body));
      },
    };
  },
};

function tableOf({ title, head, rows, colors, chosen, folded }: Table): HTMLElement {
  const cellsOf = (row: readonly string[], color: string) => row.map((cell, c) => {
    if (c) return el('td', { text: cell });
    const swatch = el('i', { class: 'lw-swatch', 'aria-hidden': 'true' });
    swatch.style.background = color;
    return el('th', { scope: 'row' }, ...(color ? [swatch] : []), cell);
  });
  return el('div', { class: 'lw-table', tabindex: '0', role: 'group', 'aria-label': title || 'Table', 'data-lm-suppress-shortcuts': 'true' }, el('table', {},
    ...(title && !folded ? [el('caption', { text: title })] : []),
    el('thead', {}, el('tr', {}, ...head.map((name) => el('th', { scope: 'col', text: name })))),
    el('tbody', {}, ...rows.map((row, r) => el('tr', { 'aria-current': r === chosen ? 'true' : undefined }, ...cellsOf(row, colors[r] ?? '')))),
  ));
}
