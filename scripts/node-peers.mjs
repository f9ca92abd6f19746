// Installs onnxruntime-node into an ignored folder, bench/peers/node/node_modules, for the benchmarks and for the tests
// of the ONNX export. It is no dependency of a package: its 113 MB would weigh on everybody's first minute.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { npmCommand, ROOT, runScript, say, step } from './steps.mjs';

const FOLDER = join(ROOT, 'bench', 'peers', 'node');

/** Without install scripts: those of onnxruntime-node fetch GPU libraries, which nothing here uses. */
export async function installNodePeers() {
  const { dependencies } = JSON.parse(readFileSync(join(FOLDER, 'package.json'), 'utf8'));
  const [[name, version]] = Object.entries(dependencies);
  const file = join(FOLDER, 'node_modules', name, 'package.json');
  if (existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).version === version)
    return say(`· ${name}: in place`);
  const options = ['--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund'];
  await step(`Install ${name}@${version}`, npmCommand('install', '--prefix', FOLDER, ...options), {
    advice: 'check the network and the registry (npm ping)',
  });
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  await runScript(installNodePeers);
