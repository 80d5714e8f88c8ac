// The root element of a widget: style sheet, theme variables, and what must be undone at the end.

import { el } from './dom';
import { readTheme, type Theme, watchTheme } from './theme';
import { STYLE } from './style';

/** Make a themed root inside `parent`, with what it needs besides the shared style; `changed` is called when the theme is another one. */
export function makeRoot(parent: HTMLElement, kind: string, changed: (theme: Theme) => void, style = '') {
  const root = el('div', { class: `lw-root ${kind}` }, el('style', { text: STYLE + style }));
  parent.append(root);
  let theme = apply(root);
  let seen = JSON.stringify(theme);
  const refresh = () => {
    theme = apply(root);
    const now = JSON.stringify(theme);
    if (now === seen) return;
    seen = now;
    changed(theme);
  };
  const stop = watchTheme(refresh);
  // Hosts render before they attach: only then are the variables of the page there to be read.
  const attached = new ResizeObserver(() => requestAnimationFrame(() => root.isConnected && refresh()));
  attached.observe(root);
  return {
    root,
    theme: () => theme,
    dispose() {
      stop();
      attached.disconnect();
      root.remove();
    },
  };
}

function apply(root: HTMLElement): Theme {
  const theme = readTheme(root);
  const { dark } = theme;
  const set = (name: string, value: string) => root.style.setProperty(`--lw-${name}`, value);
  set('text', theme.text);
  set('muted', theme.muted);
  set('line', theme.line);
  set('background', theme.background);
  set('accent', theme.accent);
  set('pin', theme.pin);
  set('scheme', dark ? 'dark' : 'light');
  set('font', theme.font);
  set('mono', "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace");
  set('good', dark ? '#5fd38d' : '#1a7f37');
  set('bad', dark ? '#ff8b82' : '#c4261d');
  set('wash', dark ? 'rgba(255,255,255,0.1)' : 'rgba(20,30,40,0.08)');
  set('ground', dark ? '#3a3f45' : '#e8eaed');
  set('stripe', dark ? '#808891' : '#969da5');
  root.classList.toggle('lw-card', theme.card);
  return theme;
}
