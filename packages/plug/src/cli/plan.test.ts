// `plug plan` as a program: both kinds of output, statuses, and settings that do not fit together.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Ladder, Plan } from '../plan/index.js';
import { renderLadder } from './plan-tables.js';

const program = fileURLToPath(new URL('../../bin/plug.js', import.meta.url));
const fixture = fileURLToPath(new URL('../../test-data/plug-tiny', import.meta.url));

function plan(...parameters: string[]) {
  return spawnSync(process.execPath, [program, 'plan', ...parameters], { encoding: 'utf8' });
}

describe('plug plan', () => {
  it('shows all sizes: heads of 64 from tiny on, and decoders of a quarter to a half of the encoder', () => {
    const ladder = JSON.parse(plan('--json').stdout) as Ladder;
    const { rows } = ladder;
    assert.deepEqual([rows[0]!.size, rows.at(-1)!.size], ['nano', '27b']);
    assert.equal(rows.at(-1)!.parameters, 26_100_601_859);
    for (const { size, config } of rows) {
      if (size !== 'nano') assert.equal(config.hiddenSize / config.numAttentionHeads, 64, size);
      assert.equal(config.intermediateSize, 4 * config.hiddenSize, size);
      const ratio = config.numHiddenLayers / config.decHiddenLayers;
      assert.ok(ratio >= 2 && ratio <= 4, `${size}: ${ratio}`);
    }
    assert.match(renderLadder(ladder), /^size .*\n[\s\S]*\n27b +8192 +128 × 64 +24 \+ 6 +26,100,601,859 /);
  });

  it('says by how much a machine is too small and what would help, with status 1', () => {
    const { status, stdout } = plan('--size', 'large', '--batch', '64', '--hardware', 'v100-16');
    assert.equal(status, 1);
    assert.match(
      stdout,
      /V100 16 GB: [\d.]+ [GM]B too much\. Fits with --batch \d+ \([\d.]+ GB\), or --recompute/,
    );
    assert.match(stdout, /are not there yet/);
  });

  it('plans a model folder', () => {
    const result = plan(
      fixture,
      '--job',
      'inference',
      '--source-length',
      '16',
      '--target-length',
      '16',
      '--json',
    );
    assert.equal(result.status, 0, result.stderr);
    const { config, hardware, memory } = JSON.parse(result.stdout) as Plan;
    assert.equal(config.hiddenSize, 64);
    assert.ok(hardware.every(({ fits, inference }) => fits && inference!.tokensPerSecond > 0));
    assert.ok((memory.total as number) > (memory.weights as number));
  });

  it('refuses what does not go together, with status 2', () => {
    for (const [parameters, message] of [
      [['--size', 'base', '--dtype', 'int8'], /--dtype is int8, in which a model cannot be trained/],
      [[fixture, '--size', 'base'], /give one of them/],
    ] as const) {
      const { status, stderr } = plan(...parameters);
      assert.equal(status, 2);
      assert.match(stderr, message);
    }
  });
});
