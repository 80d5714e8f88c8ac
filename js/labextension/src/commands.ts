// Ways to begin: a launcher card, commands of the palette, the file browser's context menu.

import { ILabShell, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { FileDialog, IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { LabIcon } from '@jupyterlab/ui-components';
import type { Widget } from '@lumino/widgets';
import { LANDSCAPE_ICON } from './icon';
import { checkpointNotebook, demoNotebook } from './notebooks';

const NEW = 'lwidgets:new-notebook';
const COMPARE = 'lwidgets:compare';
const EXPLORE = 'lwidgets:explore-checkpoint';
const CHECKPOINT = /\.(safetensors|pt)$/i;
const LANDSCAPE = /\.landscape\.json$/i;

const icon = new LabIcon(LANDSCAPE_ICON);

export const commands: JupyterFrontEndPlugin<void> = {
  id: 'lwidgets:commands',
  description: 'New loss landscape notebooks, and landscape files side by side.',
  autoStart: true,
  optional: [ICommandPalette, ILauncher, IFileBrowserFactory, IDocumentManager, ILabShell],
  activate: (
    app: JupyterFrontEnd,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    browsers: IFileBrowserFactory | null,
    manager: IDocumentManager | null,
    shell: ILabShell | null,
  ) => {
    const category = 'Loss landscapes';
    const folder = () => browsers?.tracker.currentWidget?.model.path ?? '';

    app.commands.addCommand(NEW, {
      label: (args) => (args.isLauncher ? 'Loss landscape' : 'New loss landscape notebook'),
      caption: 'A notebook that shows the loss around a small network, to run and to change',
      icon,
      execute: async (args) => open(app, typeof args.cwd === 'string' ? args.cwd : folder(), demoNotebook),
    });
    palette?.addItem({ command: NEW, category });
    launcher?.add({ command: NEW, category: 'Other', args: { isLauncher: true } });

    if (manager && shell) {
      app.commands.addCommand(COMPARE, {
        label: 'Compare landscapes…',
        caption: 'Open landscape files side by side',
        icon,
        execute: async () => {
          const chosen = await FileDialog.getOpenFiles({
            manager,
            title: 'Compare landscapes: choose two or more files',
            defaultPath: folder(),
            filter: (file) => (file.type === 'directory' || LANDSCAPE.test(file.name) ? {} : null),
          });
          let beside: Widget | undefined;
          for (const { path } of (chosen.value ?? []).filter(({ name }) => LANDSCAPE.test(name))) {
            beside = manager.open(path, 'default', undefined, beside ? { mode: 'split-right', ref: beside.id } : {}) ?? beside;
          }
        },
      });
      palette?.addItem({ command: COMPARE, category });
    }

    if (browsers) {
      const selected = () => [...(browsers.tracker.currentWidget?.selectedItems() ?? [])];
      const checkpoint = () => {
        const [first, ...others] = selected();
        return first && first.type !== 'directory' && !others.length && CHECKPOINT.test(first.name) ? first : null;
      };
      app.commands.addCommand(EXPLORE, {
        label: 'Explore loss landscape',
        caption: 'A notebook around this checkpoint',
        icon,
        isVisible: () => checkpoint() !== null,
        execute: async () => {
          const file = checkpoint();
          if (!file) return;
          const parent = file.path.slice(0, Math.max(0, file.path.length - file.name.length - 1));
          await open(app, parent, (kernelspec) => checkpointNotebook(file.name, kernelspec));
        },
      });
      app.contextMenu.addItem({ command: EXPLORE, selector: '.jp-DirListing-item[data-isdir="false"]', rank: 1.5 });
    }
  },
};

/** Make a notebook in a folder and open it; it runs only when its reader says so. */
async function open(app: JupyterFrontEnd, folder: string, content: (kernelspec: object) => object): Promise<void> {
  const { contents, kernelspecs } = app.serviceManager;
  await kernelspecs.ready;
  const { name, display_name, language } = pythonKernel(kernelspecs.specs);
  const made = await contents.newUntitled({ path: folder, type: 'notebook' });
  await contents.save(made.path, {
    type: 'notebook',
    format: 'json',
    content: content({ name, display_name, language }),
  });
  await app.commands.execute('docmanager:open', { path: made.path, factory: 'Notebook' });
}

/** The default kernel if it speaks Python, else the first that does. */
function pythonKernel(specs: JupyterFrontEnd['serviceManager']['kernelspecs']['specs']) {
  const known = Object.values(specs?.kernelspecs ?? {}).filter((spec) => spec?.language === 'python');
  const chosen = known.find((spec) => spec?.name === specs?.default) ?? known[0];
  return { name: chosen?.name ?? 'python3', display_name: chosen?.display_name ?? 'Python 3', language: 'python' };
}
