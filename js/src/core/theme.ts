// Colours and font of the surroundings: JupyterLab's CSS variables where there are any, else the reader's colour scheme.

export interface Theme {
  readonly dark: boolean;
  /** Outside Jupyter the figure paints its own background, or a dark figure might stand on white paper. */
  readonly card: boolean;
  readonly text: string;
  readonly muted: string;
  readonly line: string;
  readonly grid: string;
  readonly background: string;
  readonly accent: string;
  readonly pin: string;
  readonly font: string;
}

// Custom properties that the style sheet of the widgets reads too; set on the root where Jupyter's are missing.
const LIGHT = { text: '#1f2328', muted: '#59636e', background: '#ffffff', accent: '#0b66c3' };
const DARK = { text: '#e6e8eb', muted: '#a2abb5', background: '#16191d', accent: '#6cb2ff' };
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif";

// Between beforeprint and afterprint, when everything is drawn for white paper.
let printing = false;

export function readTheme(root: HTMLElement): Theme {
  const style = getComputedStyle(root);
  const jupyter = (name: string) => style.getPropertyValue(`--jp-${name}`).trim();
  const inJupyter = jupyter('layout-color0') !== '' && jupyter('content-font-color1') !== '';
  const background = inJupyter && !printing ? jupyter('layout-color0') : '';
  const dark = !printing && (inJupyter ? luminance(background) < 0.4 : darkSurroundings(root, style));
  const own = dark ? DARK : LIGHT;
  return {
    dark,
    card: !inJupyter,
    text: opaque(inJupyter ? jupyter('content-font-color1') : '', own.text, dark),
    muted: own.muted,
    line: dark ? '#7d8792' : '#8b949e',
    grid: dark ? 'rgba(255,255,255,0.13)' : 'rgba(20,30,40,0.12)',
    background: background || own.background,
    accent: (inJupyter && jupyter('brand-color1')) || own.accent,
    pin: dark ? '#ff8a3d' : '#d55e00',
    font: (inJupyter && jupyter('ui-font-family')) || FONT,
  };
}

/** Call back whenever the theme of the page may have changed; returns the way to stop. */
export function watchTheme(changed: () => void): () => void {
  let timers: ReturnType<typeof setTimeout>[] = [];
  const soon = () => {
    timers.forEach(clearTimeout);
    // Lab renames the theme before its style sheet has arrived: look again later.
    timers = [0, 150, 600].map((ms) => setTimeout(changed, ms));
  };
  const observer = new MutationObserver(soon);
  const attributeFilter = ['class', 'style', 'data-jp-theme-name', 'data-jp-theme-light', 'data-theme'];
  for (const node of [document.documentElement, document.body]) observer.observe(node, { attributes: true, attributeFilter });
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  scheme.addEventListener('change', soon);
  // At once: the page is on paper before a timer fires.
  const print = (event: Event) => {
    printing = event.type === 'beforeprint';
    changed();
  };
  const life = new AbortController();
  for (const type of ['beforeprint', 'afterprint']) addEventListener(type, print, { signal: life.signal });
  return () => {
    timers.forEach(clearTimeout);
    life.abort();
    observer.disconnect();
    scheme.removeEventListener('change', soon);
  };
}

/** Outside Jupyter: a page that paints its own background decides, else the reader's preference does. */
function darkSurroundings(root: HTMLElement, style: CSSStyleDeclaration): boolean {
  const scheme = style.colorScheme;
  if (scheme === 'dark' || scheme === 'only dark') return true;
  if (scheme === 'light' || scheme === 'only light') return false;
  for (let node = root.parentElement; node; node = node.parentElement) {
    const [, , , alpha] = channels(getComputedStyle(node).backgroundColor);
    if (alpha > 0.5) return luminance(getComputedStyle(node).backgroundColor) < 0.4;
  }
  return matchMedia('(prefers-color-scheme: dark)').matches;
}

/** Jupyter writes its text colours as black or white with an alpha; those are fine on a canvas as they are. */
function opaque(color: string, otherwise: string, dark: boolean): string {
  if (!color) return otherwise;
  return dark === luminance(color) > 0.4 ? color : otherwise;
}

/** Red, green, blue in 0..1 and alpha of any CSS colour. */
export function channels(color: string): [number, number, number, number] {
  const numbers = /^rgba?\(([^)]+)\)/.exec(color)?.[1]?.split(/[\s,/]+/).map(Number);
  if (numbers && numbers.length >= 3 && numbers.every(Number.isFinite)) {
    return [numbers[0]! / 255, numbers[1]! / 255, numbers[2]! / 255, numbers[3] ?? 1];
  }
  const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  if (!context) return [0, 0, 0, 0];
  context.canvas.width = context.canvas.height = 1;
  context.fillStyle = '#000';
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
  return [r! / 255, g! / 255, b! / 255, a! / 255];
}

export function luminance(color: string): number {
  const [r, g, b] = channels(color);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
