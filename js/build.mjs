// Minified bundles into the Python package: an ES module per widget, and one script that a page can carry inline.
// `--watch` rebuilds on every save.
import { context } from 'esbuild';

const common = {
  outdir: '../lwidgets/static',
  bundle: true,
  target: 'es2022',
  minify: true,
  legalComments: 'none',
  logLevel: 'info',
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
