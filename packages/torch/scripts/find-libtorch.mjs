// Finds the libtorch to build against and says what it is. Used by the set-up script and by the native
// build, so it needs nothing but Node. Order: OPENPLUG_LIBTORCH, a system package, the torch of python3.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/**
 * @typedef {object} Libtorch
 * @property {'OPENPLUG_LIBTORCH' | 'system' | 'python3'} source Where it was found.
 * @property {string} prefix Folder that holds include/ (and lib/).
 * @property {string[]} includeFolders Folders for the compiler's -I, in order.
 * @property {string} libraryFolder Folder of libtorch_cpu.so.
 * @property {string} version As in torch/version.h, for example "1.13.0"; "unknown" if that is unreadable.
 */

/**
 * The libtorch to use, or undefined when there is none.
 * Throws when OPENPLUG_LIBTORCH is set but holds no libtorch: a wrong explicit choice is never replaced by another.
 * @param {NodeJS.ProcessEnv} [environment]
 * @returns {Libtorch | undefined}
 */
export function findLibtorch(environment = process.env) {
  const chosen = environment.OPENPLUG_LIBTORCH;
  if (chosen) {
    const found = inspect(resolve(chosen), 'OPENPLUG_LIBTORCH');
    if (found) return found;
    throw new Error(
      `OPENPLUG_LIBTORCH=${chosen} holds no libtorch: expected include/torch/ and lib/libtorch_cpu.so in that folder.\n` +
        'Point it at an unpacked libtorch (the folder with include/ and lib/), or unset it to use the system one.',
    );
  }
  for (const prefix of ['/usr', '/usr/local', '/opt/libtorch']) {
    const found = inspect(prefix, 'system');
    if (found) return found;
  }
  const prefix = pythonTorchFolder();
  return prefix ? inspect(prefix, 'python3') : undefined;
}

/** One line for people: version, where from, which folder. */
export function describeLibtorch(libtorch) {
  return `libtorch ${libtorch.version} (${libtorch.source}: ${libtorch.libraryFolder})`;
}

function inspect(prefix, source) {
  const include = join(prefix, 'include');
  if (!existsSync(join(include, 'torch'))) return undefined;
  const libraryFolder = libraryFolders(prefix).find((folder) => existsSync(join(folder, 'libtorch_cpu.so')));
  if (!libraryFolder) return undefined;
  const api = join(include, 'torch', 'csrc', 'api', 'include');
  // The C++ API (autograd, optimisers) has its own root; without it only half of the headers are there.
  if (!existsSync(join(api, 'torch', 'version.h'))) return undefined;
  return {
    source,
    prefix,
    includeFolders: [include, api],
    libraryFolder,
    version: readVersion([api, include]),
  };
}

function libraryFolders(prefix) {
  const lib = join(prefix, 'lib');
  const multiarch = existsSync(lib) ? readdirSync(lib).filter((name) => name.endsWith('-linux-gnu')) : [];
  return [lib, join(prefix, 'lib64'), ...multiarch.map((name) => join(lib, name))];
}

/** Version 2.9 moved the numbers to a second header. */
function readVersion([api, include]) {
  const files = [join(api, 'torch', 'version.h'), join(include, 'torch', 'headeronly', 'version.h')];
  const text = files.map((file) => (existsSync(file) ? readFileSync(file, 'utf8') : '')).join('\n');
  const part = (name) => new RegExp(`TORCH_VERSION_${name}\\s+(\\d+)`).exec(text)?.[1];
  const parts = [part('MAJOR'), part('MINOR'), part('PATCH')];
  return parts.every((value) => value !== undefined) ? parts.join('.') : 'unknown';
}

/** Where python3's torch lies; asks for the path only, as importing torch takes seconds. */
function pythonTorchFolder() {
  const program = 'import importlib.util as u; s = u.find_spec("torch"); print(s.origin if s else "")';
  const result = spawnSync('python3', ['-c', program], { encoding: 'utf8', timeout: 20_000 });
  const origin = result.status === 0 ? result.stdout.trim() : '';
  return origin ? dirname(origin) : undefined;
}
