// Models against what was packed of them, on a corpus and on examples.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  openModelFolder,
  type StoredPrecision,
  saveModel,
  storedPrecisions,
  writeModelFolder,
} from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { springTask } from '../finetune/finetune.test-support.js';
import { PlugClassifier } from '../finetune/index.js';
import { newParameters, PlugModel, plugConfigOfSize } from '../model/index.js';
import { temporaryFolder, testTokenizer, writeTestCorpus } from '../pretrain/pretrain.test-support.js';
import { keyedRandom } from '../random.js';
import { tokenizerFromVocabulary } from '../text/index.js';
import { compareClassifiers, compareOnCorpus, describeComparison } from './compare-models.js';
import { evaluateOnCorpus } from './evaluate-corpus.js';
import { buildProgram } from './main.js';

const program = fileURLToPath(new URL('../../bin/plug.js', import.meta.url));
const parent = temporaryFolder();
const at = (name: string): string => join(parent, name);
const { corpus } = writeTestCorpus(parent);
const settings = {
  computeDType: 'float32',
  tokensPerBatch: 256,
  batches: 6,
  maxLength: 24,
  minSideLength: 3,
  maxSideLength: 10,
} as const;
const shape = { maxPositionEmbeddings: 32, initializerRange: 0.2, hiddenSize: 64 } as const;

/** A model folder with random weights that are large enough for its predictions to be sharp. */
function writeModel(name: string, changes: { decHiddenLayers?: number } = {}): string {
  const config = plugConfigOfSize('nano', testTokenizer.vocabSize, { ...shape, ...changes });
  using model = new PlugModel(config, newParameters(5));
  saveModel(at(name), model);
  testTokenizer.save(at(name));
  return at(name);
}

async function pack(source: string, precision: StoredPrecision): Promise<string> {
  using model = openModelFolder(source);
  const out = `${source}-${precision}`;
  await writeModelFolder(out, model, { precision });
  return out;
}

describe('a packed model against its source', () => {
  let source: string;
  const packed: Record<string, string> = {};
  before(async () => {
    source = writeModel('source');
    for (const precision of storedPrecisions) packed[precision] = await pack(source, precision);
  });

  it('has lost nothing when it is the source itself, scored as plug evaluate scores it', () => {
    const { lm, maskedLm, goal, bytes } = compareOnCorpus({ source, model: source }, corpus, settings);
    for (const part of [lm!, maskedLm!]) {
      assert.deepEqual(
        [part.agreement, part.klDivergence, part.perplexityChangePercent, part.source],
        [1, 0, 0, part.model],
      );
      assert.ok(part.positions > 50, `${part.positions} positions`);
    }
    assert.equal(goal, undefined);
    assert.equal(bytes.source, bytes.model);
    const { encoder, decoder } = evaluateOnCorpus(source, corpus, settings);
    for (const [got, wanted] of [
      [lm!.source.perplexity, decoder!.perplexity!],
      [lm!.source.bitsPerCharacter!, decoder!.bitsPerCharacter!],
      [maskedLm!.source.loss, encoder.mlmLoss!],
    ] as const)
      assert.ok(Math.abs(got - wanted) <= 1e-5 * wanted, `${got} for ${wanted}`);
  });

  it('is further from it the fewer its bits are', () => {
    const found = ['bfloat16', 'int8', 'int4'].map((precision) =>
      compareOnCorpus({ source, model: packed[precision]! }, corpus, settings),
    );
    for (const part of ['lm', 'maskedLm'] as const) {
      const divergences = found.map((comparison) => comparison[part]!.klDivergence);
      assert.ok(divergences[0]! > 0, `${part}: ${divergences}`);
      assert.deepEqual(
        divergences.toSorted((a, b) => a - b),
        divergences,
        part,
      );
      assert.ok(found[2]![part]!.agreement < 1);
      assert.ok(found[0]![part]!.agreement >= found[2]![part]!.agreement);
    }
    assert.ok(found[0]!.bytes.source > found[0]!.bytes.model);
    assert.ok(found[1]!.bytes.model > found[2]!.bytes.model);
    assert.deepEqual(
      found.map(({ goal }) => goal?.perplexityChangePercent),
      [undefined, 0.5, 3],
    );
    for (const { goal, lm } of found)
      if (goal) assert.equal(goal.reached, lm!.perplexityChangePercent <= goal.perplexityChangePercent);
    assert.match(
      describeComparison(found[2]!),
      /LM perplexity [\s\S]+goal of int4: perplexity \+3 % at most: /,
    );
  });

  it('is compared by its masked LM when it is an encoder alone', async () => {
    const encoder = writeModel('encoder', { decHiddenLayers: 0 });
    const folders = { source: encoder, model: await pack(encoder, 'int8') };
    const { lm, maskedLm, goal } = compareOnCorpus(folders, corpus, settings);
    assert.equal(lm, undefined);
    assert.ok(maskedLm!.klDivergence > 0 && maskedLm!.klDivergence < 0.1, `${maskedLm!.klDivergence}`);
    assert.equal(goal?.perplexityChangePercent, 0.5);
    assert.throws(
      () => compareOnCorpus({ source, model: encoder }, corpus, settings),
      /only one of them has a decoder/,
    );
  });

  it('must share its vocabulary, and that of the corpus', () => {
    const tokens = Array.from({ length: testTokenizer.vocabSize }, (_, id) => testTokenizer.idToToken(id));
    const other = tokenizerFromVocabulary(tokens.map((token) => (token === '春' ? '秋' : token)));
    cpSync(source, at('other'), { recursive: true });
    other.save(at('other'));
    const [own, strange] = [source, at('other')];
    assert.throws(() => compareOnCorpus({ source: own, model: strange }, corpus, settings), {
      name: ConfigError.name,
      message: /different vocabularies/,
    });
    assert.throws(() => compareOnCorpus({ source: strange, model: strange }, corpus, settings), {
      name: ConfigError.name,
      message: /heldOut was made with another vocabulary/,
    });
    const config = plugConfigOfSize('nano', testTokenizer.vocabSize + 128, shape);
    using wide = new PlugModel(config, newParameters(5));
    saveModel(at('wide'), wide);
    testTokenizer.save(at('wide'));
    assert.throws(
      () => compareOnCorpus({ source, model: at('wide') }, corpus, settings),
      /vocabSize is \d+ in the first and \d+ in the second/,
    );
  });

  it('is compared by plug quantize and plug evaluate, which tell a wrong corpus before they write', async () => {
    const plug = (...parameters: string[]) =>
      spawnSync(process.execPath, [program, ...parameters], { encoding: 'utf8' });
    const lengths = ['--min-side-length', '3', '--max-side-length', '10', '--batches', '2'];
    const out = ['--out', at('made'), '--precision', 'int4'];
    const wrong = ['quantize', '--model', at('other'), ...out, '--corpus', corpus, ...lengths];
    await assert.rejects((await buildProgram()).parseAsync(wrong, { from: 'user' }), /another vocabulary/);
    assert.ok(!existsSync(at('made')));
    const made = plug('quantize', '--model', source, ...out, '--corpus', corpus, ...lengths, '--json');
    const { comparisons } = JSON.parse(made.stdout) as { comparisons: { storage: object; lm: object }[] };
    assert.deepEqual(comparisons[0]!.storage, { source: 'float32', model: 'int4' });
    const pair = ['--model', at('made'), '--against', source];
    const again = plug('evaluate', ...pair, '--corpus', corpus, ...lengths, '--json');
    assert.deepEqual(JSON.parse(again.stdout).comparison.lm, comparisons[0]!.lm);
  });

  it('has lost less when plug quantize calibrates it', async () => {
    const lengths = ['--min-side-length', '3', '--max-side-length', '10', '--batches', '6'];
    const quantize = (out: string, precision: string): string[] => [
      ...['quantize', '--model', source, '--out', at(out), '--precision', precision],
      ...['--calibrate', corpus, '--calibration-tokens', '1000', '--corpus', corpus, ...lengths],
    ];
    await assert.rejects(
      (await buildProgram()).parseAsync(quantize('no', 'int8'), { from: 'user' }),
      /for --precision int4/,
    );
    assert.ok(!existsSync(at('no')));
    const made = spawnSync(process.execPath, [program, ...quantize('calibrated', 'int4'), '--json'], {
      encoding: 'utf8',
    });
    const { calibration, comparisons } = JSON.parse(made.stdout) as {
      calibration: { corpus: string; tokens: number };
      comparisons: { lm: { klDivergence: number }; maskedLm: { klDivergence: number } }[];
    };
    assert.equal(calibration.corpus, corpus);
    assert.ok(calibration.tokens >= 1000, `${calibration.tokens} tokens`);
    const plain = compareOnCorpus({ source, model: packed.int4! }, corpus, { ...settings, batches: 6 });
    for (const part of ['lm', 'maskedLm'] as const) {
      const [now, before] = [comparisons[0]![part].klDivergence, plain[part]!.klDivergence];
      assert.ok(now < before, `${part}: ${now} calibrated, ${before} plainly`);
    }
  });
});

describe('a packed classifier against its source', () => {
  it('is compared by accuracy and by the labels that both give', async () => {
    const config = plugConfigOfSize('nano', testTokenizer.vocabSize, { ...shape, decHiddenLayers: 0 });
    const model = new PlugModel(config, newParameters(5));
    using classifier = new PlugClassifier({
      model,
      tokenizer: testTokenizer,
      task: springTask,
      maxLength: 24,
      head: newParameters(6),
    });
    const source = at('classifier');
    mkdirSync(source);
    classifier.save(source);
    const rows = Array.from({ length: 200 }, (_, index) => {
      const random = keyedRandom(index, 1);
      const text = Array.from({ length: 6 }, () => '春江潮水'[random.integer(0, 3)]).join('');
      return { line: text, season: springTask.labels[text.includes('春') ? 1 : 0] };
    });
    writeFileSync(at('rows.json'), JSON.stringify(rows));
    const itself = await compareClassifiers({ source, model: source }, [at('rows.json')], settings);
    assert.deepEqual([itself.agreement, itself.scores.source], [1, itself.scores.model]);
    const [int8, int4] = await Promise.all(
      (['int8', 'int4'] as const).map(async (precision) =>
        compareClassifiers({ source, model: await pack(source, precision) }, [at('rows.json')], settings),
      ),
    );
    assert.ok(int8!.agreement > 0.9, `int8: ${int8!.agreement}`);
    assert.ok(int4!.agreement < int8!.agreement, `int4: ${int4!.agreement}`);
    const { difference, interval } = int4!.paired;
    const change = int4!.scores.model.accuracy - int4!.scores.source.accuracy;
    assert.ok(Math.abs(difference - change) < 1e-12, `${difference} is not ${change}`);
    assert.ok(interval.low <= difference && difference <= interval.high);
    assert.notEqual(int4!.scores.model.loss, itself.scores.model.loss);
    assert.match(
      describeComparison(int4!),
      /accuracy .* points\n[\s\S]*the same label for .* of 200 examples\nonly the model is right on \d+, .* points$/,
    );
    await assert.rejects(
      compareClassifiers({ source: writeModel('plain'), model: source }, [at('rows.json')], settings),
      /no classifier/,
    );
  });
});
