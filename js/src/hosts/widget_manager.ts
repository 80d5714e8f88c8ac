// The least that Jupyter widgets need around them: their models by id, and views of these. There is no kernel to talk to.

import { CompanionError } from '../core/strict';
import type { Module } from './bundles';

/** A widget as ipywidgets sends it over a comm. */
export interface State extends Readonly<Record<string, unknown>> {
  readonly _model_module: string;
  readonly _model_name: string;
}

/** What we use of a Backbone model. */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  set(values: Readonly<Record<string, unknown>>): void;
  on(event: string, callback: () => void): void;
}

interface WidgetView {
  readonly luminoWidget: unknown;
  listenTo(model: Model, event: string, callback: () => void): void;
  render(): unknown;
  remove(): void;
}

type ModelClass = (new (state: unknown, options: object) => Model) & { _deserialize_state(state: State, manager: WidgetManager): Promise<unknown> };
type ViewClass = new (options: object) => WidgetView;

export class WidgetManager {
  private readonly models = new Map<string, Promise<Model>>();

  constructor(private readonly modules: ReadonlyMap<string, Module>) {}

  /** Make models. All are under way before the first is there, as they refer to one another. */
  async make(states: Readonly<Record<string, State>>): Promise<ReadonlyMap<string, Model>> {
    for (const [id, state] of Object.entries(states)) this.models.set(id, Promise.resolve().then(() => this.model(id, state)));
    return new Map(await Promise.all([...this.models].map(async ([id, model]) => [id, await model] as const)));
  }

  /** Put a view of a model into a place of the page. */
  async show(model: Model, place: HTMLElement): Promise<WidgetView> {
    const view = await this.create_view(model);
    // Lumino itself is not exported; its Widget is the parent of a class that is.
    this.find<{ attach(widget: unknown, host: HTMLElement): void }>('@jupyter-widgets/base', 'JupyterLuminoWidget').attach(view.luminoWidget, place);
    return view;
  }

  // What the widgets call.

  get_model(id: string): Promise<Model> {
    return this.models.get(id) ?? Promise.reject(new CompanionError(`companion: widgets must be in the page, got none of id ${id}.`));
  }

  async create_view(model: Model, options: object = {}): Promise<WidgetView> {
    await Promise.resolve(); // a view changes its model while it is made: not before whoever asks is ready for that
    const View = this.find<ViewClass>(model.get('_view_module'), model.get('_view_name'));
    const view = new View({ model, options });
    view.listenTo(model, 'destroy', view.remove);
    await view.render();
    return view;
  }

  callbacks(): object {
    return {};
  }

  private async model(model_id: string, state: State): Promise<Model> {
    const Class = this.find<ModelClass>(state._model_module, state._model_name);
    return new Class(await Class._deserialize_state(state, this), { widget_manager: this, model_id });
  }

  private find<T>(module: unknown, name: unknown): T {
    const found = this.modules.get(String(module))?.[String(name)];
    if (!found) throw new CompanionError(`companion: widgets must be of the bundles in the page, got ${String(name)} of ${String(module)}.`);
    return found as T;
  }
}
