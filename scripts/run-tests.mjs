// Runs the built test files with Node's own runner. Built tests whose source is gone are deleted first, and a
// test source that was not built is an error, so that what runs is what the checkout holds.
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { pathToFileURL } from 'node:url';
import { ROOT, runScript, SetupError, say } from './steps.mjs';

const TEST_SUFFIX = '.test.js';

/**
 * Runs the test files whose path contains one of the words (all without words); sets the exit status.
 * @param {string[]} words
 */
export async function runTests(words) {
  const files = workspaceFolders().flatMap(builtTests).sort(layeringFirst);
  const chosen = files.filter(
    (file) => words.length === 0 || words.some((word) => relative(ROOT, file).includes(word)),
  );
  if (chosen.length === 0)
    throw new SetupError(`No test file matches ${words.join(', ') || '(none were built)'}.`);
  const shared = resolve(process.env.OPENPLUG_SHARED ?? join(ROOT, '..', 'shared'));
  const absent = ['fixtures', 'data'].filter((name) => !existsSync(join(shared, name)));
  const notice = `NOTE: ${absent.map((name) => join(shared, name)).join(' and ')} absent: the tests that need it are skipped.`;
  if (absent.length > 0) say(notice);
  say(`· Run ${chosen.length} test files …`);
  // Test files run side by side on the same cores: OpenMP's threads must sleep, not spin, while they wait.
  process.env.OMP_WAIT_POLICY ??= 'passive';
  if (process.env.CI) {
    const seed = pathToFileURL(join(ROOT, 'scripts', 'fixed-seed.mjs')).href;
    process.env.NODE_OPTIONS = `${process.env.NODE_OPTIONS ?? ''} --import=${seed}`.trim();
  }
  const results = run({ files: chosen, concurrency: availableParallelism() });
  let failed = 0;
  results.on('test:fail', (event) => {
    if (event.todo === undefined) failed += 1;
  });
  const report = results.compose(new spec());
  for await (const text of report) process.stdout.write(text);
  if (failed > 0) process.exitCode = 1;
}

function workspaceFolders() {
  const packages = readdirSync(join(ROOT, 'packages')).map((name) => join(ROOT, 'packages', name));
  return [...packages, join(ROOT, 'bench')].filter((folder) => existsSync(join(folder, 'src')));
}

/** The built tests of one workspace; deletes those without a source, refuses sources without a build. */
function builtTests(folder) {
  const source = join(folder, 'src');
  // The studio's dist is its packed page; what the compiler makes of its sources lies in build.
  const output = join(folder, existsSync(join(folder, 'index.html')) ? 'build' : 'dist');
  const sources = namesUnder(source).filter((name) => /\.test\.tsx?$/.test(name));
  const wanted = new Set(sources.map((name) => name.replace(/\.tsx?$/, '.js')));
  for (const name of namesUnder(output)) {
    if (!name.endsWith(TEST_SUFFIX) || wanted.has(name)) continue;
    const stem = join(output, name.slice(0, -'.js'.length));
    for (const extension of ['.js', '.js.map', '.d.ts', '.d.ts.map'])
      rmSync(stem + extension, { force: true });
  }
  const missing = [...wanted].filter((name) => !existsSync(join(output, name)));
  if (missing.length > 0) {
    const list = missing.map((name) => relative(ROOT, join(source, name.replace(/\.js$/, '.ts')))).join(', ');
    throw new SetupError(`Tests that are not built: ${list}.\nRun npm run build first.`);
  }
  return [...wanted].map((name) => join(output, name));
}

function namesUnder(folder) {
  return existsSync(folder) ? readdirSync(folder, { recursive: true }).sort() : [];
}

/** The check of the import order is the quickest and the most basic: it goes first. */
function layeringFirst(left, right) {
  const rank = (file) => (file.endsWith('layering.test.js') ? 0 : 1);
  return rank(left) - rank(right) || (left < right ? -1 : 1);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await runScript(() => runTests(process.argv.slice(2)));
}
