// A notebook output that holds a widget and its saved picture: the widget while a kernel has its model, else the picture.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import { type IRenderMimeRegistry, MimeModel } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { DisposableDelegate } from '@lumino/disposable';
import { Panel, type Widget } from '@lumino/widgets';
import { COMPANION, SavedPicture } from './saved';

const WIDGET = 'application/vnd.jupyter.widget-view+json';
const LIVE = 'application/vnd.lwidgets.live.v1+json'; // the same, in a notebook that only we are to show alive
const BEFORE_WIDGETS = -100; // ipywidgets registers its renderer at -10, and the lowest rank shows an output
const HEAD_START_MS = 150; // a widget that was just made turns up within that: no flicker

class SavedOrLive extends Panel implements IRenderMime.IRenderer {
  private model: IRenderMime.IMimeModel | null = null;
  private saved: SavedPicture | null = null;
  private live: Panel | null = null;
  private factory: IRenderMime.IRendererFactory | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly watch = new MutationObserver(() => this.settle());

  constructor(
    private readonly rendermime: IRenderMimeRegistry,
    private readonly session: DocumentRegistry.Context['sessionContext'],
  ) {
    super();
    this.addClass('lwidgets-output');
    this.node.style.position = 'relative';
    session.statusChanged.connect(this.look, this);
    session.kernelChanged.connect(this.look, this);
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    if (this.live && idOf(model) === idOf(this.model)) {
      // The same widget with a newer picture: what a person holds in hand stays where it is.
      this.model = model;
      await this.saved?.renderModel(model);
      return;
    }
    this.reset();
    this.model = model;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.settle();
    }, this.session.session?.kernel ? HEAD_START_MS : 0);
    this.look();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.session.statusChanged.disconnect(this.look, this);
    this.session.kernelChanged.disconnect(this.look, this);
    this.reset();
    super.dispose();
  }

  private reset(): void {
    clearTimeout(this.timer);
    this.timer = this.factory = undefined;
    this.dropLive();
    this.saved?.dispose();
    this.saved = this.model = null;
  }

  private dropLive(): void {
    this.watch.disconnect();
    this.live?.dispose();
    this.live = null;
  }

  /** Begin to wait for the widget. Once a kernel is connected ipywidgets renders by another factory, which knows its models. */
  private look(): void {
    const { model } = this;
    if (!model) return;
    const factory = this.rendermime.getFactory(WIDGET);
    const widget = widgetOf(model);
    if (model.trusted && widget && factory && factory !== this.factory) {
      this.factory = factory;
      this.dropLive();
      this.live = this.rendermime.createRenderer(WIDGET) as Widget as Panel;
      hide(this.live, true);
      this.addWidget(this.live);
      this.watch.observe(this.live.node, { childList: true });
      // A copy: when a widget goes away, ipywidgets erases its model_id from the data, which the notebook saves.
      const data = { [WIDGET]: { ...widget } };
      void (this.live as Widget as IRenderMime.IRenderer).renderModel(new MimeModel({ trusted: true, data }));
    }
    this.settle();
  }

  /** Show the widget if it is alive. A widget of a kernel that is gone looks alive, and does nothing. */
  private settle(): void {
    if (!this.model) return;
    const widget = this.live?.widgets[0];
    const alive = widget && this.session.session?.kernel && !widget.hasClass('jupyter-widgets-disconnected');
    if (alive && this.live) {
      this.watch.observe(widget.node, { attributeFilter: ['class'] });
      hide(this.live, false);
      this.saved?.dispose();
      this.saved = null;
      this.node.dataset.mode = 'live';
      return;
    }
    if (this.node.dataset.mode === 'live') this.dropLive();
    if (this.saved || this.timer !== undefined) return;
    this.node.dataset.mode = 'saved';
    this.saved = new SavedPicture(COMPANION);
    this.addWidget(this.saved);
    void this.saved.renderModel(this.model);
  }
}

function widgetOf(model: IRenderMime.IMimeModel): { readonly model_id?: string } | undefined {
  return (model.data[LIVE] ?? model.data[WIDGET]) as { model_id?: string } | undefined;
}

function idOf(model: IRenderMime.IMimeModel | null): unknown {
  return model ? widgetOf(model)?.model_id : undefined;
}

/** Out of sight, with its width: what is laid out without one draws nonsense. */
function hide({ node }: Widget, hidden: boolean): void {
  Object.assign(node.style, hidden ? { position: 'absolute', inset: '0 0 auto', visibility: 'hidden' } : { position: '', inset: '', visibility: '' });
}

export const output: JupyterFrontEndPlugin<void> = {
  id: 'lwidgets:saved-or-live',
  description: 'Shows the saved picture of a widget until, and unless, its model turns up.',
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    // By the registry of documents, since @jupyterlab/notebook is not on every npm registry in a version that installs.
    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: (panel: Widget, context: DocumentRegistry.Context) => {
        const { rendermime } = (panel as Widget & { content: { rendermime: IRenderMimeRegistry } }).content;
        const createRenderer = () => new SavedOrLive(rendermime, context.sessionContext);
        rendermime.addFactory({ safe: true, mimeTypes: [COMPANION], createRenderer }, BEFORE_WIDGETS);
        return new DisposableDelegate(() => undefined);
      },
    });
  },
};
