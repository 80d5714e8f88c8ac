// The widgets of the notebook in a page: ipywidgets' controls and bqplot's figures, from the states that Python gave them.

import { mendNeighbours } from '../core/accessible';
import { el, setText } from '../core/dom';
import type { Makers } from '../document/companion';
import { type Control, placeOf, type Slider, valueAt, valueText } from '../document/controls';
import type { View } from '../pictures/base';
import type { Curve, Drawing } from '../pictures/curves';
import { loadModules, unpacked } from './bundles';
import { type Model, type State, WidgetManager } from './widget_manager';

/** Of one axis: d3's format, and where its ticks are. */
interface Ticks {
  readonly tick_format: string;
  readonly tick_values: readonly number[];
}

/** How a picture of curves looks: the id of a figure, and its ticks across and up. */
interface Look {
  readonly figure: string;
  readonly ticks: readonly [Ticks, Ticks];
}

interface States {
  readonly models: Readonly<Record<string, State>>;
  /** For each study: the ids of its controls, and for each of its panels the looks of its pictures of curves, by index. */
  readonly studies: readonly { readonly controls: readonly string[]; readonly looks: readonly Readonly<Record<string, Look>>[] }[];
}

export async function notebookMakers(): Promise<readonly Makers[]> {
  const [modules, text] = await Promise.all([loadModules(), unpacked(document.getElementById('lwidgets-widgets'))]);
  const { models, studies } = JSON.parse(text) as States;
  const manager = new WidgetManager(modules);
  const made = await manager.make(models);
  return studies.map(({ controls, looks }) => ({
    control: (slider, k, move) => controlView(manager, made.get(controls[k]!)!, slider, move),
    view: (_, p, place) => (Object.keys(looks[p] ?? {}).length ? new PlotView(manager, made, looks[p]!, place) : undefined),
  }));
}

function controlView(manager: WidgetManager, model: Model, slider: Slider, move: (at: number) => void): Control {
  const place = el('div', { class: slider.play ? 'lw-widget lw-stage' : 'lw-widget' });
  mendNeighbours(place);
  // Choices know the place itself, what else there is the value; and a slider over numbers goes to the nearest step.
  const places = model.get('_options_labels') !== undefined;
  const trait = places ? 'index' : 'value';
  const room = ((model.get('step') as number | undefined) ?? 0) / 2;
  // A logarithmic slider steps in powers of its base.
  const base = model.get('base') as number | undefined;
  const along = (value: unknown) => (base === undefined ? (value as number) : Math.log(value as number) / Math.log(base));
  const shows = (at: number) => {
    const [shown, value] = [model.get(trait), places ? at : valueAt(slider, at)];
    return shown === value || Math.abs(along(shown) - along(value)) <= room;
  };
  const here = () => {
    const at = places ? (model.get(trait) as number) : placeOf(slider, model.get(trait));
    return shows(Math.round(at)) ? Math.round(at) : at;
  };
  // By itself, a slider over choices tells only which one it is.
  const tell = () => {
    const words = valueText(valueAt(slider, here()));
    for (const handle of place.querySelectorAll('.noUi-handle')) handle.setAttribute('aria-valuetext', words);
  };
  let putting = false;
  model.on(`change:${trait}`, () => putting || move(here()));
  void manager.show(model, place).then(tell);
  return {
    el: place,
    stage: place,
    show(at) {
      putting = true; // by us, not by a person
      if (!shows(at)) model.set(trait, places ? at : valueAt(slider, at));
      putting = false;
      tell();
    },
  };
}

/** What a figure is made of, each a list of models. */
type Parts = { readonly axes: readonly Model[]; readonly marks: readonly Model[] };

/** bqplot's figure. What is on show is moved into the models; a picture of another look brings axes and marks of its own. */
class PlotView implements View<Drawing> {
  private readonly caption = el('div', { class: 'lwidgets-caption' });
  private readonly unmend: () => void;
  private readonly parts: ReadonlyMap<string, Parts>;
  private shown: Model | null = null;

  constructor(
    private readonly manager: WidgetManager, private readonly models: ReadonlyMap<string, Model>,
    private readonly looks: Readonly<Record<string, Look>>, readonly el: HTMLElement,
  ) {
    // Taken down now: the figure that is shown will hold those of others.
    this.parts = new Map(Object.values(looks).map(({ figure }) => {
      const model = models.get(figure)!;
      return [figure, { axes: model.get('axes') as Model[], marks: model.get('marks') as Model[] }];
    }));
    this.el.classList.add('lwidgets-figure');
    this.unmend = mendNeighbours(this.el);
  }

  show(drawing: Drawing, index: number): void {
    const { figure, ticks } = this.looks[index]!;
    const parts = this.parts.get(figure)!;
    fill(parts, drawing, ticks);
    if (!this.shown) {
      this.shown = this.models.get(figure)!;
      void this.manager.show(this.shown, this.el).then((view) => {
        // bqplot lays out what is within the window only; but paper shows all of the page.
        Object.defineProperty(view, 'visible', { get: () => true, set: () => undefined });
        this.el.append(this.caption);
      });
    }
    this.shown.set(parts);
    setText(this.caption, drawing.caption);
  }

  dispose(): void {
    this.unmend();
    this.el.remove();
  }
}

function fill({ axes, marks }: Parts, { xRange, yRange, xLog, yLog, curves }: Drawing, ticks: readonly [Ticks, Ticks]): void {
  axes.forEach((axis, a) => {
    const [min, max] = [xRange, yRange][a]!;
    const { tick_format, tick_values } = ticks[a]!;
    (axis.get('scale') as Model).set({ min, max });
    axis.set({ tick_format }); // first: bqplot draws new values in the format it knows
    axis.set({ tick_values: Float64Array.from(tick_values.filter((tick) => tick >= min && tick <= max)) });
  });
  marks.forEach((mark, k) => mark.set(drawable(curves[k]!, xLog, yLog)));
}

/** Without what bqplot would place at NaN: points that are not finite, or not positive on a log scale, and ends of a line. */
function drawable({ x, y, style }: Curve, xLog: boolean, yLog: boolean): { x: Float64Array; y: Float64Array | Float64Array[] } {
  const n = x.length;
  const placed = (v: number, log: boolean) => (Number.isFinite(v) && (!log || v > 0) ? v : NaN);
  const xs = Float64Array.from(x, (v) => placed(v, xLog));
  const ys = Float64Array.from(y, (v) => placed(v, yLog));
  if (style === 'band') return { x: xs, y: [ys.subarray(0, n), ys.subarray(n)] };
  const all = Array.from(xs.keys());
  const there = all.filter((k) => !Number.isNaN(xs[k]! + ys[k]!));
  const used = style === 'points' ? there : all.slice(there[0] ?? n, (there.at(-1) ?? n) + 1);
  return { x: Float64Array.from(used, (k) => xs[k]!), y: Float64Array.from(used, (k) => ys[k]!) };
}
