// Packs the page into dist: static files that the server hands out as they are. The options stand here rather
// than in a vite.config, which would need a default export.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

await build({
  configFile: false,
  root: dirname(fileURLToPath(import.meta.url)),
  base: './',
  logLevel: 'warn',
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: 'es2022',
    // As they stand: light-dark() would be rewritten for browsers older than these.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // Inlined data: URLs and the preload helper's script would need a looser content security policy.
    assetsInlineLimit: 0,
    modulePreload: false,
    chunkSizeWarningLimit: 600, // the charts, which load when they are needed
  },
});
