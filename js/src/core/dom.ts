// Small helpers for plain DOM. Text goes in as text only: nothing here parses HTML.

export interface Props {
  class?: string;
  text?: string;
  [attribute: string]: string | undefined;
}

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K, props: Props = {}, ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined) continue;
    if (name === 'text') node.textContent = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K, attributes: Readonly<Record<string, string | number>> = {}, ...children: (Node | string)[]
): SVGElementTagNameMap[K] {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

let ids = 0;

/** An id that is unique on the page, also across the copies of this module that the widgets load. */
export function uniqueId(prefix: string): string {
  return `${prefix}-${(++ids).toString(36)}${Math.random().toString(36).slice(2, 8)}`;
}

/** Set text only where it differs, so that observers and screen readers are not woken for nothing. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** Whether two values are alike, through objects and arrays; long arrays of numbers are compared as such. */
export function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || !a || !b) return false;
  if (a instanceof Float32Array) return b instanceof Float32Array && a.length === b.length && a.every((value, k) => Object.is(value, b[k]));
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => same(a[name as never], b[name as never]));
}
