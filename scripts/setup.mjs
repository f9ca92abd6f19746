// Set-up: checks Node, installs what the machine lacks, then packages, TypeScript and the native addon.
// Each part is skipped when nothing has changed, so running it again costs about a second.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { npmCommand, ROOT, runScript, say, step } from './steps.mjs';
import { checkNode, describeLibtorch, ensureSystem } from './system.mjs';

const ADDON = join(ROOT, 'packages', 'torch');
const STUDIO = join(ROOT, 'packages', 'studio');
const STAMP = join(ADDON, 'build', 'setup-stamp.txt');

/** Brings the checkout into a runnable state. Throws SetupError with an explanation when a part fails. */
export async function setup() {
  checkNode();
  const libtorch = await ensureSystem();
  if (!packagesInstalled()) {
    await step('Install the packages (npm ci)', npmCommand('ci', '--no-audit', '--no-fund'), {
      advice:
        'check the network and the registry (npm ping); if package.json was edited, run npm install to renew package-lock.json',
    });
  }
  await ensureTypescript();
  await ensureStudio();
  await ensureAddon(libtorch);
}

/** True when node_modules holds exactly the versions of package-lock.json (optional ones may be absent). */
function packagesInstalled() {
  const installedFile = join(ROOT, 'node_modules', '.package-lock.json');
  if (!existsSync(installedFile)) return false;
  const wanted = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages;
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.includes('node_modules/') || entry.optional || entry.devOptional || entry.peer) return true;
    return installed[path]?.version === entry.version && existsSync(join(ROOT, path));
  });
}

async function ensureTypescript() {
  // The compiler knows best what is stale; most times it has nothing to do, and then nothing is said.
  await step('Compile the TypeScript (tsc -b)', [join(ROOT, 'node_modules', '.bin', 'tsc'), '-b'], {
    advice:
      'correct the lines named above; if they look unrelated, delete the dist folders and run this again',
    announceAfterMs: 1500,
  });
}

/** Packing the web page takes a second or two, so it is done anew whenever one of its files is newer. */
async function ensureStudio() {
  const built = join(STUDIO, 'dist', 'index.html');
  const sources = ['package.json', 'index.html', 'build.mjs', 'src', 'public'].flatMap((name) => {
    const path = join(STUDIO, name);
    return statSync(path).isDirectory() ? readdirSync(path).map((file) => join(path, file)) : [path];
  });
  const newest = Math.max(...sources.map((file) => statSync(file).mtimeMs));
  if (existsSync(built) && statSync(built).mtimeMs >= newest) return;
  await step('Pack the web studio', npmCommand('run', '--silent', 'build', '-w', '@openplug/studio'), {
    advice: 'see the message above; the studio is in packages/studio',
  });
}

async function ensureAddon(libtorch) {
  const stamp = addonStamp(libtorch);
  if (addonBuilt() && existsSync(STAMP) && readFileSync(STAMP, 'utf8') === stamp) return;
  await step(
    `Build the native addon against ${describeLibtorch(libtorch)}`,
    npmCommand('run', '--silent', 'build:native', '-w', '@openplug/torch'),
    {
      advice: 'delete packages/torch/build and run this again; npm run build:native shows all of the output',
    },
  );
  mkdirSync(join(ADDON, 'build'), { recursive: true });
  writeFileSync(STAMP, stamp);
}

/** Changes whenever the addon would come out different: its sources, the libtorch, the kind of machine. */
function addonStamp(libtorch) {
  const hash = createHash('sha256');
  const library = statSync(join(libtorch.libraryFolder, 'libtorch_cpu.so'));
  hash.update(JSON.stringify([libtorch, library.size, library.mtimeMs, process.platform, process.arch]));
  const sources = [
    join(ADDON, 'CMakeLists.txt'),
    ...filesUnder(join(ADDON, 'native')),
    ...filesUnder(join(ADDON, 'scripts')),
  ];
  for (const file of sources.filter(existsSync)) {
    hash.update(`\0${relative(ADDON, file)}\0`);
    hash.update(readFileSync(file));
  }
  return `${hash.digest('hex')}\n`;
}

function addonBuilt() {
  return filesUnder(join(ADDON, 'build')).some((file) => file.endsWith('.node'));
}

function filesUnder(folder) {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await runScript(async () => {
    await setup();
    say('Ready. Next: npm start (trains a small PLUG), npm test, npx plug --help');
  });
}
