// GLSL of the two cameras. The grid is one float texture, texel (j, i) = height in 0..1, below -0.5 where masked.

const GRID = `
uniform sampler2D uHeights;
uniform ivec2 uGrid;
float corner(int i, int j) { return texelFetch(uHeights, ivec2(j, i), 0).r; }
`;

// Bilinear by hand: the texture unit's own filter works with 8-bit weights and would show steps in the contours.
const PAINT = `
uniform sampler2D uColors;
uniform sampler2D uContours;
uniform float uPixelRatio;
float heightAt(vec2 g, out bool masked) {
  g = clamp(g, vec2(0.0), vec2(uGrid - 1));
  ivec2 p = min(ivec2(g), uGrid - 2);
  vec2 f = g - vec2(p);
  float a = corner(p.x, p.y), b = corner(p.x, p.y + 1), c = corner(p.x + 1, p.y), d = corner(p.x + 1, p.y + 1);
  masked = min(min(a, b), min(c, d)) < -0.5;
  return mix(mix(a, b, f.y), mix(c, d, f.y), f.x);
}
vec3 colorOf(float h, float shade) {
  vec3 color = texture(uColors, vec2(h * (255.0 / 256.0) + 0.5 / 256.0, 0.5)).rgb;
  float ink = dot(color, vec3(0.299, 0.587, 0.114)) > 0.372 ? 0.0 : 1.0;
  vec2 level = texelFetch(uContours, ivec2(clamp(h, 0.0, 1.0) * 1023.0 + 0.5, 0), 0).rg;
  float gradient = length(vec2(dFdx(h), dFdy(h)));
  float reach = uPixelRatio * 0.5 + 0.5;
  float far = abs(h - level.x);
  float alpha = far < gradient * reach ? level.y * min(1.0, reach - far / gradient) : 0.0;
  return mix(color * shade, vec3(ink), alpha);
}
`;

const HEAD = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
`;

/** A mesh over the grid, possibly coarser than it: vertex k is row k / mesh.y, column k % mesh.y. No vertex buffer. */
export const SURFACE_VERTEX = `${HEAD}${GRID}
uniform ivec2 uMesh;
uniform mat4 uMatrix;
uniform vec3 uBox;
out vec2 vGrid;
out vec3 vNormal;
float known(int i, int j, float otherwise) {
  float h = corner(clamp(i, 0, uGrid.x - 1), clamp(j, 0, uGrid.y - 1));
  return h < -0.5 ? otherwise : h;
}
void main() {
  ivec2 m = ivec2(gl_VertexID / uMesh.y, gl_VertexID % uMesh.y);
  ivec2 p = (m * (uGrid - 1) * 2 + uMesh - 1) / ((uMesh - 1) * 2);
  float h = max(corner(p.x, p.y), 0.0);
  vec2 step = 2.0 * uBox.xy / vec2(uGrid - 1);
  float dx = (known(p.x + 1, p.y, h) - known(p.x - 1, p.y, h)) * uBox.z / (2.0 * step.x);
  float dy = (known(p.x, p.y + 1, h) - known(p.x, p.y - 1, h)) * uBox.z / (2.0 * step.y);
  vNormal = vec3(-dx, -dy, 1.0);
  vGrid = vec2(p);
  vec2 unit = vec2(p) / vec2(uGrid - 1) * 2.0 - 1.0;
  gl_Position = uMatrix * vec4(unit * uBox.xy, h * uBox.z, 1.0);
}`;

export const SURFACE_FRAGMENT = `${HEAD}${GRID}${PAINT}
uniform vec3 uLight;
in vec2 vGrid;
in vec3 vNormal;
out vec4 color;
void main() {
  bool masked;
  float h = heightAt(vGrid, masked);
  float lit = dot(normalize(vNormal), uLight);
  float shade = gl_FrontFacing ? 0.76 + 0.28 * max(lit, 0.0) : 0.62;
  vec3 c = colorOf(h, shade);
  if (masked) discard;
  color = vec4(c, 1.0);
}`;

/** One triangle that covers the viewport; uWindow maps it to grid coordinates (origin, extent). */
export const MAP_VERTEX = `${HEAD}
uniform vec4 uWindow;
out vec2 vGrid;
void main() {
  vec2 corner = vec2(gl_VertexID == 1 ? 2.0 : 0.0, gl_VertexID == 2 ? 2.0 : 0.0);
  vGrid = uWindow.xy + corner * uWindow.zw;
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

export const MAP_FRAGMENT = `${HEAD}${GRID}${PAINT}
uniform vec3 uGround;
uniform vec3 uStripe;
in vec2 vGrid;
out vec4 color;
void main() {
  bool masked;
  float h = heightAt(vGrid, masked);
  vec3 c = colorOf(h, 1.0);
  float stripe = mod(gl_FragCoord.x - gl_FragCoord.y, 7.0 * uPixelRatio) < 1.4 * uPixelRatio ? 1.0 : 0.0;
  color = vec4(masked ? mix(uGround, uStripe, stripe) : c, 1.0);
}`;

/** Evaluated grid points as small discs, pulled a little towards the eye so that the surface does not swallow them. */
export const POINTS_VERTEX = `${HEAD}${GRID}
uniform sampler2D uMask;
uniform mat4 uMatrix;
uniform vec3 uBox;
uniform vec2 uDot;
void main() {
  ivec2 p = ivec2(gl_VertexID / uGrid.y, gl_VertexID % uGrid.y);
  float h = corner(p.x, p.y);
  bool shown = h > -0.5 && texelFetch(uMask, p.yx, 0).r > 0.5;
  vec2 unit = vec2(p) / vec2(uGrid - 1) * 2.0 - 1.0;
  gl_Position = shown ? uMatrix * vec4(unit * uBox.xy, h * uBox.z, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_Position.z -= 0.012 * gl_Position.w;
  gl_PointSize = 2.0 * uDot.y;
}`;

export const POINTS_FRAGMENT = `${HEAD}
uniform vec2 uDot;
out vec4 color;
void main() {
  float r = length(gl_PointCoord - 0.5) * 2.0 * uDot.y;
  if (r > uDot.y) discard;
  color = vec4(vec3(r > uDot.x ? 0.12 : 1.0), 1.0);
}`;
