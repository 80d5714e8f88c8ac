// Mouse, pen, touch and wheel on one element, reduced to what a pane cares about.
//
// The page keeps its scrolling: the wheel zooms only while the element has focus or Ctrl is held, and one finger scrolls
// the page vertically until the element has focus.

export interface Gestures {
  /** A pointer without buttons is at (x, y), or has left (null). */
  hover(at: readonly [number, number] | null): void;
  tap(x: number, y: number): void;
  drag(dx: number, dy: number, x: number, y: number): void;
  zoom(factor: number, x: number, y: number): void;
  /** Two fingers moved together. */
  pan(dx: number, dy: number): void;
  reset(): void;
  /** The last finger or button was lifted, or the wheel came to rest. */
  end(): void;
  /** A wheel turned over an element without focus: it scrolls the page; tell the reader how to zoom. */
  refused(): void;
}

const TAP_RADIUS = 4;
const WHEEL_REST_MS = 180;

export function listen(target: HTMLElement, on: Gestures, signal: AbortSignal): void {
  const pointers = new Map<number, { x: number; y: number }>();
  let moved = 0;
  let fingers = 0;
  let wheelRest: ReturnType<typeof setTimeout> | undefined;
  const at = (event: MouseEvent): [number, number] => {
    const box = target.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  target.addEventListener('pointerdown', (event) => {
    if (event.pointerType === 'mouse' && event.button !== 0) return;
    const [x, y] = at(event);
    if (!pointers.size) moved = fingers = 0;
    pointers.set(event.pointerId, { x, y });
    fingers = Math.max(fingers, pointers.size);
    try {
      target.setPointerCapture(event.pointerId);
    } catch {
      // The pointer is already gone; its events still bubble.
    }
  }, { signal });

  target.addEventListener('pointermove', (event) => {
    const [x, y] = at(event);
    const last = pointers.get(event.pointerId);
    if (!last) {
      if (event.pointerType !== 'touch') on.hover([x, y]);
      return;
    }
    const [dx, dy] = [x - last.x, y - last.y];
    moved += Math.abs(dx) + Math.abs(dy);
    if (pointers.size === 1) {
      Object.assign(last, { x, y });
      if (moved > TAP_RADIUS && fingers === 1) on.drag(dx, dy, x, y);
    } else if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)![1];
      const before = Math.hypot(last.x - other.x, last.y - other.y);
      const after = Math.hypot(x - other.x, y - other.y);
      Object.assign(last, { x, y });
      if (before > 0 && after > 0) on.zoom(after / before, (x + other.x) / 2, (y + other.y) / 2);
      on.pan(dx / 2, dy / 2);
    }
  }, { signal });

  const lift = (event: PointerEvent) => {
    if (!pointers.delete(event.pointerId) || pointers.size) return;
    const [x, y] = at(event);
    if (event.type === 'pointerup' && moved <= TAP_RADIUS && fingers === 1) on.tap(x, y);
    else on.end();
  };
  target.addEventListener('pointerup', lift, { signal });
  target.addEventListener('pointercancel', lift, { signal });
  target.addEventListener('pointerleave', () => on.hover(null), { signal });
  target.addEventListener('dblclick', (event) => { event.preventDefault(); on.reset(); on.end(); }, { signal });

  target.addEventListener('wheel', (event) => {
    const root = target.getRootNode() as Document | ShadowRoot;
    if (!event.ctrlKey && !event.metaKey && root.activeElement !== target) {
      on.refused();
      return;
    }
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1;
    const delta = Math.max(-240, Math.min(240, event.deltaY * lines));
    on.zoom(Math.exp(-delta * (event.ctrlKey ? 0.008 : 0.0022)), ...at(event));
    clearTimeout(wheelRest);
    wheelRest = setTimeout(() => on.end(), WHEEL_REST_MS);
  }, { signal, passive: false });
  signal.addEventListener('abort', () => clearTimeout(wheelRest));
}
