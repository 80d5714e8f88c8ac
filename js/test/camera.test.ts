import { describe, expect, test } from 'vitest';
import {
  boxOf, clampMap, mapToScreen, orbitView, pickSurface, project, rayThrough, screenToMap, unproject, zoomMapAt, type Vec3,
} from '../src/pictures/surface/camera';
import { random } from './frames';

const inner = { left: 50, top: 14, width: 330, height: 260 };
const close = (a: readonly number[], b: readonly number[], digits: number) => a.forEach((v, k) => expect(v).toBeCloseTo(b[k]!, digits));

describe('map camera', () => {
  test('screen and map are inverse, y points up', () => {
    const next = random(4);
    for (let n = 0; n < 200; n++) {
      const camera = clampMap({ x: next(), y: next(), zoom: 1 + 20 * next() });
      const p = [next(), next()] as const;
      close(screenToMap(camera, inner, ...mapToScreen(camera, inner, ...p)), p, 9);
    }
    expect(mapToScreen({ x: 0.5, y: 0.5, zoom: 1 }, inner, 0, 1)).toEqual([50, 14]);
  });

  test('zooming keeps the point under the pointer and never leaves the domain', () => {
    let camera = { x: 0.5, y: 0.5, zoom: 1 };
    const before = screenToMap(camera, inner, 300, 100);
    camera = zoomMapAt(camera, inner, 300, 100, 3);
    close(screenToMap(camera, inner, 300, 100), before, 9);
    for (let n = 0; n < 20; n++) camera = zoomMapAt(camera, inner, 60, 20, 0.7);
    expect(camera).toEqual({ x: 0.5, y: 0.5, zoom: 1 });
  });
});

describe('orbit camera', () => {
  const next = random(5);
  const angles = Array.from({ length: 300 }, () => ({ yaw: 20 * (next() - 0.5), pitch: 0.03 + 1.54 * next(), zoom: 0.5 + 3 * next() }));

  test('project and unproject are inverse from every side', () => {
    for (const orbit of angles) {
      const view = orbitView(orbit, boxOf(1), 420, 320, inner);
      const p: Vec3 = [2 * next() - 1, 2 * next() - 1, next()];
      close(unproject(view, ...project(view, p)), p, 9);
    }
  });

  test('the matrix of the shaders agrees with project', () => {
    for (const orbit of angles) {
      const view = orbitView(orbit, boxOf(0.7), 420, 320, inner);
      const p: Vec3 = [2 * next() - 1, 2 * next() - 1, next()];
      const m = view.matrix;
      const clip = [0, 1, 2, 3].map((r) => m[r]! * p[0] + m[4 + r]! * p[1] + m[8 + r]! * p[2] + m[12 + r]!);
      const [px, py, depth] = project(view, p);
      close([(clip[0]! / clip[3]! + 1) * 210, (1 - clip[1]! / clip[3]!) * 160, clip[3]!], [px, py, depth], 3);
      expect(Math.abs(clip[2]! / clip[3]!)).toBeLessThan(1);
    }
  });

  test('from straight above it shows what the map shows: x to the right, y up', () => {
    const view = orbitView({ yaw: 0, pitch: Math.PI / 2, zoom: 1 }, boxOf(1), 420, 320, inner);
    const [ox, oy] = project(view, [0, 0, 0]);
    const [xx, xy] = project(view, [1, 0, 0]);
    const [yx, yy] = project(view, [0, 1, 0]);
    expect(xx).toBeGreaterThan(ox + 10);
    expect(xy).toBeCloseTo(oy, 6);
    expect(yy).toBeLessThan(oy - 10);
    expect(yx).toBeCloseTo(ox, 6);
  });

  test('at zoom 1 the box fits into its place from every side', () => {
    for (const { yaw, pitch } of angles) {
      const box = boxOf(1);
      const view = orbitView({ yaw, pitch, zoom: 1 }, box, 420, 320, inner);
      for (const x of [-box.hx, box.hx]) for (const y of [-box.hy, box.hy]) for (const z of [0, box.hz]) {
        const [px, py] = project(view, [x, y, z]);
        expect(px > 10 && px < 410 && py > -30 && py < 320).toBe(true);
      }
    }
  });

  test('picking finds the visible point that was projected', () => {
    const box = boxOf(1);
    const height = (x: number, y: number) => 0.5 + 0.3 * Math.sin(3 * x) * Math.cos(4 * y);
    let checked = 0;
    for (const orbit of angles.filter((a) => a.pitch > 0.2)) {
      const view = orbitView({ ...orbit, zoom: 1 }, box, 420, 320, inner);
      const [u, v] = [0.02 + 0.96 * next(), 0.02 + 0.96 * next()];
      const [px, py, depth] = project(view, [2 * u - 1, 2 * v - 1, height(u, v) * box.hz]);
      const hit = pickSurface(view.eye, rayThrough(view, px, py), box, height)!;
      expect(hit).not.toBeNull();
      const at: Vec3 = [2 * hit[0] - 1, 2 * hit[1] - 1, height(...hit) * box.hz];
      const [qx, qy, found] = project(view, at);
      close([qx, qy], [px, py], 2); // on the ray
      expect(found).toBeLessThan(depth + 1e-3); // and never behind the point
      if (found > depth - 1e-3) {
        close(hit, [u, v], 3);
        checked++;
      }
    }
    expect(checked).toBeGreaterThan(150);
  });

  test('picking goes through holes and past the edge', () => {
    const view = orbitView({ yaw: 0.3, pitch: 0.8, zoom: 1 }, boxOf(1), 420, 320, inner);
    const [px, py] = project(view, [0, 0, 0.5]);
    expect(pickSurface(view.eye, rayThrough(view, px, py), boxOf(1), () => NaN)).toBeNull();
    expect(pickSurface(view.eye, rayThrough(view, 1, 1), boxOf(1), () => 0.5)).toBeNull();
  });
});
