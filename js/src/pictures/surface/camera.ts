// Two cameras. The map looks straight down through a window of the domain; the orbit circles a box that holds the surface.
// Everything here is a pure function of its arguments; screen positions are CSS pixels, y down.

export type Vec3 = readonly [number, number, number];

export interface Rect {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Height of the domain divided by its width, as drawn.
 *
 * The two directions of a plane usually share their unit, so lengths are kept true; ranges that differ by more than
 * a factor of two are stretched to a square instead, since a sliver shows nothing.
 */
export function aspectOf(rangeX: number, rangeY: number): number {
  const ratio = rangeY / rangeX;
  return ratio >= 0.5 && ratio <= 2 ? ratio : 1;
}

// ---------------------------------------------------------------- map

/** The part of the unit square that the map shows: centre and magnification (1 shows all of it). */
export interface MapCamera {
  readonly x: number;
  readonly y: number;
  readonly zoom: number;
}

export const WHOLE_MAP: MapCamera = { x: 0.5, y: 0.5, zoom: 1 };
export const MAX_MAP_ZOOM = 64;

/** Keep the window inside the domain. */
export function clampMap(camera: MapCamera): MapCamera {
  const zoom = Math.max(1, Math.min(MAX_MAP_ZOOM, camera.zoom));
  const half = 0.5 / zoom;
  const inside = (v: number) => Math.max(half, Math.min(1 - half, v));
  return { x: inside(camera.x), y: inside(camera.y), zoom };
}

/** Screen position of the point (x, y) of the unit square. */
export function mapToScreen(camera: MapCamera, rect: Rect, x: number, y: number): [number, number] {
  return [
    rect.left + ((x - camera.x) * camera.zoom + 0.5) * rect.width,
    rect.top + (0.5 - (y - camera.y) * camera.zoom) * rect.height,
  ];
}

/** Point of the unit square under a screen position; the inverse of mapToScreen. */
export function screenToMap(camera: MapCamera, rect: Rect, px: number, py: number): [number, number] {
  return [
    camera.x + ((px - rect.left) / rect.width - 0.5) / camera.zoom,
    camera.y + (0.5 - (py - rect.top) / rect.height) / camera.zoom,
  ];
}

/** Magnify by a factor while the point under (px, py) stays where it is. */
export function zoomMapAt(camera: MapCamera, rect: Rect, px: number, py: number, factor: number): MapCamera {
  const [x, y] = screenToMap(camera, rect, px, py);
  const zoom = Math.max(1, Math.min(MAX_MAP_ZOOM, camera.zoom * factor));
  const shrink = camera.zoom / zoom;
  return clampMap({ x: x + (camera.x - x) * shrink, y: y + (camera.y - y) * shrink, zoom });
}

// ---------------------------------------------------------------- orbit

/** Yaw and pitch in radians: yaw 0 looks along +y with x to the right, pitch pi/2 looks straight down, like the map. */
export interface Orbit {
  readonly yaw: number;
  readonly pitch: number;
  readonly zoom: number;
}

export const DEFAULT_ORBIT: Orbit = { yaw: 0.7, pitch: 0.6, zoom: 1 };

/** Half width, half depth and full height of the box: x in [-hx, hx], y in [-hy, hy], z in [0, hz]. */
export interface Box {
  readonly hx: number;
  readonly hy: number;
  readonly hz: number;
}

export interface View {
  readonly width: number;
  readonly height: number;
  readonly eye: Vec3;
  readonly right: Vec3;
  readonly up: Vec3;
  readonly forward: Vec3;
  readonly target: Vec3;
  readonly distance: number;
  /** Focal length in pixels, and the pixel that the target falls on. */
  readonly focal: number;
  readonly center: readonly [number, number];
  /** Column-major clip matrix for the same projection. */
  readonly matrix: Float32Array;
}

const DISTANCE = 7;
const DEPTH_RANGE = 2.6;

export function clampOrbit(orbit: Orbit): Orbit {
  return {
    yaw: Math.atan2(Math.sin(orbit.yaw), Math.cos(orbit.yaw)),
    pitch: Math.max(0.03, Math.min(Math.PI / 2, orbit.pitch)),
    zoom: Math.max(0.4, Math.min(8, orbit.zoom)),
  };
}

/** The box for a domain of this aspect (height / width): the longer side has half length 1. */
export function boxOf(aspect: number): Box {
  return { hx: Math.min(1, 1 / aspect), hy: Math.min(1, aspect), hz: 1 };
}

/** Place the camera so that at zoom 1 the box fits into `inner` at every yaw. */
export function orbitView(orbit: Orbit, box: Box, width: number, height: number, inner: Rect): View {
  const { yaw, pitch, zoom } = orbit;
  const [sy, cy, sp, cp] = [Math.sin(yaw), Math.cos(yaw), Math.sin(pitch), Math.cos(pitch)];
  const right: Vec3 = [cy, sy, 0];
  const forward: Vec3 = [-sy * cp, cy * cp, -sp];
  const up: Vec3 = [-sy * sp, cy * sp, cp];
  const target: Vec3 = [0, 0, box.hz / 2];
  const eye: Vec3 = [target[0] - DISTANCE * forward[0], target[1] - DISTANCE * forward[1], target[2] - DISTANCE * forward[2]];

  const radius = Math.hypot(box.hx, box.hy);
  const vertical = (sp * radius + (cp * box.hz) / 2) * 1.08;
  const scale = Math.max(1, Math.min(inner.width / 2 / radius, inner.height / 2 / vertical)) * zoom;
  const focal = scale * DISTANCE;
  const center = [inner.left + inner.width / 2, inner.top + inner.height / 2] as const;

  // clip = (2 focal/width X + (2 cx/width - 1) depth, 2 focal/height Y + (1 - 2 cy/height) depth, ..., depth)
  const ox = (2 * center[0]) / width - 1;
  const oy = 1 - (2 * center[1]) / height;
  const near = DISTANCE - DEPTH_RANGE;
  const far = DISTANCE + DEPTH_RANGE;
  const za = (far + near) / (far - near);
  const zb = (-2 * far * near) / (far - near);
  const matrix = new Float32Array(16);
  for (let c = 0; c < 3; c++) {
    matrix[4 * c] = ((2 * focal) / width) * right[c]! + ox * forward[c]!;
    matrix[4 * c + 1] = ((2 * focal) / height) * up[c]! + oy * forward[c]!;
    matrix[4 * c + 2] = za * forward[c]!;
    matrix[4 * c + 3] = forward[c]!;
  }
  const depth0 = -dot(forward, eye);
  matrix[12] = -((2 * focal) / width) * dot(right, eye) + ox * depth0;
  matrix[13] = -((2 * focal) / height) * dot(up, eye) + oy * depth0;
  matrix[14] = za * depth0 + zb;
  matrix[15] = depth0;
  return { width, height, eye, right, up, forward, target, distance: DISTANCE, focal, center, matrix };
}

/** Screen position and depth of a point of the box's space. */
export function project(view: View, p: Vec3): [number, number, number] {
  const d: Vec3 = [p[0] - view.eye[0], p[1] - view.eye[1], p[2] - view.eye[2]];
  const depth = dot(d, view.forward);
  return [
    view.center[0] + (view.focal * dot(d, view.right)) / depth,
    view.center[1] - (view.focal * dot(d, view.up)) / depth,
    depth,
  ];
}

/** Direction, per unit of depth, of the ray from the eye through a pixel. */
export function rayThrough(view: View, px: number, py: number): Vec3 {
  const a = (px - view.center[0]) / view.focal;
  const b = (view.center[1] - py) / view.focal;
  const at = (k: 0 | 1 | 2) => view.forward[k] + a * view.right[k] + b * view.up[k];
  return [at(0), at(1), at(2)];
}

/** The point at a given depth under a pixel; the inverse of project. */
export function unproject(view: View, px: number, py: number, depth: number): Vec3 {
  const r = rayThrough(view, px, py);
  return [view.eye[0] + depth * r[0], view.eye[1] + depth * r[1], view.eye[2] + depth * r[2]];
}

/**
 * First crossing of a ray with the surface z = hz * height(x, y).
 *
 * @param heightAt height in [0, 1] at (x, y) in [0, 1]^2, NaN where there is no surface.
 * @param steps samples along the ray inside the box; a hump thinner than one step can be missed.
 * @returns the point of the unit square that was hit, or null.
 */
export function pickSurface(
  origin: Vec3,
  direction: Vec3,
  box: Box,
  heightAt: (x: number, y: number) => number,
  steps = 400,
): [number, number] | null {
  let from = 0;
  let to = Infinity;
  const low = [-box.hx, -box.hy, -1e-6];
  const high = [box.hx, box.hy, box.hz + 1e-6];
  for (let k = 0; k < 3; k++) {
    const d = direction[k]!;
    if (Math.abs(d) < 1e-12) {
      if (origin[k]! < low[k]! || origin[k]! > high[k]!) return null;
      continue;
    }
    const a = (low[k]! - origin[k]!) / d;
    const b = (high[k]! - origin[k]!) / d;
    from = Math.max(from, Math.min(a, b));
    to = Math.min(to, Math.max(a, b));
  }
  if (!(to > from)) return null;

  const unit = (t: number): [number, number] => [
    clamp01(((origin[0] + t * direction[0]) / box.hx + 1) / 2),
    clamp01(((origin[1] + t * direction[1]) / box.hy + 1) / 2),
  ];
  const above = (t: number) => origin[2] + t * direction[2] - box.hz * heightAt(...unit(t));
  let before = above(from);
  let t0 = from;
  for (let k = 1; k <= steps; k++) {
    const t1 = from + ((to - from) * k) / steps;
    const now = above(t1);
    if (before === 0 || before * now < 0) {
      let [a, b] = [t0, t1];
      for (let n = 0; n < 30; n++) {
        const middle = (a + b) / 2;
        if (before * above(middle) > 0) a = middle;
        else b = middle;
      }
      return unit(a);
    }
    before = now;
    t0 = t1;
  }
  return before === 0 ? unit(t0) : null;
}

function dot(a: Vec3, b: Vec3): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function clamp01(v: number): number {
  return v < 0 ? 0 : v > 1 ? 1 : v;
}
