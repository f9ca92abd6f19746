// Inputs that once went a way of their own through the reader, found by the fuzzer: each still gives a value or an error
// of ours as before, in time; and so do some fresh ones.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { liveTensorCount } from '@openplug/torch';
import { hostileFiles } from './hostile.js';
import { makeInput, openBytes } from './outcome.js';
import { seedFiles, seedPickles } from './seeds.js';

const corpus = fileURLToPath(new URL('../../../../test-data/pickle-corpus', import.meta.url));

describe('inputs of the fuzzer', () => {
  it('valid files load', () => {
    for (const file of seedFiles()) assert.deepEqual(openBytes(file), { signature: 'value' });
  });

  it('kept inputs end as their names say', () => {
    const names = readdirSync(corpus);
    assert.ok(names.length >= 30, `only ${names.length} inputs in ${corpus}`);
    const tensors = liveTensorCount();
    for (const name of names) {
      const before = process.cpuUsage();
      const { signature, fault } = openBytes(readFileSync(join(corpus, name)));
      const { user, system } = process.cpuUsage(before);
      assert.equal(fault, undefined, `${name}: ${fault}`);
      assert.equal(signature === 'value', name.startsWith('value-'), `${name}: ${signature}`);
      assert.ok((user + system) / 1e6 < 2, `${name} took ${(user + system) / 1e6} s`);
    }
    assert.equal(liveTensorCount(), tensors);
  });

  it('fresh inputs end in a value or an error of ours', () => {
    const pickles = seedPickles();
    const files = seedFiles();
    const seen = new Set<string>();
    for (let number = 0; number < 500; number++) {
      const { kind, bytes } = makeInput(7, number, pickles, files, []);
      if (kind in hostileFiles) continue; // large ones are for the long runs
      const { signature, fault } = openBytes(bytes);
      assert.equal(fault, undefined, `${kind} ${number}: ${fault}`);
      seen.add(signature);
    }
    assert.ok(seen.has('value') && seen.size > 40, `only ${seen.size} different ends`);
  });
});
