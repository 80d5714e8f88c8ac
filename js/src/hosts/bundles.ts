// What a page carries compressed: the bundles that pip installed, in the AMD form that they are made in, and text.

import { inflate } from '../core/arrays';
import { el } from '../core/dom';
import { CompanionError } from '../core/strict';

export type Module = Readonly<Record<string, unknown>>;
type Factory = (...given: unknown[]) => unknown;
interface Loader {
  define?: unknown;
  requirejs?: unknown;
  Jupyter?: unknown;
}

/** The Python package with ipywidgets' bundle. */
const WIDGETS = 'widgetsnbextension';

/** The modules that the bundles of the page define, by name; each may need those before it. */
export async function loadModules(): Promise<ReadonlyMap<string, Module>> {
  const bundles = [...document.querySelectorAll<HTMLElement>('script.lwidgets-bundle')];
  const codes = await Promise.all(bundles.map(unpacked));
  const modules = new Map<string, Module>();
  bundles.forEach(({ dataset: { name = '' } }, k) => {
    if (name === WIDGETS) {
      const made = runWidgets(codes[k]!);
      modules.set('@jupyter-widgets/base', made).set('@jupyter-widgets/controls', made);
    } else {
      modules.set(name, run(name, codes[k]!, modules));
    }
  });
  return modules;
}

/** The text in an element whose `data-size` says how long it is in bytes. */
export async function unpacked(element: HTMLElement | null): Promise<string> {
  if (!element) throw new CompanionError('companion: page must carry the widgets that it shows, got none. Download the page again.');
  return new TextDecoder().decode(await inflate(element.textContent.trim(), Number(element.dataset.size), element.dataset.name ?? element.id));
}

/**
 * ipywidgets' bundle is made for the classic Notebook, and holds base and controls alike. It gets as much of that
 * notebook as it touches while it starts, and is asked for its style sheets.
 */
function runWidgets(code: string): Module {
  const ignore = () => undefined;
  const Jupyter = { version: '7.0.0', notebook: { container: { on: ignore }, keyboard_manager: { actions: { register: ignore } } } };
  const parts: Record<string, unknown> = {
    'base/js/namespace': Jupyter,
    'base/js/events': { on: ignore },
    'notebook/js/outputarea': { OutputArea: { prototype: { register_mime_type: ignore } } },
  };
  const requirejs = (names: readonly string[], found: Factory) => void found(...names.map((name) => parts[name]));
  const page = globalThis as Loader;
  Object.assign(page, { Jupyter, requirejs: Object.assign(requirejs, { config: ignore }) });
  try {
    const made = run(WIDGETS, code, new Map([['module', { uri: document.baseURI }]]));
    (made.load_ipython_extension as () => unknown)();
    return made;
  } finally {
    delete page.Jupyter;
    delete page.requirejs;
  }
}

/**
 * Run an AMD module. The policy of the page allows its code by hash, as a script in line: neither `eval` nor an address
 * that could hold something else.
 */
function run(name: string, code: string, given: ReadonlyMap<string, unknown>): Module {
  const page = globalThis as Loader;
  const calls: [readonly string[], Factory][] = [];
  page.define = Object.assign((...call: [readonly string[], Factory]) => void calls.push(call), { amd: true });
  const script = el('script', { text: code });
  document.head.append(script);
  script.remove();
  delete page.define;
  if (!calls[0]) throw new CompanionError(`companion: ${name} must be the script that the page allows, got another. Download the page again.`);
  const [needs, factory] = calls[0];
  return factory(...needs.map((need) => given.get(need))) as Module;
}
