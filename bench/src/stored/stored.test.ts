// The stand-in of the 27B benchmark: the same path at a size that takes seconds.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../main.js', import.meta.url));

describe('the benchmark of stored models', () => {
  it('writes a small model in int4, loads, encodes and decodes with it where it lies', () => {
    const parameters = [program, 'stored', '--shape', 'trial', '--rounds', '1', '--json'];
    const { stdout, stderr } = spawnSync(process.execPath, parameters, { encoding: 'utf8' });
    const { results } = JSON.parse(stdout || `{"error":${JSON.stringify(stderr)}}`);
    const [{ precision, loadSeconds, encode, tokensPerSecond, shareOfRead, memory }] = results;
    assert.equal(precision, 'int4');
    assert.equal(encode.length, 2);
    for (const value of [
      loadSeconds,
      encode[0].seconds,
      encode[1].shareOfProducts,
      tokensPerSecond,
      shareOfRead,
    ])
      assert.ok(value > 0 && Number.isFinite(value));
    assert.ok(memory.peakBytes >= memory.residentBytes && memory.residentBytes > memory.fileBytes);
  });
});
