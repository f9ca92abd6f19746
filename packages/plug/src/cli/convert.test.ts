// Spawns `plug init`, `quantize` and `inspect`, and writes with what they make.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tokenizerFromVocabulary } from '../text/index.js';

const program = fileURLToPath(new URL('../../bin/plug.js', import.meta.url));
const parent = mkdtempSync(join(tmpdir(), 'plug-convert-'));
after(() => rmSync(parent, { recursive: true }));
const shared =
  process.env.OPENPLUG_SHARED ?? fileURLToPath(new URL('../../../../../shared', import.meta.url));
const at = (name: string): string => join(parent, name);

function plug(...parameters: string[]) {
  return spawnSync(process.execPath, [program, ...parameters], { encoding: 'utf8' });
}

function json<Result>(...parameters: string[]): Result {
  const { stdout, stderr } = plug(...parameters, '--json');
  assert.equal(stdout.trimEnd().split('\n').length, 1, stdout + stderr);
  return JSON.parse(stdout) as Result;
}

describe('plug init, quantize and inspect', () => {
  it('make a model, pack it, say what it holds, and write with it', () => {
    tokenizerFromVocabulary([
      '[PAD]',
      '[UNK]',
      '[CLS]',
      '[SEP]',
      '[MASK]',
      ...'春江潮水連海平，明月共生',
    ]).save(at('vocabulary'));
    const made = json<{ parameters: number; format: string; files: string[] }>(
      ...[
        'init',
        '--size',
        'nano',
        '--max-positions',
        '32',
        '--tokenizer',
        at('vocabulary'),
        '--out',
        at('plain'),
      ],
    );
    assert.deepEqual([made.format, made.files], ['float32', ['model.safetensors']]);
    const packed = plug('quantize', '--model', at('plain'), '--out', at('int8'));
    assert.match(packed.stdout, /^model folder: 0?\S+ parameters in int8, \S+ kB in 1 file/);
    assert.deepEqual(readdirSync(at('int8')).sort(), [
      'config.json',
      'model.safetensors',
      'model.safetensors.index.json',
      'tokenizer_config.json',
      'vocab.txt',
    ]);
    const found = json<{
      precision: string;
      parameters: number;
      bytes: number;
      verification: { verified: string[] };
    }>(...['inspect', at('int8'), '--verify']);
    assert.deepEqual([found.precision, found.parameters], ['int8', made.parameters]);
    assert.deepEqual(found.verification.verified, ['model.safetensors']);
    const written = json<{ precision: string; tokens: number }>(
      ...['generate', '--model', at('int8'), '--prompt', '春', '--max-length', '8', '--min-length', '8'],
    );
    assert.deepEqual([written.precision, written.tokens], ['int8', 8]);
  });

  it('say what is wrong', () => {
    const cases: [string[], RegExp][] = [
      [['quantize', '--model', at('int8'), '--out', at('x')], /packed in int8 already/],
      [['quantize', '--model', at('plain'), '--out', at('int8')], /int8 is not empty/],
      [['quantize', '--model', at('plain'), '--out', at('x'), '--precision', 'int3'], /expected one of/],
      [['init', '--size', 'nanno', '--out', at('x')], /size: got "nanno".*nano, tiny/],
      [['inspect', at('absent')], /absent: no such folder/],
    ];
    for (const [parameters, pattern] of cases) {
      const { status, stderr } = plug(...parameters);
      assert.match(stderr, pattern);
      assert.notEqual(status, 0);
    }
    assert.equal(existsSync(at('x')), false);
  });

  it('import a published checkpoint and export it again', (t) => {
    const published = join(shared, 'fixtures', 'plug-tiny');
    if (!existsSync(published)) return t.skip(`${published} is absent`);
    const imported = plug('import', published, '--out', at('imported'));
    assert.match(imported.stdout, /^published PLUG, 8-way tensor parallel: 308,211 parameters in float16/);
    assert.match(imported.stdout, /note: double_final_norm was turned on/);
    const split = plug('export', at('imported'), '--layout', 'shards', '--degree', '4', '--out', at('four'));
    assert.match(split.stdout, /^model folder → \S+four \(shards\)/);
    const again = json<{ kind: string; notes: string[] }>('import', at('four'), '--out', at('again'));
    assert.equal(again.kind, 'published PLUG, 4-way tensor parallel');
    for (const name of ['model.safetensors', 'config.json'])
      assert.deepEqual(readFileSync(join(at('again'), name)), readFileSync(join(at('imported'), name)), name);
    assert.match(
      plug('export', published, '--layout', 'bert', '--out', at('x')).stderr,
      /Only post-LN encoders/,
    );
    assert.match(
      plug('import', join(published, 'model'), '--out', at('x')).stderr,
      /parent folder is a published PLUG/,
    );
    const onnx = plug('export', published, '--layout', 'onnx', '--out', at('onnx'));
    assert.match(onnx.stdout, /decoder_model_merged\.onnx: \S+ [kM]B/);
  });

  it('export the model that a run has made', () => {
    plug(
      'init',
      '--size',
      'nano',
      '--max-positions',
      '32',
      '--vocab-size',
      '40',
      '--out',
      join(at('run'), 'model'),
    );
    const { stdout, stderr } = plug('export', at('run'), '--layout', 'onnx', '--out', at('of-a-run'));
    assert.match(stdout, /^model folder → \S+of-a-run \(onnx\)/, stderr);
  });

  it('finds damage', () => {
    const path = join(at('int8'), 'model.safetensors');
    const bytes = readFileSync(path);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(path, bytes);
    const { status, stderr } = plug('inspect', at('int8'), '--verify');
    assert.match(stderr, /model\.safetensors is damaged: its SHA-256/);
    assert.equal(status, 1);
  });
});
