// A saved picture on the page. It comes from a file or a notebook, that is from a stranger: nothing of it is run or parsed as HTML.

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Widget } from '@lumino/widgets';
import { type Companion, CompanionError, decodeCompanion, landscapeCompanion, mountCompanion, mountFault } from '../../src/document/companion';

export const COMPANION = 'application/vnd.lwidgets.companion.v2+json';
export const LANDSCAPE = 'application/vnd.lwidgets.landscape.v1+json';

/** Shows a companion document, or in its place what is wrong with it. */
export class SavedPicture extends Widget implements IRenderMime.IRenderer {
  private shown: { dispose(): void } | null = null;
  private newest = 0;

  /** `read` makes a companion of what the mime bundle or the file holds. */
  constructor(private readonly mimeType: string, private readonly read: (data: unknown) => Companion | Promise<Companion> = decodeCompanion) {
    super();
    this.addClass('lwidgets-saved');
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const turn = ++this.newest;
    let show: () => { dispose(): void };
    try {
      const companion = await this.read(model.data[this.mimeType]);
      show = () => mountCompanion(this.node, companion);
    } catch (error) {
      show = () => mountFault(this.node, error);
    }
    if (turn !== this.newest || this.isDisposed) return;
    this.shown?.dispose();
    this.shown = show();
  }

  override dispose(): void {
    this.shown?.dispose();
    this.shown = null;
    super.dispose();
  }
}

/** The companion of the text of a `*.landscape.json` file. */
export function readLandscape(text: unknown): Companion {
  let json: unknown;
  try {
    json = JSON.parse(String(text));
  } catch {
    throw new CompanionError('landscape file: its text must be complete JSON, got text that ends or breaks in between. Copy or save it again.');
  }
  return landscapeCompanion(json);
}
