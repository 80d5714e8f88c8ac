// Words of a study as a reader expects them: lines as they are, and rows of cells between bars as a table.

import { el } from './dom';

const BAR = ' | ';

/** Lines of text as nodes; two rows of cells or more, one after the other, are a table whose first row and cells name the others. */
export function wordsOf(text: string): HTMLElement[] {
  const groups: { rows: boolean; lines: string[] }[] = [];
  for (const line of text.split('\n')) {
    const rows = line.includes(BAR);
    const last = groups[groups.length - 1];
    if (last?.rows === rows) last.lines.push(line);
    else groups.push({ rows, lines: [line] });
  }
  return groups.map(({ rows, lines }) => (rows && lines.length > 1 ? tableOf(lines) : el('div', { text: lines.join('\n') })));
}

function tableOf([head, ...body]: string[]): HTMLElement {
  const cells = (line: string) => line.split(BAR).map((cell) => cell.trim());
  const names = el('tr', {}, ...cells(head!).map((cell) => el('th', { scope: 'col', text: cell })));
  const rows = body.map((line) =>
    el('tr', {}, ...cells(line).map((cell, k) => (k ? el('td', { text: cell }) : el('th', { scope: 'row', text: cell })))));
  return el('div', { class: 'lw-table' }, el('table', {}, el('thead', {}, names), el('tbody', {}, ...rows)));
}
