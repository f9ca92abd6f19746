// What the machine itself must have: Node, a C++ compiler, cmake, make, libtorch and a fast BLAS.
// On Debian and Ubuntu the missing ones are installed with apt; elsewhere the user is told what to install.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeLibtorch, findLibtorch } from '../packages/torch/scripts/find-libtorch.mjs';
import { ROOT, SetupError, say, step } from './steps.mjs';

/** Throws unless this Node is at least what package.json asks for. */
export function checkNode(version = process.versions.node) {
  const wanted = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).engines.node.replace('>=', '');
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return;
  throw new SetupError(
    `Node ${wanted} or newer is needed; this is Node ${version} (${process.execPath}).\n` +
      'Install a current one from https://nodejs.org or with a version manager (nvm install 22), then run this again.',
  );
}

/**
 * Makes sure that compiler, cmake, make and libtorch are there; installs them where that is possible.
 * Returns the libtorch to build against.
 */
export async function ensureSystem() {
  const missing = missingParts();
  if (missing.length > 0) await install(missing);
  const libtorch = locateLibtorch();
  const left = missingParts().filter((part) => part.needed);
  if (!libtorch || left.length > 0) throw new SetupError(instruction(left));
  return libtorch;
}

/** The parts that are absent: Debian package, reason, and whether nothing works without it. */
function missingParts() {
  const parts = [];
  const add = (name, reason, needed = true) => parts.push({ name, reason, needed });
  if (!hasProgram(process.env.CXX || 'g++')) add('g++', 'compiles the native addon');
  if (!hasProgram('cmake')) add('cmake', 'configures the build of the native addon');
  if (!hasProgram('make') && !hasProgram('ninja')) add('make', 'runs the build of the native addon');
  const libtorch = locateLibtorch();
  if (!libtorch) add('libtorch-dev', 'tensors, autograd and kernels (PyTorch’s C++ library)');
  // A libtorch from Python or from pytorch.org brings its own BLAS; the distribution's uses the system's.
  if ((!libtorch || libtorch.source === 'system') && !hasOpenBlas()) {
    add(
      'libopenblas0-pthread',
      'fast matrix products; without it libtorch falls back to a very slow BLAS',
      false,
    );
  }
  return parts;
}

async function install(missing) {
  const apt = aptCommand();
  if (!apt) {
    const needed = missing.filter((part) => part.needed);
    if (needed.length > 0) throw new SetupError(instruction(missing));
    for (const part of missing) say(`· Not installed: ${part.name} (${part.reason}).`);
    return;
  }
  say('Missing on this machine, to be installed with apt-get:');
  for (const part of missing) say(`  ${part.name.padEnd(22)}${part.reason}`);
  const environment = { DEBIAN_FRONTEND: 'noninteractive' };
  try {
    await step('Refresh the package lists (apt-get update)', [...apt, 'update'], { advice: '', environment });
  } catch {
    // One broken third-party source makes this fail; the lists at hand are often good enough all the same.
    say('  apt-get update failed; going on with the package lists at hand');
  }
  const names = missing.map((part) => part.name);
  await step(
    `Install ${names.join(', ')}`,
    [...apt, 'install', '--yes', '--no-install-recommends', ...names],
    {
      advice: `run it by hand to see more:  sudo apt-get update && sudo apt-get install ${names.join(' ')}`,
      environment,
    },
  );
}

/** apt-get with the rights to install, or undefined: not Debian or Ubuntu, or neither root nor sudo. */
function aptCommand() {
  if (!isDebianLike() || !hasProgram('apt-get')) return undefined;
  if (process.getuid?.() === 0) return ['apt-get'];
  const sudo = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' });
  return sudo.status === 0 ? ['sudo', '-n', '--preserve-env=DEBIAN_FRONTEND', 'apt-get'] : undefined;
}

function instruction(missing) {
  const names = missing.map((part) => part.name);
  const list = missing.map((part) => `  ${part.name.padEnd(22)}${part.reason}`).join('\n');
  const how = isDebianLike()
    ? `Install them (needs root):\n  sudo apt-get update && sudo apt-get install --no-install-recommends ${names.join(' ')}`
    : 'Install them with your system’s package manager (the names above are Debian’s). For libtorch one of these will do:\n' +
      '  · unpack a C++ libtorch from https://pytorch.org and set OPENPLUG_LIBTORCH to its folder\n' +
      '  · pip install torch, so that python3 finds it';
  return `Missing on this machine:\n${list}\n\n${how}\n\nThen run this again.`;
}

function locateLibtorch() {
  try {
    return findLibtorch();
  } catch (error) {
    throw new SetupError(error.message);
  }
}

function isDebianLike() {
  if (!existsSync('/etc/os-release')) return false;
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(readFileSync('/etc/os-release', 'utf8'));
}

function hasProgram(name) {
  if (name.includes('/')) return existsSync(name);
  const folders = (process.env.PATH ?? '').split(':').filter(Boolean);
  return folders.some((folder) => existsSync(join(folder, name)));
}

function hasOpenBlas() {
  const root = '/usr/lib';
  const folders = existsSync(root) ? readdirSync(root).filter((name) => name.endsWith('-linux-gnu')) : [];
  const candidates = ['/usr/lib', '/usr/lib64', '/usr/local/lib', ...folders.map((name) => join(root, name))];
  return candidates.some((folder) =>
    ['libopenblas.so.0', 'openblas-pthread/libopenblas.so.0', 'libmkl_rt.so'].some((name) =>
      existsSync(join(folder, name)),
    ),
  );
}

export { describeLibtorch };
