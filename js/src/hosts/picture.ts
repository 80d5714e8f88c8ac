// anywidget host of every kind of picture: the picture and its arrays in, what a person holds out and in.

import { MissingArray, sentArrays } from '../core/arrays';
import { el, setText } from '../core/dom';
import { makeRoot } from '../core/root';
import { CompanionError, record } from '../core/strict';
import { type AnyKind, kindOf } from '../pictures';
import type { Held, View } from '../pictures/base';
import { follow, type RenderContext } from './model';

export default {
  render({ model, el: parent }: RenderContext): () => void {
    const home = makeRoot(parent, 'lw-picture-head', () => undefined);
    const notice = el('div', { class: 'lw-notice', role: 'alert', hidden: '' });
    const empty = el('div', { class: 'lw-empty', text: 'Nothing computed yet' });
    home.root.append(notice, empty);
    let shown: { readonly kind: AnyKind; readonly view: View<unknown> } | undefined;
    let missing = false;
    let raf = 0;

    const tell = (held: Held) => {
      model.set('held', { ...(model.get('held') as Held), ...held });
      model.save_changes();
    };
    const viewOf = (kind: AnyKind): View<unknown> => {
      if (shown?.kind === kind) return shown.view;
      drop();
      const place = parent.appendChild(el('div', { class: 'lw-view', 'data-kind': kind.name }));
      shown = { kind, view: kind.mount(place, tell) };
      return shown.view;
    };
    const drop = () => {
      shown?.view.dispose();
      shown?.view.el.remove();
      shown = undefined;
    };
    const say = (fault: string) => {
      setText(notice, fault);
      notice.hidden = !fault;
      home.root.hidden = notice.hidden && empty.hidden;
    };
    /** What is wrong is said above the last good picture. */
    const attempt = (act: () => void) => {
      try {
        act();
        say('');
      } catch (error) {
        if (!(error instanceof CompanionError)) throw error;
        missing = error instanceof MissingArray; // on its way, which is no fault
        if (!missing) say(`This picture could not be drawn: ${error.message.replace(/^companion: /, '')}`);
      }
    };

    const draw = () => {
      raf = 0;
      missing = false;
      const raw = (model.get('picture') ?? {}) as Record<string, unknown>;
      const none = !Object.keys(raw).length;
      attempt(() => {
        if (!none) {
          const kind = kindOf(raw.kind, 'picture.kind');
          const arrays = sentArrays(model.get('arrays'));
          const picture: unknown = kind.read(record(raw, 'picture'), 'picture', arrays);
          const fresh = shown?.kind !== kind;
          const view = viewOf(kind);
          view.el.hidden = false;
          view.show(kind.mix(arrays, picture, [{ picture, weight: 1 }]));
          if (fresh) view.hold?.((model.get('held') ?? {}) as Held);
        } else if (shown) shown.view.el.hidden = true;
        empty.hidden = !none;
      });
    };
    // Several messages of one frame are drawn once, at its end; what is there already is drawn at once.
    let first = true;
    const soon = () => {
      if (first) draw();
      else raf ||= requestAnimationFrame(draw);
      first = false;
    };
    const stops = [
      follow(model, 'picture', soon),
      follow(model, 'arrays', () => missing && soon()),
      follow(model, 'held', (held) => void (shown && attempt(() => shown?.view.hold?.(held ?? {})))),
    ];
    return () => {
      cancelAnimationFrame(raf);
      for (const stop of stops) stop();
      drop();
      home.dispose();
    };
  },
};
