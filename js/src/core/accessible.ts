// Mends what the neighbours of our widgets leave out: ipywidgets' sliders have no accessible name and lose their arrow
// keys to the notebook's shortcuts, bqplot's figures have neither role nor name.

const CONTROLS = '.noUi-handle, select, input, button, textarea';
const SETTLE_MS = 60;

/** Mend everything below `root` now and whenever it changes; returns the way to stop. */
export function mendNeighbours(root: HTMLElement): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const mend = () => {
    timer = undefined;
    mendControls(root);
    mendFigures(root);
  };
  const observer = new MutationObserver(() => (timer ??= setTimeout(mend, SETTLE_MS)));
  observer.observe(root, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ['title', 'data-lwidgets-label'] });
  mend();
  return () => {
    clearTimeout(timer);
    observer.disconnect();
  };
}

/** Run `found` with the explorer around `node` once there is one; hosts render before they attach. */
export function withExplorer(node: HTMLElement, found: (explorer: HTMLElement) => () => void): () => void {
  let undo: (() => void) | undefined;
  const look = () => {
    const explorer = node.closest<HTMLElement>('.lwidgets-explorer');
    if (undo || !explorer?.isConnected) return;
    undo = found(explorer);
    attached.disconnect();
  };
  // A size is what an element gets when it is attached.
  const attached = new ResizeObserver(look);
  attached.observe(node);
  look();
  return () => {
    attached.disconnect();
    undo?.();
  };
}

function mendControls(root: HTMLElement): void {
  for (const control of root.querySelectorAll<HTMLElement>(CONTROLS)) {
    // Lab looks at the focused element only; an ancestor with this attribute does not help.
    put(control, 'data-lm-suppress-shortcuts', 'true');
    if (!control.matches('.noUi-handle')) continue;
    const label = labelOf(control);
    if (!label) continue;
    const handles = control.closest('.noUi-target')?.querySelectorAll('.noUi-handle') ?? [];
    const end = handles.length === 2 ? (control === handles[0] ? ', lower end' : ', upper end') : '';
    put(control, 'aria-label', label + end);
  }
}

function labelOf(control: HTMLElement): string {
  const box = control.closest('.widget-inline-hbox, .widget-inline-vbox, .jupyter-widgets');
  const label = box?.querySelector('.widget-label');
  return (label?.textContent || label?.getAttribute('title') || box?.getAttribute('title') || '').trim();
}

function mendFigures(root: HTMLElement): void {
  for (const figure of root.querySelectorAll('.bqplot')) {
    const drawing = figure.querySelector('svg.svg-figure') ?? figure.querySelector('svg');
    if (!drawing) continue;
    put(drawing, 'role', 'img');
    put(drawing, 'aria-label', figureName(figure, drawing) || 'Plot');
    const background = figure.querySelector('svg.svg-background');
    if (background && background !== drawing) put(background, 'aria-hidden', 'true');
  }
}

function figureName(figure: Element, drawing: Element): string {
  const names = [
    figure.closest('[data-lwidgets-label]')?.getAttribute('data-lwidgets-label'),
    figure.closest('.lwidgets-figure')?.querySelector('.lwidgets-caption')?.textContent,
    figure.getAttribute('title'),
    drawing.querySelector('.mainheading')?.textContent,
  ];
  return names.find((name) => name?.trim())?.trim() ?? '';
}

/** Writing an attribute that is already there would wake the observer again. */
function put(element: Element, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
