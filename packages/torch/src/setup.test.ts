// The set-up script of a checkout, on machines that lack something: each must be told what and what to do.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const scripts = fileURLToPath(new URL('../../../scripts/', import.meta.url));
const skip = existsSync(join(scripts, 'setup.mjs')) ? false : 'the set-up scripts are only in a checkout';

function run(parameters: string[], environment: Record<string, string>) {
  const { status, stdout, stderr } = spawnSync(process.execPath, parameters, {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
    timeout: 30_000,
  });
  return { status, text: stdout + stderr };
}

describe('set-up', { skip }, () => {
  it('says which Node is needed, which one this is, and how to get one', () => {
    const program = `import { checkNode } from ${JSON.stringify(join(scripts, 'system.mjs'))};
      checkNode('20.19.0'); checkNode('26.1.0');
      try { checkNode('18.19.1'); } catch (error) { console.log(error.message); }`;
    const { status, text } = run(['--input-type=module', '-e', program], {});
    assert.equal(status, 0, text);
    assert.match(text, /Node 20\.19 or newer is needed; this is Node 18\.19\.1.*\nInstall/);
  });

  it('names a missing compiler and cmake with the reason, where it cannot install them', () => {
    const empty = mkdtempSync(join(tmpdir(), 'openplug-path-'));
    try {
      const { status, text } = run([join(scripts, 'setup.mjs')], { PATH: empty, CXX: '' });
      assert.equal(status, 1, text);
      assert.match(text, /g\+\+ +compiles the native addon/);
      assert.match(text, /cmake +configures/);
      assert.match(text, /Install them/);
    } finally {
      rmSync(empty, { recursive: true });
    }
  });

  it('refuses a libtorch that was chosen but is not one', () => {
    const empty = mkdtempSync(join(tmpdir(), 'openplug-libtorch-'));
    try {
      const { status, text } = run([join(scripts, 'setup.mjs')], { OPENPLUG_LIBTORCH: empty });
      assert.equal(status, 1, text);
      assert.match(text, /OPENPLUG_LIBTORCH=.* holds no libtorch: expected include\/torch/);
    } finally {
      rmSync(empty, { recursive: true });
    }
  });
});
