// Builds the addon with cmake-js against the libtorch that find-libtorch.mjs names. Options:
//   --sanitize   with AddressSanitizer, into build-sanitize/ (see scripts/test-sanitized.mjs)
//   --out DIR    into another folder than build/; OPENPLUG_TORCH_ADDON then names the addon in it
// cmake-js is used because it drives CMake (precompiled headers, several files at once) and, with
// node-api-headers, needs no download of Node's own headers.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeLibtorch, findLibtorch } from './find-libtorch.mjs';

const folder = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);
const { values: options } = parseArgs({
  options: { sanitize: { type: 'boolean' }, out: { type: 'string' } },
});
const sanitize = options.sanitize ?? false;
const output = resolve(options.out ?? join(folder, sanitize ? 'build-sanitize' : 'build'));

const libtorch = findLibtorch();
if (!libtorch) {
  console.error(
    'No libtorch found. Install it (Debian/Ubuntu: apt-get install libtorch-dev libopenblas0-pthread),\n' +
      'install PyTorch for python3, or point OPENPLUG_LIBTORCH at an unpacked libtorch.',
  );
  process.exit(1);
}
console.error(`Building the addon against ${describeLibtorch(libtorch)}`);

// libstdc++ has two string layouts; a library built with the new one mentions it in its symbol names.
const newStrings = readFileSync(join(libtorch.libraryFolder, 'libc10.so')).includes('__cxx11');
const [major, minor] = libtorch.version.split('.').map(Number);
const definitions = {
  TORCH_INCLUDE: libtorch.includeFolders.join(';'),
  TORCH_LIB: libtorch.libraryFolder,
  TORCH_CXX11_ABI: newStrings ? '1' : '0',
  TORCH_CXX_STANDARD: major > 2 || (major === 2 && minor >= 9) ? '20' : '17',
  NODE_API_INCLUDE: require('node-api-headers').include_dir,
  OPENPLUG_SANITIZE: sanitize ? 'ON' : 'OFF',
};
const cmake = (command) => {
  const { status } = spawnSync(
    process.execPath,
    [
      require.resolve('cmake-js/bin/cmake-js'),
      command,
      '--directory',
      folder,
      '--out',
      output,
      '--parallel',
      '2',
      ...Object.entries(definitions).map(([key, value]) => `--CD${key}=${value}`),
    ],
    { stdio: ['ignore', 2, 2] },
  );
  if (status !== 0) process.exit(status ?? 1);
};
cmake('configure'); // by itself, as compiling alone would keep the settings of an earlier libtorch
cmake('compile');
