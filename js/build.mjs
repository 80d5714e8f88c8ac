// Minified bundles into the Python package: an ES module per widget, and scripts that a page carries.
// `--watch` rebuilds on every save.
import { readFile } from 'node:fs/promises';
import { context, transform } from 'esbuild';

/** GLSL without what only people read; a line that begins with # has to stay one. */
const shorter = (glsl) => glsl.replace(/ *\/\/.*$/gm, '').replace(/^ +/gm, '').replace(/ *([-=+*/<>?:,;{}()|&]) */g, '$1').replace(/(?<=[;{}])\n/g, '');

/** Style sheets and shaders are text to esbuild, which leaves text alone: they are minified as what they are. */
const texts = {
  name: 'texts',
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
      let contents = await readFile(path, 'utf8');
      for (const [whole, text] of contents.matchAll(/\/\* css \*\/ `([^`]*)`/g)) {
        const { code } = await transform(text, { loader: 'css', minify: true, target: ['chrome109', 'firefox113', 'safari16.4'] });
        contents = contents.replace(whole, () => JSON.stringify(code.trim()));
      }
      if (path.endsWith('shaders.ts')) contents = contents.replace(/`[^`]*`/g, shorter);
      return { loader: 'ts', contents };
    });
  },
};

const common = {
  outdir: '../lwidgets/static',
  bundle: true,
  target: 'es2022',
  minify: true,
  legalComments: 'none',
  charset: 'utf8',
  logLevel: 'info',
  plugins: [texts],
};
const builds = await Promise.all([
  context({ ...common, format: 'esm', entryPoints: ['src/hosts/picture.ts', 'src/hosts/status.ts', 'src/hosts/checks.ts'] }),
  context({ ...common, format: 'iife', entryPoints: ['src/hosts/companion.ts', 'src/hosts/page.ts', 'src/hosts/unpack.ts'] }),
]);

for (const build of builds) {
  if (process.argv.includes('--watch')) {
    await build.watch();
  } else {
    await build.rebuild();
    await build.dispose();
  }
}
