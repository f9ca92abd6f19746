// The numeric contract: `npm run parity` accepts the reference folder, and refuses one with a weight a little off.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openSafetensors, scope, writeSafetensors } from '@openplug/torch';
import { openModelFolder, writeModelFolder } from '../checkpoint/index.js';

const main = fileURLToPath(new URL('./main.js', import.meta.url));
const reference = fileURLToPath(new URL('../../test-data/plug-tiny', import.meta.url));
const parent = mkdtempSync(join(tmpdir(), 'plug-parity-'));
after(() => rmSync(parent, { recursive: true }));

interface Report {
  pass: boolean;
  maxRelLossError: number;
  maxAbsLogitError: number;
  maxRelGradientError: number;
  maxRelTenStepError: number;
  greedyIdentical: boolean;
  rows: { precision: string; pass: boolean }[];
}

function parity(...folders: string[]): { status: number | null; stderr: string; lines: string[] } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...folders], { encoding: 'utf8' });
  return { status, stderr, lines: stdout.trimEnd().split('\n') };
}

const reportOf = (lines: string[]): Report => JSON.parse(lines.at(-1)!) as Report;

/** A copy of the reference in which the last element of tensor `name` is 0.001 larger. */
function perturbed(name: string): string {
  const folder = join(parent, 'perturbed');
  cpSync(reference, folder, { recursive: true });
  const path = join(folder, 'model.safetensors');
  scope(() => {
    const file = openSafetensors(path);
    const tensors = new Map(file.names().map((key) => [key, file.tensor(key).clone()]));
    file.close();
    const flat = tensors.get(name)!.reshape(-1);
    flat.narrow(0, flat.numel - 1, 1).add_(1e-3);
    writeSafetensors(path, tensors);
  });
  return folder;
}

describe('parity', () => {
  it('is within every budget on the reference', () => {
    const { status, lines } = parity(reference);
    const report = reportOf(lines);
    assert.equal(status, 0, lines.join('\n'));
    assert.equal(report.pass, true);
    assert.equal(report.rows.length, 4);
    assert.ok(report.rows.every((row) => row.pass));
    assert.ok(report.greedyIdentical);
    // Budgets of the strictest rows, again, so that loosening them in the program is seen here.
    assert.ok(report.maxRelLossError <= 2e-6, `${report.maxRelLossError}`);
    assert.ok(report.maxAbsLogitError <= 3e-5, `${report.maxAbsLogitError}`);
    assert.ok(report.maxRelGradientError <= 3e-5, `${report.maxRelGradientError}`);
    assert.ok(report.maxRelTenStepError <= 1e-4, `${report.maxRelTenStepError}`);
    assert.equal(lines.length, 1 + 4 + 1, 'a heading, four precisions, one line of JSON');
  });

  it('fails when one weight is off by 0.001', () => {
    const { status, lines } = parity(perturbed('bert.encoder.layer.1.attention.self.query_key_value.weight'));
    assert.equal(status, 1, lines.join('\n'));
    assert.equal(reportOf(lines).pass, false);
    assert.ok(lines.some((line) => line.includes('OVER BUDGET')));
  });

  it('holds weights in float16 to the budget of rounded ones, with the numbers of another folder', async () => {
    const half = join(parent, 'half');
    using model = openModelFolder(reference);
    await writeModelFolder(half, model, { dtype: 'float16' });
    const { status, lines } = parity(half, reference);
    assert.equal(status, 0, lines.join('\n'));
    assert.deepEqual(
      reportOf(lines).rows.map(({ precision }) => precision),
      ['fp16-rounded weights, fp32'],
    );
  });

  it('exits with 2 and its usage without a folder, and names what is wrong with a folder', () => {
    for (const without of [parity(), parity(reference, reference, reference)]) {
      assert.equal(without.status, 2);
      assert.match(without.stderr, /Usage: npm run parity -- MODEL \[REFERENCE\]/);
    }
    const broken = join(parent, 'broken');
    cpSync(reference, broken, { recursive: true });
    writeFileSync(join(broken, 'expected.json'), '{"stage1": {}}');
    const { status, stderr } = parity(broken);
    assert.notEqual(status, 0);
    assert.match(stderr, /expected\.json is not in the reference layout/);
    assert.notEqual(parity(join(parent, 'nowhere')).status, 0);
  });
});
