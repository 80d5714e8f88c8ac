// One line about a running computation: how far, how exact, a way to stop it, and the exception when it failed.

import { el, setText } from '../core/dom';
import { makeRoot } from '../core/root';

export interface Status {
  phase: string;
  done: number;
  total: number;
  text: string;
  message: string;
  where: string;
}

const WORDS: Record<string, string> = {
  idle: 'Ready', running: 'Computing…', done: 'Done', stopped: 'Stopped', failed: 'Failed', closed: 'Closed',
};

const STYLE = /* css */ `
.lw-status { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 12px; padding: 4px 10px; }
.lw-track { flex: 1 1 110px; max-width: 240px; height: 6px; border-radius: 3px; background: var(--lw-wash); overflow: hidden; }
.lw-fill { height: 100%; width: 0; border-radius: 3px; background: var(--lw-accent); transition: width 120ms linear; }
.lw-status-text { flex: 4 1 200px; min-width: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.lw-root .lw-stop { padding: 2px 12px; border: 1px solid var(--lw-line); border-radius: 3px; background: transparent; color: var(--lw-text);
  font: 12px/1.5 var(--lw-font); cursor: pointer; }
.lw-root .lw-stop:disabled { opacity: 0.45; cursor: default; }
.lw-notice.lw-alert { flex: 1 1 100%; margin: 2px 0; max-height: 14em; overflow: auto; border-left-color: var(--lw-bad); }
.lw-alert b { display: block; font-weight: 600; }
.lw-root .lw-alert pre { margin: 2px 0 0; font: 12px/1.45 var(--lw-mono); white-space: pre-wrap; overflow-wrap: anywhere; background: none; color: inherit; }
/* Neighbours: ipywidgets gives every readout 72 px, too few for the two numbers of a range. */
.lwidgets-explorer .widget-readout { min-width: 6em; }
@media (prefers-reduced-motion: reduce) { .lw-fill { transition: none; } }
`;

export class StatusView {
  private readonly home;
  private readonly fill = el('div', { class: 'lw-fill' });
  private readonly track = el('div', { class: 'lw-track', role: 'progressbar', 'aria-label': 'Progress', 'aria-valuemin': '0' }, this.fill);
  private readonly text = el('div', { class: 'lw-status-text', role: 'status', 'aria-live': 'polite' });
  private readonly stop = el('button', { class: 'lw-stop', type: 'button', 'data-lm-suppress-shortcuts': 'true', text: 'Stop' });
  private readonly where = el('b');
  private readonly message = el('pre');
  private readonly alert = el('div', { class: 'lw-notice lw-alert', role: 'alert', hidden: '', tabindex: '0', 'data-lm-suppress-shortcuts': 'true' });

  constructor(parent: HTMLElement, onStop: () => void) {
    this.home = makeRoot(parent, 'lw-status-root', () => undefined, STYLE);
    this.stop.addEventListener('click', () => {
      this.stop.disabled = true;
      onStop();
    });
    this.home.root.append(el('div', { class: 'lw-status' }, this.track, this.text, this.stop, this.alert));
    this.show({});
  }

  get root(): HTMLElement {
    return this.home.root;
  }

  show(status: Partial<Status>): void {
    const phase = status.phase ?? 'idle';
    const total = Math.max(0, Number(status.total) || 0);
    const done = Math.min(total, Math.max(0, Number(status.done) || 0));
    this.root.dataset.phase = phase;
    this.fill.style.width = `${total ? (100 * done) / total : 0}%`;
    this.track.setAttribute('aria-valuemax', String(total));
    this.track.setAttribute('aria-valuenow', String(done));
    const word = Object.hasOwn(WORDS, phase) ? WORDS[phase]! : phase;
    setText(this.text, status.text ? (phase === 'running' || phase === 'done' || phase === 'idle' ? status.text : `${word} · ${status.text}`) : word);
    this.stop.disabled = phase !== 'running';
    const failed = phase === 'failed';
    if (failed) {
      setText(this.where, status.where ? `Failed in ${status.where}` : 'Failed');
      setText(this.message, status.message || 'No message was given.');
      // An alert is read out when it gets its content, so that comes last.
      if (!this.alert.firstChild) this.alert.append(this.where, this.message);
    } else {
      this.alert.replaceChildren();
    }
    this.alert.hidden = !failed;
  }

  dispose(): void {
    this.home.dispose();
  }
}
