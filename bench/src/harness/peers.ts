// The peers that benchmarks measure against: which Python has each of them, and a process for a script of `bench/peers`.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { progress } from './harness.js';
import { Side } from './side.js';

/** A peer that was found. */
export interface Peer {
  name: PeerName;
  /** For people: name and version. */
  title: string;
  python: string;
  version: string;
}

const environment = fileURLToPath(new URL('../../peers/.venv/bin/python3', import.meta.url));

/** Where each peer is looked for, in this order, and what to do when it is nowhere. */
const known = {
  'system-torch': {
    title: 'PyTorch',
    module: 'torch',
    pythons: [process.env.OPENPLUG_PYTHON, '/usr/bin/python3', 'python3'],
    advice: 'Debian: apt install python3-torch; or set OPENPLUG_PYTHON to a Python that has torch',
  },
  torch2: { title: 'PyTorch', module: 'torch', pythons: [environment], advice: 'npm run bench:setup' },
  ctranslate2: {
    title: 'CTranslate2',
    module: 'ctranslate2',
    pythons: [environment],
    advice: 'npm run bench:setup',
  },
  onnx: {
    title: 'ONNX Runtime',
    module: 'onnxruntime',
    pythons: [environment],
    advice: 'npm run bench:setup',
  },
  tokenizers: {
    title: 'Hugging Face tokenizers',
    module: 'tokenizers',
    pythons: [environment],
    advice: 'npm run bench:setup',
  },
} as const satisfies Record<
  string,
  { title: string; module: string; pythons: readonly (string | undefined)[]; advice: string }
>;

export type PeerName = keyof typeof known;

/** Looks for a peer; says on stderr what the run lacks without it. */
export function findPeer(name: PeerName): Peer | undefined {
  const { title, module, pythons, advice } = known[name];
  for (const python of pythons) {
    if (!python) continue;
    const { status, stdout } = spawnSync(python, ['-c', `import ${module}; print(${module}.__version__)`], {
      encoding: 'utf8',
    });
    const version = stdout?.trim();
    if (status === 0) return { name, title: `${title} ${version.split('+')[0]}`, python, version };
  }
  progress(
    `SKIPPED: ${title} (${name}) and the checks against it, as no Python with it was found. ${advice}.`,
  );
  return undefined;
}

/** Starts a script of `bench/peers` on a case. */
export function peerSide(peer: Peer, script: string, casePath: string, ...args: string[]): Side {
  const path = fileURLToPath(new URL(`../../peers/${script}`, import.meta.url));
  return new Side(`${peer.title} (${script})`, peer.python, [path, casePath, ...args]);
}
