// `npm run bench:setup`: the peers of the benchmarks, into ignored folders: Python packages into bench/peers/.venv, at
// the versions of bench/peers/requirements.txt, and onnxruntime-node. Does nothing when they are in place. A peer that cannot be had is named with the reason;
// the benchmarks run without it.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { installNodePeers } from './node-peers.mjs';
import { ROOT, runScript, SetupError, say, step } from './steps.mjs';

const FOLDER = join(ROOT, 'bench', 'peers');
const PYTHON = join(FOLDER, '.venv', 'bin', 'python3');

/** What each peer cannot do without. */
const PEERS = {
  'PyTorch 2': ['torch', 'numpy'],
  CTranslate2: ['ctranslate2', 'numpy'],
  'ONNX Runtime': ['onnxruntime', 'onnx', 'onnxscript', 'torch', 'numpy'],
  'Hugging Face tokenizers': ['tokenizers'],
};

async function benchSetup() {
  const wanted = requirements();
  let installed = installedVersions();
  const missing = () => wanted.filter(({ name, version }) => installed[name] !== version);
  if (missing().length > 0) {
    await createEnvironment();
    for (const { name, version } of missing()) await install(`${name}==${version}`);
    installed = installedVersions();
  }
  const absent = new Set(missing().map(({ name }) => name));
  for (const [peer, packages] of Object.entries(PEERS)) {
    const lacks = packages.filter((name) => absent.has(name));
    say(lacks.length === 0 ? `· ${peer}: in place` : `· ${peer}: MISSING, for want of ${lacks.join(', ')}`);
  }
  await attempt(installNodePeers);
  sayCompiler();
  saySystemTorch();
}

/** Lines `name==version`. */
function requirements() {
  return readFileSync(join(FOLDER, 'requirements.txt'), 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name, version] = line.trim().split('==');
      return { name, version };
    });
}

/** Versions by package name, of the environment; local parts ("+cpu") left out. */
function installedVersions() {
  if (!existsSync(PYTHON)) return {};
  const script =
    'import json, importlib.metadata as m; print(json.dumps({d.name.lower(): d.version.split("+")[0] for d in m.distributions()}))';
  const { status, stdout } = spawnSync(PYTHON, ['-c', script], { encoding: 'utf8' });
  return status === 0 ? JSON.parse(stdout) : {};
}

async function createEnvironment() {
  if (existsSync(PYTHON)) return;
  await step('Make bench/peers/.venv', ['python3', '-m', 'venv', join(FOLDER, '.venv')], {
    advice: 'install Python 3.10 or newer with its venv module (Debian: apt install python3-venv)',
  });
}

/** One package at a time, so that one which cannot be had costs only the peers that need it. */
async function install(requirement) {
  const command = [PYTHON, '-m', 'pip', 'install', '--quiet', requirement];
  const advice = 'check the network and the index that pip uses (pip config list)';
  await attempt(() => step(`Install ${requirement}`, command, { advice }));
}

/** A step that may fail: it says so, and the set-up goes on. */
async function attempt(part) {
  try {
    await part();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
  }
}

function sayCompiler() {
  if (spawnSync('c++', ['--version']).status === 0) return;
  say('· No C++ compiler: torch.compile needs one (Debian: apt install g++).');
}

function saySystemTorch() {
  const script = 'import torch; print(torch.__version__)';
  const { status, stdout } = spawnSync('/usr/bin/python3', ['-c', script], { encoding: 'utf8' });
  if (status === 0) say(`· The system's PyTorch: ${stdout.trim()}`);
  else say("· The system's PyTorch: MISSING (Debian: apt install python3-torch)");
}

await runScript(benchSetup);
