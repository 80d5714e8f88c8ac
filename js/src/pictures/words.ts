// Words: a title, and lines as they are.

import { el } from '../core/dom';
import { makeRoot } from '../core/root';
import { oneOf, PROSE, text } from '../core/strict';
import type { Kind } from './base';

interface Words {
  readonly text: string;
  readonly title: string;
  readonly tone: Tone;
}

type Tone = (typeof TONES)[number];
const TONES = ['plain', 'note', 'alert'] as const;
const CLASSES: Record<Tone, string> = { plain: 'lw-words', note: 'lw-words lw-notice lw-note', alert: 'lw-words lw-notice lw-bad' };

const STYLE = /* css */ `
.lw-words { padding: 4px 10px; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; max-width: 85ch; }
.lw-words b { font-weight: 600; }
.lw-words.lw-notice { margin: 4px 10px; padding: 8px 12px; }
.lw-notice.lw-note { border-left-color: var(--lw-accent); }
.lw-notice.lw-bad { border-left-color: var(--lw-bad); }
`;

export const words: Kind<Words, Words> = {
  name: 'words',

  read: (raw, at) => ({
    text: text(raw.text, `${at}.text`, PROSE),
    title: text(raw.title, `${at}.title`),
    tone: oneOf(raw.tone ?? 'plain', `${at}.tone`, TONES),
  }),

  mix: (_, near, parts) => ({ ...near, kept: parts.length > 1 ? ['words'] : [] }),

  mount(place) {
    const home = makeRoot(place, 'lw-prose', () => undefined, STYLE);
    let shown = '';
    return {
      el: place,
      dispose: home.dispose,
      show({ text, title, tone }) {
        const now = JSON.stringify([text, title, tone]);
        if (now === shown) return; // a screen reader is not woken for nothing
        shown = now;
        let box = home.root.querySelector<HTMLElement>('.lw-words');
        if (box?.dataset.tone !== tone) {
          box?.remove();
          home.root.append((box = el('div', tone === 'alert' ? { role: 'alert' } : { 'aria-live': 'polite' })));
          box.className = CLASSES[tone];
          box.dataset.tone = tone;
        }
        // What is said politely, or as an alert, is said when it gets its content.
        box.replaceChildren(...(title ? [el('b', { text: title }), title && text ? '\n' : ''] : []), text);
      },
    };
  },
};
