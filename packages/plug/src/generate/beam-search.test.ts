import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PlugModel } from '../model/index.js';
import { tokenizerFromVocabulary } from '../text/index.js';
import { beamSearch, lengthPenaltyOf } from './beam-search.js';
import { DecodingPass } from './decoding-pass.js';
import { exact, logSumExp, plainLogits, tokenizer, writer } from './generate.test-support.js';
import { generate } from './index.js';
import { planGeneration } from './settings.js';
import { sourceOf } from './sources.js';

const withFloat64 = { forward: exact };

// Three tokens and the end: few enough to try every text.
const few = tokenizerFromVocabulary(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '春', '江', '潮']);
const { cls, sep } = few.special;

interface Scored {
  ids: number[];
  score: number;
  finish: 'end' | 'length';
}

/** Every text of up to `maxLength` tokens with its score, best first. */
function everyText(
  model: PlugModel,
  prompt: string,
  maxLength: number,
  minLength: number,
  alpha: number,
): Scored[] {
  const source = [cls, ...few.encode(prompt), sep];
  const found: Scored[] = [];
  const visit = (ids: number[], total: number): void => {
    const logits = plainLogits(model, source, [cls, ...ids]);
    const normalizer = logSumExp(logits);
    for (const id of [sep, 5, 6, 7]) {
      const sum = total + logits[id]! - normalizer;
      const length = ids.length + 1;
      const score = sum / lengthPenaltyOf(length, alpha);
      if (id === sep && ids.length < minLength) continue;
      if (id === sep) found.push({ ids, score, finish: 'end' });
      else if (length === maxLength) found.push({ ids: [...ids, id], score, finish: 'length' });
      else visit([...ids, id], sum);
    }
  };
  visit([], 0);
  return found.sort((a, b) => b.score - a.score);
}

describe('beam search', () => {
  it('that is wide enough finds the best of all texts, for each prompt of a batch', async () => {
    const finishes = new Set<string>();
    for (const [seed, alpha, minLength] of [
      [1, 1, 0],
      [2, 0, 0],
      [3, 0.6, 0],
      [4, 3, 0],
      [5, 1, 2],
      [6, 2, 0],
    ] as const) {
      using model = writer(seed, { vocabSize: 12, originalVocabSize: few.vocabSize });
      const prompts = ['春', '江潮春春', ''];
      const settings = { beams: 4 ** 4, numCandidates: 5, maxLength: 4, minLength, lengthPenalty: alpha };
      const generations = await generate(model, few, prompts, settings, withFloat64);
      for (const [index, { texts }] of generations.entries()) {
        const best = everyText(model, prompts[index]!, 4, minLength, alpha);
        for (const [rank, text] of texts.entries()) {
          finishes.add(text.finish);
          assert.deepEqual(text.tokenIds, best[rank]!.ids, `seed ${seed}, prompt ${index}, rank ${rank}`);
          assert.equal(text.finish, best[rank]!.finish);
          assert.ok(Math.abs(text.score! - best[rank]!.score) < 1e-9);
          const length = text.tokenIds.length + (text.finish === 'end' ? 1 : 0);
          assert.ok(Math.abs(text.logProbability - text.score! * lengthPenaltyOf(length, alpha)) < 1e-9);
        }
        assert.equal(texts.length, 5);
      }
    }
    assert.deepEqual([...finishes].sort(), ['end', 'length']);
  });

  it('of width 1 is greedy', async () => {
    // The setting 1 means sampling, so the search itself is called.
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      using model = writer(seed);
      const settings = { temperature: 0, maxLength: 20, uniqueNgram: 2, repetitionPenalty: 1.2 };
      const plan = planGeneration(settings, model.config);
      const prompts = ['春江潮', '月', 'to sing'];
      const sources = prompts.map((prompt) => sourceOf(prompt, tokenizer, plan, model.config));
      using pass = new DecodingPass(model, exact, undefined);
      const found = await beamSearch(pass, plan, tokenizer.special, model.config.originalVocabSize, sources);
      const greedy = await generate(model, tokenizer, prompts, settings, withFloat64);
      assert.deepEqual(
        found.map((texts) => [texts[0]!.ids, texts[0]!.finish]),
        greedy.map(({ texts }) => [texts[0]!.tokenIds, texts[0]!.finish]),
      );
    }
  });

  it('does not depend on batch mates, and repeats itself exactly', async () => {
    using model = writer(3);
    const prompts = ['春江潮水連海平', '', '月', '(to sing poems)'];
    const settings = { beams: 4, numCandidates: 3, maxLength: 16, lengthPenalty: 0.6 };
    const together = await generate(model, tokenizer, prompts, settings, withFloat64);
    assert.deepEqual(await generate(model, tokenizer, prompts, settings, withFloat64), together);
    for (const [row, prompt] of prompts.entries()) {
      const alone = await generate(model, tokenizer, prompt, settings, withFloat64);
      assert.deepEqual(
        alone.texts.map(({ tokenIds }) => tokenIds),
        together[row]!.texts.map(({ tokenIds }) => tokenIds),
      );
    }
  });

  it('finds texts at least as good when it is wider, and stops sooner when told to', async () => {
    let earlier = 0;
    for (const seed of [1, 2, 3, 4]) {
      using model = writer(seed, { vocabSize: 12, originalVocabSize: few.vocabSize });
      const settings = { maxLength: 12, lengthPenalty: 2 };
      const score = async (beams: number, earlyStopping = false): Promise<number> =>
        (await generate(model, few, '春江', { ...settings, beams, earlyStopping }, withFloat64)).texts[0]!
          .score!;
      const [narrow, wide, early] = [await score(2), await score(64), await score(2, true)];
      assert.ok(wide >= narrow - 1e-12);
      assert.ok(early <= narrow + 1e-12);
      if (early < narrow - 1e-9) earlier += 1;
    }
    assert.ok(earlier > 0, 'early stopping must matter somewhere, or this test shows nothing');
  });
});
