// One WebGL2 context for the whole page.
//
// A browser keeps about 16 contexts and silently drops the oldest, so the pictures of all widgets share one: it draws
// into an unattached canvas, and the result is copied to the 2-D canvas of the pane. Each widget model loads its own
// copy of this module, hence the meeting point on globalThis; its name carries a version, and whoever changes the
// interface below changes that.

import type { View, Box, MapCamera } from './camera';
import type { Field } from './field';
import { CONTOUR_ENTRIES, type Palette } from './palette';
import type { Hatch } from './raster';
import {
  MAP_FRAGMENT, MAP_VERTEX, POINTS_FRAGMENT, POINTS_VERTEX, SURFACE_FRAGMENT, SURFACE_VERTEX,
} from './shaders';

const MEETING_POINT = Symbol.for('lwidgets.renderer.v1');
const SOFTWARE_MESH = 129;
const HARDWARE_MESH = 1025;
const REBUILD_AFTER_MS = 1500;
const RELEASE_AFTER_MS = 10_000;

/** What one view keeps on the GPU; made by Renderer.picture(), freed by dispose(). */
export interface Picture {
  readonly id: number;
  field: Field | null;
  palette: Palette | null;
  dispose(): void;
}

export interface SurfaceScene {
  readonly view: View;
  readonly box: Box;
  readonly pixelRatio: number;
  /** Dots on evaluated points in CSS pixels; null for none. */
  readonly dot: { readonly radius: number; readonly rim: number } | null;
}

export interface MapScene {
  readonly camera: MapCamera;
  readonly hatch: Hatch;
  readonly pixelRatio: number;
}

interface Textures {
  heights: WebGLTexture;
  mask: WebGLTexture;
  colors: WebGLTexture;
  contours: WebGLTexture;
  field: Field | null;
  masked: Field | null;
  paletteKey: string;
}

interface Program {
  readonly program: WebGLProgram;
  readonly uniforms: Record<string, WebGLUniformLocation | null>;
}

interface Kit {
  readonly canvas: HTMLCanvasElement;
  readonly gl: WebGL2RenderingContext;
  readonly surface: Program;
  readonly map: Program;
  readonly points: Program;
  /** Index buffers by mesh size; a page rarely shows more than a few. */
  readonly meshes: Map<string, { buffer: WebGLBuffer; count: number }>;
  readonly textures: Map<number, Textures>;
}

export class Renderer {
  /** True when GL is emulated on the CPU (SwiftShader, llvmpipe). */
  readonly software: boolean;
  private readonly antialias: boolean;
  private kit: Kit | null = null;
  private lost = false;
  private readonly pictures = new Set<Picture>();
  private readonly listeners = new Set<() => void>();
  private nextId = 1;
  private rebuildTimer: ReturnType<typeof setTimeout> | undefined;
  private releaseTimer: ReturnType<typeof setTimeout> | undefined;
  private losing = new AbortController();
  /** Times a context was made; a page full of widgets should show 1. */
  contexts = 0;

  private constructor(software: boolean) {
    this.software = software;
    this.antialias = !software;
  }

  /** The page's renderer, or null where WebGL2 is missing. */
  static shared(): Renderer | null {
    const page = globalThis as unknown as Record<symbol, Renderer | undefined>;
    const existing = page[MEETING_POINT];
    if (existing) return existing;
    const probe = document.createElement('canvas').getContext('webgl2');
    if (!probe) return null;
    const name = String(probe.getParameter(probe.getExtension('WEBGL_debug_renderer_info')?.UNMASKED_RENDERER_WEBGL ?? probe.RENDERER));
    probe.getExtension('WEBGL_lose_context')?.loseContext();
    return (page[MEETING_POINT] = new Renderer(/swiftshader|llvmpipe|software|basic render/i.test(name)));
  }

  picture(): Picture {
    clearTimeout(this.releaseTimer);
    const picture: Picture = {
      id: this.nextId++,
      field: null,
      palette: null,
      dispose: () => {
        if (!this.pictures.delete(picture)) return;
        this.free(picture.id);
        if (!this.pictures.size) this.releaseTimer = setTimeout(() => this.release(), RELEASE_AFTER_MS);
      },
    };
    this.pictures.add(picture);
    return picture;
  }

  /** Call back when a lost context is there again and pictures should be redrawn. */
  onRestored(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  stats(): { contexts: number; pictures: number; textures: number; lost: boolean } {
    return { contexts: this.contexts, pictures: this.pictures.size, textures: this.kit?.textures.size ?? 0, lost: this.lost };
  }

  /** The context itself, for tests that take it away. */
  get context(): WebGL2RenderingContext | null {
    return this.kit?.gl ?? null;
  }

  /**
   * Draw the surface at `width` x `height` device pixels and copy it to (x, y) of the target.
   *
   * @returns false when nothing could be drawn (context lost): keep the old picture and wait for onRestored.
   */
  drawSurface(picture: Picture, scene: SurfaceScene, target: CanvasRenderingContext2D, width: number, height: number, scale = 1): boolean {
    const kit = this.begin(width * scale, height * scale);
    const field = picture.field;
    if (!kit || !field || !picture.palette) return false;
    const { gl, surface } = kit;
    const { nx, ny } = field.frame;
    const t = this.upload(kit, picture, scene.dot !== null);
    const cap = this.software ? SOFTWARE_MESH : HARDWARE_MESH;
    const [mx, my] = [Math.min(nx, cap), Math.min(ny, cap)];
    const triangles = this.mesh(kit, mx, my);

    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(surface.program);
    this.bind(kit, surface, t, field, scene.pixelRatio * scale);
    gl.uniform2i(surface.uniforms.uMesh!, mx, my);
    gl.uniformMatrix4fv(surface.uniforms.uMatrix!, false, scene.view.matrix);
    gl.uniform3f(surface.uniforms.uBox!, scene.box.hx, scene.box.hy, scene.box.hz);
    // A light over the viewer's left shoulder, so that shading reads the same from every side.
    const { right, forward } = scene.view;
    const flat = Math.hypot(forward[0], forward[1]) || 1;
    const light = [0, 1, 2].map((k) => (k === 2 ? 0.8 : -0.5 * right[k]! - (0.35 * forward[k]!) / flat));
    const size = Math.hypot(...light);
    gl.uniform3f(surface.uniforms.uLight!, light[0]! / size, light[1]! / size, light[2]! / size);
    gl.drawElements(gl.TRIANGLES, triangles, gl.UNSIGNED_INT, 0);

    if (scene.dot) {
      const { points } = kit;
      gl.useProgram(points.program);
      gl.activeTexture(gl.TEXTURE3);
      gl.bindTexture(gl.TEXTURE_2D, t.mask);
      gl.uniform1i(points.uniforms.uHeights!, 0);
      gl.uniform1i(points.uniforms.uMask!, 3);
      gl.uniform2i(points.uniforms.uGrid!, nx, ny);
      gl.uniformMatrix4fv(points.uniforms.uMatrix!, false, scene.view.matrix);
      gl.uniform3f(points.uniforms.uBox!, scene.box.hx, scene.box.hy, scene.box.hz);
      const unit = scene.pixelRatio * scale;
      gl.uniform2f(points.uniforms.uDot!, scene.dot.radius * unit, (scene.dot.radius + scene.dot.rim) * unit);
      gl.drawArrays(gl.POINTS, 0, nx * ny);
    }
    return this.copy(kit, target, 0, 0, width, height, scale);
  }

  /** Draw the map at `width` x `height` device pixels and copy it to (x, y) of the target. */
  drawMap(picture: Picture, scene: MapScene, target: CanvasRenderingContext2D, x: number, y: number, width: number, height: number): boolean {
    const kit = this.begin(width, height);
    const field = picture.field;
    if (!kit || !field || !picture.palette) return false;
    const { gl, map } = kit;
    const { nx, ny } = field.frame;
    const { camera, hatch } = scene;
    const t = this.upload(kit, picture, false);
    gl.disable(gl.DEPTH_TEST);
    gl.useProgram(map.program);
    this.bind(kit, map, t, field, scene.pixelRatio);
    const half = 0.5 / camera.zoom;
    gl.uniform4f(
      map.uniforms.uWindow!,
      (camera.x - half) * (nx - 1), (camera.y - half) * (ny - 1), (2 * half) * (nx - 1), (2 * half) * (ny - 1),
    );
    gl.uniform3f(map.uniforms.uGround!, hatch.ground[0] / 255, hatch.ground[1] / 255, hatch.ground[2] / 255);
    gl.uniform3f(map.uniforms.uStripe!, hatch.stripe[0] / 255, hatch.stripe[1] / 255, hatch.stripe[2] / 255);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    return this.copy(kit, target, x, y, width, height, 1);
  }

  // ---------------------------------------------------------------- drawing

  private begin(width: number, height: number): Kit | null {
    if (this.lost) return null;
    const kit = (this.kit ??= this.build());
    if (!kit) return null;
    if (kit.gl.isContextLost()) {
      this.whenLost();
      return null;
    }
    const { canvas, gl } = kit;
    // Grow only: changing the size of a drawing buffer costs more than drawing.
    if (canvas.width < width) canvas.width = width;
    if (canvas.height < height) canvas.height = height;
    gl.viewport(0, 0, width, height);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    return kit;
  }

  private copy(kit: Kit, target: CanvasRenderingContext2D, x: number, y: number, width: number, height: number, scale: number): boolean {
    if (kit.gl.isContextLost()) {
      this.whenLost();
      return false;
    }
    const [w, h] = [width * scale, height * scale];
    target.drawImage(kit.canvas, 0, kit.canvas.height - h, w, h, x, y, width, height);
    return true;
  }

  private bind(kit: Kit, { uniforms }: Program, t: Textures, field: Field, pixelRatio: number): void {
    const { gl } = kit;
    const units = [t.heights, t.colors, t.contours];
    units.forEach((texture, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
    });
    gl.uniform1i(uniforms.uHeights!, 0);
    gl.uniform1i(uniforms.uColors!, 1);
    gl.uniform1i(uniforms.uContours!, 2);
    gl.uniform2i(uniforms.uGrid!, field.frame.nx, field.frame.ny);
    gl.uniform1f(uniforms.uPixelRatio!, pixelRatio);
  }

  /** Bring the picture's textures up to date; what did not change is not sent again. */
  private upload(kit: Kit, picture: Picture, withMask: boolean): Textures {
    const { gl } = kit;
    let t = kit.textures.get(picture.id);
    if (!t) {
      const make = (filter: number) => {
        const texture = gl.createTexture();
        gl.bindTexture(gl.TEXTURE_2D, texture);
        for (const p of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, p, filter);
        for (const p of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, p, gl.CLAMP_TO_EDGE);
        return texture;
      };
      t = {
        heights: make(gl.NEAREST), mask: make(gl.NEAREST), colors: make(gl.LINEAR), contours: make(gl.NEAREST),
        field: null, masked: null, paletteKey: '',
      };
      kit.textures.set(picture.id, t);
    }
    const field = picture.field!;
    const palette = picture.palette!;
    const { nx, ny } = field.frame;
    gl.activeTexture(gl.TEXTURE0);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    if (t.field !== field) {
      gl.bindTexture(gl.TEXTURE_2D, t.heights);
      // isnan() may be optimised away by a driver; a number far outside 0..1 may not.
      const data = field.heights.map((h) => (h === h ? h : -1e6));
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32F, ny, nx, 0, gl.RED, gl.FLOAT, data);
      t.field = field;
    }
    if (withMask && t.masked !== field) {
      gl.bindTexture(gl.TEXTURE_2D, t.mask);
      const data = field.frame.evaluated.map((e) => (e ? 255 : 0));
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, ny, nx, 0, gl.RED, gl.UNSIGNED_BYTE, data);
      t.masked = field;
    }
    if (t.paletteKey !== palette.key) {
      gl.bindTexture(gl.TEXTURE_2D, t.colors);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(palette.colors.buffer));
      gl.bindTexture(gl.TEXTURE_2D, t.contours);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RG32F, CONTOUR_ENTRIES, 1, 0, gl.RG, gl.FLOAT, palette.contours);
      t.paletteKey = palette.key;
    }
    return t;
  }

  /** Bind two triangles a cell, indexed so that each vertex is shaded once; returns the number of indices. */
  private mesh({ gl, meshes }: Kit, mx: number, my: number): number {
    const key = `${mx}x${my}`;
    const known = meshes.get(key);
    if (known) {
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, known.buffer);
      return known.count;
    }
    if (meshes.size >= 16) {
      for (const { buffer } of meshes.values()) gl.deleteBuffer(buffer);
      meshes.clear();
    }
    const index = new Uint32Array(6 * (mx - 1) * (my - 1));
    let k = 0;
    for (let i = 0; i < mx - 1; i++) {
      for (let j = 0; j < my - 1; j++) {
        const a = i * my + j;
        index[k++] = a;
        index[k++] = a + my;
        index[k++] = a + 1;
        index[k++] = a + 1;
        index[k++] = a + my;
        index[k++] = a + my + 1;
      }
    }
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, index, gl.STATIC_DRAW);
    meshes.set(key, { buffer, count: k });
    return k;
  }

  // ---------------------------------------------------------------- the context's life

  private build(): Kit | null {
    const canvas = document.createElement('canvas');
    const gl = canvas.getContext('webgl2', { antialias: this.antialias, alpha: true, powerPreference: 'low-power' });
    if (!gl) return null;
    this.contexts++;
    this.losing = new AbortController();
    const { signal } = this.losing;
    canvas.addEventListener('webglcontextlost', (event) => { event.preventDefault(); this.whenLost(); }, { signal });
    canvas.addEventListener('webglcontextrestored', () => { this.kit = this.equip(canvas, gl); this.whenRestored(); }, { signal });
    return this.equip(canvas, gl);
  }

  private equip(canvas: HTMLCanvasElement, gl: WebGL2RenderingContext): Kit {
    gl.bindVertexArray(gl.createVertexArray());
    gl.clearColor(0, 0, 0, 0);
    return {
      canvas, gl, meshes: new Map(), textures: new Map(),
      surface: link(gl, SURFACE_VERTEX, SURFACE_FRAGMENT),
      map: link(gl, MAP_VERTEX, MAP_FRAGMENT),
      points: link(gl, POINTS_VERTEX, POINTS_FRAGMENT),
    };
  }

  private whenLost(): void {
    if (this.lost) return;
    this.lost = true;
    // A browser with too many contexts never gives this one back: then take a new one.
    this.rebuildTimer = setTimeout(() => { this.drop(); this.whenRestored(); }, REBUILD_AFTER_MS);
  }

  private whenRestored(): void {
    clearTimeout(this.rebuildTimer);
    this.lost = false;
    for (const listener of this.listeners) listener();
  }

  private free(id: number): void {
    const t = this.kit?.textures.get(id);
    if (!t || !this.kit) return;
    for (const texture of [t.heights, t.mask, t.colors, t.contours]) this.kit.gl.deleteTexture(texture);
    this.kit.textures.delete(id);
  }

  private drop(): void {
    this.losing.abort();
    this.kit = null;
  }

  /** Give the context back when the page shows no picture any more; the next one makes a new one. */
  private release(): void {
    if (this.pictures.size || !this.kit) return;
    const { gl } = this.kit;
    this.drop();
    gl.getExtension('WEBGL_lose_context')?.loseContext();
  }
}

function link(gl: WebGL2RenderingContext, vertex: string, fragment: string): Program {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
    const shader = gl.createShader(type)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    gl.deleteShader(shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = (gl.getAttachedShaders(program) ?? []).map((s) => gl.getShaderInfoLog(s)).join('\n');
    throw new Error(`renderer: shaders must compile and link, got: ${gl.getProgramInfoLog(program)} ${logs}`);
  }
  const uniforms: Program['uniforms'] = {};
  const count = Number(gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS) ?? 0);
  for (let k = 0; k < count; k++) {
    const name = gl.getActiveUniform(program, k)!.name;
    uniforms[name] = gl.getUniformLocation(program, name);
  }
  return { program, uniforms };
}
