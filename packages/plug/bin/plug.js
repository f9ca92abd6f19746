#!/usr/bin/env node
// The `plug` command. Only starts the built program, and explains itself when that is not there.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const program = new URL('../dist/cli/main.js', import.meta.url);
if (!existsSync(fileURLToPath(program))) {
  console.error('plug is not built yet. Run `npm run setup` in the repository, then try again.');
  process.exit(1);
}
try {
  const { main } = await import(program.href);
  await main(process.argv.slice(2));
} catch (error) {
  // Only a failure to load comes here: main() reports its own errors.
  console.error(error.code === 'NATIVE' ? error.message : `plug does not start: ${error.stack}`);
  process.exit(1);
}
