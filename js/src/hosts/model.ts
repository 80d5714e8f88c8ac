// What a host uses of an anywidget model, and listeners that cannot be forgotten.

export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown): void;
  on(event: string, callback: () => void): void;
  off(event: string, callback: () => void): void;
}

export interface RenderContext {
  model: Model;
  el: HTMLElement;
}

/** Call `react` now and at every change of a trait; returns the way to stop. */
export function follow(model: Model, trait: string, react: (value: never) => void): () => void {
  const run = () => react(model.get(trait) as never);
  model.on(`change:${trait}`, run);
  run();
  return () => model.off(`change:${trait}`, run);
}
