// Spawns `plug generate` on a small random model: where prompts come from, and what goes where.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { saveModel } from '../checkpoint/index.js';
import { newParameters, PlugModel, plugConfigOfSize } from '../model/index.js';
import { tokenizerFromVocabulary } from '../text/index.js';

interface Result {
  model: string;
  precision: string;
  results: { prompt: string; notes: string[]; texts: { text: string; tokenIds: number[]; seed: number }[] }[];
  tokens: number;
  error?: { code: string; message: string };
}

const program = fileURLToPath(new URL('../../bin/plug.js', import.meta.url));

describe('plug generate', () => {
  const run = mkdtempSync(join(tmpdir(), 'plug-generate-'));
  after(() => rmSync(run, { recursive: true }));
  before(() => {
    const tokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...'春江潮水連海平，明月共生'];
    const config = plugConfigOfSize('nano', tokens.length, { maxPositionEmbeddings: 32 });
    using model = new PlugModel(config, newParameters(1));
    saveModel(join(run, 'model'), model);
    tokenizerFromVocabulary(tokens).save(join(run, 'model'));
  });

  function plug(parameters: string[], input = '') {
    const all = [
      program,
      'generate',
      '--model',
      run,
      '--max-length',
      '8',
      '--min-length',
      '8',
      ...parameters,
    ];
    const { stdout, stderr, status } = spawnSync(process.execPath, all, { encoding: 'utf8', input });
    return { stdout, stderr, status };
  }

  function json(parameters: string[], input = ''): Result {
    const { stdout } = plug(['--json', ...parameters], input);
    assert.equal(stdout.trimEnd().split('\n').length, 1, stdout);
    return JSON.parse(stdout) as Result;
  }

  it('continues a prompt from a run folder: the text alone, one JSON object, or a stream, all the same', () => {
    const prompt = ['--prompt', '春江潮水連海平', '--seed', '3'];
    const found = json(prompt);
    assert.equal(found.model, join(run, 'model'));
    const [{ texts }] = found.results as [Result['results'][0]];
    assert.equal([...texts[0]!.text].length, 8);
    assert.deepEqual([found.tokens, texts[0]!.seed], [8, 3]);
    for (const parameters of [prompt, [...prompt, '--stream']]) {
      const plain = plug(parameters);
      assert.deepEqual(plain, { stdout: `${texts[0]!.text}\n`, stderr: '', status: 0 });
    }
    const both = plug([...prompt, '--stream', '--json']);
    assert.equal(both.stderr, `${texts[0]!.text}\n`);
    assert.deepEqual((JSON.parse(both.stdout) as Result).results, found.results);
  });

  it('takes prompts from standard input and from a file, whatever the batch size', () => {
    const lines = '春江\n\n潮水連海平\r\n明月鑫\n';
    const whole = json(['--num-candidates', '2'], lines);
    assert.deepEqual(
      whole.results.map(({ prompt }) => prompt),
      ['春江', '潮水連海平', '明月鑫'],
    );
    assert.match(whole.results[2]!.notes[0]!, /not in the vocabulary: 1/);
    const file = join(run, 'prompts.txt');
    writeFileSync(file, lines);
    // Ids, as matrix products of other sizes may round the last bits of log-probabilities differently.
    const ids = ({ results }: Result) => results.map(({ texts }) => texts.map(({ tokenIds }) => tokenIds));
    const small = json(['--num-candidates', '2', '--prompt-file', file, '--batch-size', '4']);
    assert.deepEqual(ids(small), ids(whole));
    const plain = plug(['--num-candidates', '2', '--prompt-file', '-'], lines);
    assert.match(plain.stderr, /^note: prompt 3: /);
    assert.equal(
      plain.stdout,
      whole.results.flatMap(({ prompt, texts }) => texts.map(({ text }) => `${prompt}\t${text}\n`)).join(''),
    );
    assert.deepEqual(ids(json(['--num-candidates', '2', '--stream'], lines)), ids(whole));
  });

  it('searches with beams', () => {
    const { results } = json(['--prompt', '', '--beams', '4', '--num-candidates', '2']);
    assert.equal(results[0]!.texts.length, 2);
  });

  it('writes in any precision', () => {
    const prompt = ['--prompt', '春江潮水連海平', '--temperature', '0', '--json'];
    for (const precision of ['float32', 'bfloat16', 'int8']) {
      const found = json([...prompt, '--precision', precision]);
      assert.equal(found.precision, precision);
      assert.equal(found.results[0]!.texts[0]!.tokenIds.length, 8);
    }
    assert.equal(json(prompt).precision, 'float32');
  });

  it('profiles: a trace that holds the decoding, and a table on stderr', () => {
    const file = join(run, 'trace.json');
    const prompt = ['--prompt', '春江潮水連海平', '--seed', '3'];
    const { stdout, stderr, status } = plug([...prompt, '--profile', file]);
    assert.equal(status, 0, stderr);
    assert.equal(stdout, plug(prompt).stdout);
    const { traceEvents } = JSON.parse(readFileSync(file, 'utf8')) as { traceEvents: { name: string }[] };
    for (const name of ['openplug::packed_linear', 'openplug::self_attention_step', 'openplug::candidates'])
      assert.ok(traceEvents.filter((event) => event.name === name).length >= 8, name);
    const [heading, titles, ...rows] = stderr.trimEnd().split('\n');
    assert.match(heading!, /^Profile of \d+\.\d ms in operators: .*trace\.json/);
    assert.match(titles!, /^operator +calls +own ms +share +shapes$/);
    assert.equal(rows.length, 10);
    const shares = rows.map((row) => Number(/ (\d+\.\d) %/.exec(row)?.[1]));
    assert.deepEqual(
      shares,
      [...shares].sort((a, b) => b - a),
    );
    assert.equal(JSON.parse(plug([...prompt, '--json', '--profile', file]).stdout).tokens, 8);
  });

  it('explains what is wrong', () => {
    const failing = (parameters: string[], message: RegExp, input = ''): void => {
      const { stdout, status } = plug(['--json', ...parameters], input);
      const { error } = JSON.parse(stdout) as Result;
      assert.deepEqual([error?.code, status], ['CONFIG', 2]);
      assert.match(error?.message ?? '', message);
    };
    failing([], /holds no prompt/, '\n');
    failing(['--prompt', '春', '--prompt-file', 'x'], /not both/);
    failing(['--prompt-file', join(run, 'none')], /none cannot be read/);
    failing(['--prompt', '春', '--top-p', '2'], /topP: got 2 \(from --top-p\), expected number > 0 and ≤ 1/);
    failing(['--prompt', '春', '--model', join(run, 'none')], /no such folder/);
    failing(
      ['--prompt', '春', '--precision', 'int3'],
      /precision: got "int3".*expected one of auto, float32/,
    );
    failing(['--prompt', '春', '--profile', join(run, 'none', 'trace.json')], /there is no folder .*none/);
  });
});
