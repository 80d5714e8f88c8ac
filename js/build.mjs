// One minified ES module per host, into the Python package. `--watch` rebuilds on every save.
import { context } from 'esbuild';

const build = await context({
  entryPoints: ['src/hosts/height_field.ts', 'src/hosts/status.ts', 'src/hosts/checks.ts'],
  outdir: '../lwidgets/static',
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  legalComments: 'none',
  logLevel: 'info',
});

if (process.argv.includes('--watch')) {
  await build.watch();
} else {
  await build.rebuild();
  await build.dispose();
}
