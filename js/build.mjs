// Minified bundles into the Python package: an ES module per widget, and one script that a page can carry inline.
// `--watch` rebuilds on every save.
import { readFile } from 'node:fs/promises';
import { context, transform } from 'esbuild';

/** The style sheet and the shaders are text to esbuild, which leaves text alone: they are minified as what they are. */
const texts = {
  name: 'texts',
  setup({ onLoad }) {
    onLoad({ filter: /\/core\/style\.ts$/ }, async ({ path }) => {
      const [, head, css, rest] = /^([^`]*)`([^`]*)`([^`]*)$/.exec(await readFile(path, 'utf8'));
      const { code } = await transform(css, { loader: 'css', minify: true, target: ['chrome109', 'firefox113', 'safari16.4'] });
      return { loader: 'ts', contents: `${head}${JSON.stringify(code.trim())}${rest}` };
    });
    onLoad({ filter: /\/shaders\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      return { loader: 'ts', contents: source.replace(/`[^`]*`/g, (glsl) => glsl.replace(/ *\/\/.*$/gm, '').replace(/^ +/gm, '').replace(/\n+/g, '\n')) };
    });
  },
};

const common = {
  outdir: '../lwidgets/static',
  bundle: true,
  target: 'es2022',
  minify: true,
  legalComments: 'none',
  logLevel: 'info',
  plugins: [texts],
};
const builds = await Promise.all([
  context({ ...common, format: 'esm', entryPoints: ['src/hosts/picture.ts', 'src/hosts/status.ts', 'src/hosts/checks.ts'] }),
  context({ ...common, format: 'iife', entryPoints: ['src/hosts/companion.ts', 'src/hosts/page.ts'] }),
]);

for (const build of builds) {
  if (process.argv.includes('--watch')) {
    await build.watch();
  } else {
    await build.rebuild();
    await build.dispose();
  }
}
