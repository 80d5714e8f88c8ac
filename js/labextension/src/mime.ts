// Renderers that work anywhere in JupyterLab and Notebook 7: of our output type, and of landscape files.

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { LANDSCAPE_ICON } from './icon';
import { COMPANION, LANDSCAPE, readLandscape, SavedPicture } from './saved';

const output: IRenderMime.IExtension = {
  id: 'lwidgets:output',
  dataType: 'json',
  rendererFactory: { safe: true, mimeTypes: [COMPANION], createRenderer: () => new SavedPicture(COMPANION) },
};

const file: IRenderMime.IExtension = {
  id: 'lwidgets:landscape',
  dataType: 'string', // so that a broken file is ours to explain
  rendererFactory: {
    safe: true,
    mimeTypes: [LANDSCAPE],
    createRenderer: () => {
      const picture = new SavedPicture(LANDSCAPE, readLandscape);
      Object.assign(picture.node.style, { overflow: 'auto', padding: '12px' });
      return picture;
    },
  },
  fileTypes: [
    {
      name: 'loss-landscape',
      displayName: 'Loss landscape',
      mimeTypes: [LANDSCAPE],
      extensions: ['.landscape.json'],
      fileFormat: 'text',
      icon: LANDSCAPE_ICON,
    },
  ],
  documentWidgetFactoryOptions: {
    name: 'Loss landscape',
    primaryFileType: 'loss-landscape',
    fileTypes: ['loss-landscape'],
    defaultFor: ['loss-landscape'],
  },
};

export default [output, file];
