// `npm test`: set-up, lint, then all tests (the check of the import order is one of them). Arguments are passed
// on to run-tests.mjs: `npm test -- corpus` runs the test files with "corpus" in their path.
import { join } from 'node:path';
import { runTests } from './run-tests.mjs';
import { setup } from './setup.mjs';
import { ROOT, runScript, step } from './steps.mjs';

await runScript(async () => {
  await setup();
  await step(
    'Lint and formatting (biome check)',
    [join(ROOT, 'node_modules', '.bin', 'biome'), 'check', '.'],
    {
      advice: 'npm run format corrects most of it',
    },
  );
  await runTests(process.argv.slice(2));
});
