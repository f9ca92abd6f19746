import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { liveTensorCount } from '@openplug/torch';
import fc from 'fast-check';
import { loadModel } from '../checkpoint/index.js';
import { ConfigError, TokenizerError } from '../errors.js';
import { readReference } from '../parity/reference.js';
import { keyedRandom } from '../random.js';
import { tokenizerFromVocabulary } from '../text/index.js';
import { exact, logSumExp, plainLogits, tokenizer, tokens, writer } from './generate.test-support.js';
import {
  type GeneratedChunk,
  type GenerationSettings,
  generate,
  generateStream,
  type SourceIds,
} from './index.js';

const { special } = tokenizer;
const forbidden = [special.pad, special.unk, special.cls, special.mask];
const withFloat64 = { forward: exact };

async function collect(stream: AsyncIterable<GeneratedChunk>): Promise<GeneratedChunk[]> {
  const chunks: GeneratedChunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

/** The best token that may be written. */
function bestOf(logits: readonly number[], alsoForbidden: readonly number[] = []): number {
  const allowed = tokens.map((_, id) => id).filter((id) => ![...forbidden, ...alsoForbidden].includes(id));
  return allowed.reduce((best, id) => (logits[id]! > logits[best]! ? id : best));
}

describe('generate, against the reference', () => {
  const folder = fileURLToPath(new URL('../../test-data/plug-tiny', import.meta.url));
  const reference = readReference(folder);
  // The fixture's vocabulary has no texts, only ids: the published places of the special tokens are what matters.
  const published = new Map([
    [0, '[PAD]'],
    [100, '[UNK]'],
    [101, '[CLS]'],
    [102, '[SEP]'],
    [103, '[MASK]'],
  ]);
  const names = Array.from({ length: 170 }, (_, id) => published.get(id) ?? `entry${id}`);
  const fixtureTokenizer = tokenizerFromVocabulary(names);
  const { new_tokens: maxLength } = reference.expected.greedy;

  const cases = (['final_norm_once', 'final_norm_twice'] as const).flatMap((variant) =>
    ([undefined, 'float32'] as const).map((precision) => ({ variant, precision })),
  );
  for (const { variant, precision } of cases) {
    const kind = `${variant.replaceAll('_', ' ')}${precision ? `, weights packed as ${precision}` : ''}`;
    it(`writes the greedy ids with the ${kind}, in one batch and alone`, async () => {
      const changes = { doubleFinalNorm: variant === 'final_norm_twice' };
      using model = loadModel(folder, { changes, precision });
      const prompts: SourceIds[] = reference.sourceTexts.map(({ ids, tokenTypeIds }) => ({
        ids,
        tokenTypeIds,
      }));
      const settings = { temperature: 0, maxLength, minLength: maxLength };
      const wanted = reference.expected[variant].greedy_ids.map((ids) => ids.slice(1));
      const together = await generate(model, fixtureTokenizer, prompts, settings);
      assert.deepEqual(
        together.map(({ texts }) => texts[0]!.tokenIds),
        wanted,
      );
      for (const [row, prompt] of prompts.entries()) {
        const alone = await generate(model, fixtureTokenizer, prompt, settings);
        assert.deepEqual(alone.texts[0]!.tokenIds, wanted[row]);
      }
    });
  }
});

describe('generate', () => {
  it('writes greedily what recomputing everything at each step gives, with its log-probabilities', async () => {
    let ended = 0;
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      using model = writer(seed);
      const source = [special.cls, ...tokenizer.encode('春江 poems'), special.sep];
      const target = [special.cls];
      let logProbability = 0;
      while (target.length <= 20 && target.at(-1) !== special.sep) {
        const logits = plainLogits(model, source, target);
        target.push(bestOf(logits, target.length - 1 < 3 ? [special.sep] : []));
        // The reference's softmax has the padding rows of the vocabulary in it.
        logProbability += logits[target.at(-1)!]! - logSumExp(logits);
      }
      const settings = { temperature: 0, maxLength: 20, minLength: 3 };
      const { texts } = await generate(model, tokenizer, '春江 poems', settings, withFloat64);
      const [text] = texts as [(typeof texts)[0]];
      const hasEnd = target.at(-1) === special.sep;
      ended += hasEnd ? 1 : 0;
      assert.deepEqual(text.tokenIds, target.slice(1, hasEnd ? -1 : undefined));
      assert.equal(text.finish, hasEnd ? 'end' : 'length');
      assert.equal(text.text, tokenizer.decode(text.tokenIds));
      assert.ok(Math.abs(text.logProbability - logProbability) < 1e-9);
    }
    assert.ok(ended > 0 && ended < 6, `both ways to finish must occur, ${ended} of 6 ended`);
  });

  it('gives a row of a batch what it gives to that prompt alone with that seed', async () => {
    using model = writer();
    const prompt = fc.array(fc.constantFrom(...'春江潮水連海平月共生𠮷，。'), { maxLength: 20 });
    const settings = fc.record({
      maxLength: fc.constantFrom(1, 7, 20),
      temperature: fc.constantFrom(0.5, 1, 3),
      topK: fc.constantFrom(0, 5, 20),
      topP: fc.constantFrom(0.7, 1),
      repetitionPenalty: fc.constantFrom(1, 1.5),
      uniqueNgram: fc.constantFrom(0, 2),
      seed: fc.integer({ min: 0, max: 0xffff_ffff }),
      refreshTokens: fc.constantFrom(5, 128),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(prompt, { minLength: 1, maxLength: 4 }), settings, async (given, chosen) => {
        const prompts = given.map((characters) => characters.join(''));
        const together = await generate(
          model,
          tokenizer,
          prompts,
          { ...chosen, numCandidates: 2 },
          withFloat64,
        );
        for (const [row, { texts }] of together.entries()) {
          for (const [candidate, { seed, tokenIds, finish }] of texts.entries()) {
            assert.equal(seed, (chosen.seed + 2 * row + candidate) % 2 ** 32);
            const settings = { ...chosen, seed: seed! };
            const alone = await generate(model, tokenizer, prompts[row]!, settings, withFloat64);
            assert.deepEqual(alone.texts[0]!.tokenIds, tokenIds);
            assert.equal(alone.texts[0]!.finish, finish);
          }
        }
      }),
      { numRuns: 25 },
    );
  });

  it('repeats a text by its seed, and writes others with other seeds', async () => {
    using model = writer();
    const write = (seed: number) =>
      generate(model, tokenizer, '春', { seed, topK: 0, temperature: 2, maxLength: 20 });
    const first = await write(5);
    assert.deepEqual(await write(5), first);
    const others = await Promise.all([6, 7, 8, 9].map(write));
    const distinct = new Set([first, ...others].map(({ texts }) => texts[0]!.tokenIds.join()));
    assert.equal(distinct.size, 5);
  });

  it('draws token i with the random number of the seed and i alone', async () => {
    using model = writer(4);
    // So hot that all tokens are as good as equally probable: the random number alone decides the rank.
    const settings = { seed: 77, temperature: 1e6, topK: 0, minLength: 20, maxLength: 20 };
    const { texts } = await generate(model, tokenizer, '春', settings, withFloat64);
    const source = [special.cls, ...tokenizer.encode('春'), special.sep];
    const ranks = texts[0]!.tokenIds.map((id, step, ids) => {
      const logits = plainLogits(model, source, [special.cls, ...ids.slice(0, step)]);
      const better = (other: number) =>
        logits[other]! > logits[id]! && ![...forbidden, special.sep].includes(other);
      return tokens.filter((_, other) => better(other)).length;
    });
    const numAllowed = tokens.length - 5;
    assert.deepEqual(
      ranks,
      ranks.map((_, step) => Math.floor(keyedRandom(77, step).uniform() * numAllowed)),
    );
  });

  it('draws first tokens with the model’s own probabilities, cut to top-k', async () => {
    using model = writer(3);
    const temperature = 1.5;
    const topK = 6;
    const settings = { temperature, topK, maxLength: 1, numCandidates: 1000 };
    const counts = new Map<number, number>();
    for (const seed of [1, 1001, 2001, 3001]) {
      const { texts } = await generate(model, tokenizer, '春江', { ...settings, seed }, withFloat64);
      for (const { tokenIds } of texts)
        counts.set(tokenIds[0] ?? special.sep, (counts.get(tokenIds[0] ?? special.sep) ?? 0) + 1);
    }
    const logits = plainLogits(model, [special.cls, ...tokenizer.encode('春江'), special.sep], [special.cls]);
    const top = tokens
      .map((_, id) => id)
      .filter((id) => !forbidden.includes(id))
      .sort((a, b) => logits[b]! - logits[a]!)
      .slice(0, topK);
    const scaled = top.map((id) => logits[id]! / temperature);
    const total = logSumExp(scaled);
    assert.deepEqual(
      [...counts.keys()].filter((id) => !top.includes(id)),
      [],
    );
    // Four standard errors for each of six frequencies: a false alarm in 1 of 2,600 sets of seeds; these are fixed.
    for (const [rank, id] of top.entries()) {
      const p = Math.exp(scaled[rank]! - total);
      const tolerance = 4 * Math.sqrt((p * (1 - p)) / 4000);
      assert.ok(
        Math.abs((counts.get(id) ?? 0) / 4000 - p) < tolerance,
        `token ${id}: ${counts.get(id)} of 4000, p ${p}`,
      );
    }
  });

  it('never writes special or padding tokens, and no end before its time', async () => {
    using model = writer(2);
    const settings = { topK: 0, temperature: 50, minLength: 9, maxLength: 20, numCandidates: 300 };
    const { texts } = await generate(model, tokenizer, '', settings);
    const seen = new Set(texts.flatMap(({ tokenIds }) => tokenIds));
    assert.deepEqual(
      [...seen].filter((id) => forbidden.includes(id) || id === special.sep || id >= tokens.length),
      [],
    );
    assert.equal(seen.size, tokens.length - 5, 'at this temperature all others occur');
    const lengths = texts.filter(({ finish }) => finish === 'end').map(({ tokenIds }) => tokenIds.length);
    assert.equal(Math.min(...lengths), 9);
    assert.ok(texts.some(({ finish, tokenIds }) => finish === 'length' && tokenIds.length === 20));
  });

  it('writes no n-gram twice when told so, down to single tokens', async () => {
    using model = writer(4);
    for (const uniqueNgram of [1, 2, 3]) {
      const settings = { uniqueNgram, temperature: 0.3, minLength: 20, maxLength: 20, numCandidates: 8 };
      const { texts } = await generate(model, tokenizer, '春', settings);
      for (const { tokenIds } of texts) {
        const ngrams = tokenIds
          .slice(uniqueNgram - 1)
          .map((_, at) => tokenIds.slice(at, at + uniqueNgram).join());
        assert.equal(new Set(ngrams).size, ngrams.length, `${tokenIds}`);
      }
    }
  });
});

describe('the moving window', () => {
  it('re-encodes as a plain loop does: source + written text, oldest dropped, decoder from [CLS]', async () => {
    using model = writer(5);
    const windowTokens = 9;
    const refreshTokens = 4;
    const body = [...tokenizer.encode('春江潮水連')];
    const written: number[] = [];
    while (written.length < 22) {
      const start = written.length - (written.length % refreshTokens);
      const source = [...body, ...written.slice(0, start)].slice(-(windowTokens - 2));
      const target = [special.cls, ...written.slice(start)];
      const logits = plainLogits(model, [special.cls, ...source, special.sep], target);
      written.push(bestOf(logits, [special.sep, ...written]));
    }
    // Each token once, as a random model would otherwise write the same one all along.
    const lengths = { maxLength: 22, longTextMinRatio: 1, minLength: 22 };
    const settings = { temperature: 0, uniqueNgram: 1, ...lengths, windowTokens, refreshTokens };
    const { texts } = await generate(model, tokenizer, '春江潮水連', settings, withFloat64);
    assert.deepEqual(texts[0]!.tokenIds, written);
    const onePass = await generate(
      model,
      tokenizer,
      '春江潮水連',
      { ...settings, refreshTokens: 0 },
      withFloat64,
    );
    assert.notDeepEqual(onePass.texts[0]!.tokenIds, written);
  });

  it('goes on past the model’s positions, says what it adapted, and ends after 80 % only', async () => {
    using model = writer(6);
    const settings = { maxLength: 100, temperature: 3, topK: 0, numCandidates: 40 };
    const generation = await generate(model, tokenizer, '春江', settings);
    assert.match(
      generation.notes[0]!,
      /24 positions: the source is re-encoded after every 24 tokens instead of 128/,
    );
    assert.match(generation.notes[1]!, /24 positions: the encoder sees 24 tokens instead of 512/);
    const lengths = generation.texts
      .filter(({ finish }) => finish === 'end')
      .map(({ tokenIds }) => tokenIds.length);
    assert.ok(lengths.length > 0 && lengths.every((length) => length >= 80), `${lengths}`);
    assert.deepEqual(await generate(model, tokenizer, '春江', settings), generation);
  });

  it('keeps the end of a prompt that is longer than the window, and says so', async () => {
    using model = writer();
    const settings = { temperature: 0, maxLength: 10, windowTokens: 12 };
    const long = await generate(model, tokenizer, `${'月'.repeat(30)}春江潮水連海平共生，`, settings);
    assert.match(long.notes[0]!, /40 tokens, the window holds 10: only its last 10/);
    const end = await generate(model, tokenizer, '春江潮水連海平共生，', settings);
    assert.deepEqual(end.notes, []);
    assert.deepEqual(long.texts, end.texts);
  });

  it('refuses a length beyond the positions where the window may not move', async () => {
    using model = writer();
    const refusal = (settings: GenerationSettings, message: RegExp) =>
      assert.rejects(generate(model, tokenizer, '', settings), (error) => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, message);
        return true;
      });
    await refusal(
      { maxLength: 25, refreshTokens: 0 },
      /maxLength is 25.*24 positions and refreshTokens is 0/,
    );
    await refusal({ maxLength: 25, beams: 2 }, /beam search does not re-encode.*at most 24/);
  });
});

describe('generateStream', () => {
  it('gives the texts of generate in pieces', async () => {
    using model = writer(7);
    for (const settings of [
      { topK: 0, temperature: 4, maxLength: 40 },
      { beams: 3, maxLength: 12 },
    ]) {
      const full = { ...settings, numCandidates: 3, seed: 11 };
      const prompts = ['春江潮水', '', 'to sing'];
      const whole = await generate(model, tokenizer, prompts, full);
      const chunks = await collect(generateStream(model, tokenizer, prompts, full));
      for (const [prompt, { texts }] of whole.entries()) {
        for (const [candidate, text] of texts.entries()) {
          const own = chunks.filter((chunk) => chunk.prompt === prompt && chunk.candidate === candidate);
          assert.equal(own.map((chunk) => chunk.text).join(''), text.text);
          assert.deepEqual(
            own.map(({ tokenId }) => tokenId).filter((id) => id !== special.sep),
            text.tokenIds,
          );
          assert.deepEqual(
            own.flatMap(({ finish }) => finish ?? []),
            [text.finish],
          );
          assert.equal(own.at(-1)!.finish, text.finish);
          const sum = own.reduce((total, { logProbability }) => total + logProbability, 0);
          assert.ok(Math.abs(sum - text.logProbability) < 1e-9);
        }
      }
    }
  });

  it('lets the event loop run between tokens', async () => {
    using model = writer();
    let turns = 0;
    let isOver = false;
    const count = (): void => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    await generate(model, tokenizer, '春', { maxLength: 20, minLength: 20 });
    isOver = true;
    assert.ok(turns >= 20, `${turns} turns during 20 tokens`);
  });

  it('frees everything when aborted, at once', async () => {
    using model = writer();
    const before = liveTensorCount();
    const controller = new AbortController();
    const settings = { maxLength: 1000, longTextMinRatio: 1 };
    const stream = generateStream(model, tokenizer, '春', settings, { signal: controller.signal });
    for (let token = 0; token < 3; token++) await stream.next();
    assert.ok(liveTensorCount() > before, 'the caches are alive');
    controller.abort();
    assert.equal(liveTensorCount(), before);
    await assert.rejects(stream.next(), { name: 'AbortError' });
    assert.equal((await stream.next()).done, true);
  });

  it('stops in the middle of generate and of beam search', async () => {
    using model = writer();
    const before = liveTensorCount();
    for (const settings of [
      { maxLength: 100_000, longTextMinRatio: 1 },
      { beams: 4, minLength: 24, maxLength: 24 },
    ]) {
      const controller = new AbortController();
      setImmediate(() => setImmediate(() => controller.abort()));
      const job = generate(model, tokenizer, '春', settings, { signal: controller.signal });
      await assert.rejects(job, { name: 'AbortError' });
      assert.equal(liveTensorCount(), before);
      await assert.rejects(generate(model, tokenizer, '春', settings, { signal: AbortSignal.abort() }), {
        name: 'AbortError',
      });
    }
  });

  it('leaves no tensor behind: done, left early, or failed', async () => {
    using model = writer();
    const before = liveTensorCount();
    await generate(model, tokenizer, ['春', '江潮水'], { maxLength: 50, numCandidates: 3 });
    assert.equal(liveTensorCount(), before);
    await generate(model, tokenizer, ['春', '江潮水'], { maxLength: 20, beams: 4 });
    assert.equal(liveTensorCount(), before);
    for await (const _ of generateStream(model, tokenizer, '春', { maxLength: 50, minLength: 50 })) break;
    assert.equal(liveTensorCount(), before);
    await assert.rejects(generate(model, tokenizer, { ids: [2, 99, 3] }));
    assert.equal(liveTensorCount(), before);
  });
});

describe('bad input to generate', () => {
  it('is explained', async () => {
    using model = writer();
    const cases: [unknown, GenerationSettings & Record<string, unknown>, new (m: string) => Error, RegExp][] =
      [
        [{ ids: [2, 33, 3] }, {}, TokenizerError, /Token id 33 at position 1 .*outside 0 to 32/],
        [{ ids: [2, -1, 3] }, {}, TokenizerError, /Token id -1/],
        [{ ids: [2, 3], tokenTypeIds: [0, 3] }, {}, TokenizerError, /Token type 3 at position 1/],
        [{ ids: [2, 3], tokenTypeIds: [0] }, {}, ConfigError, /2 token ids but 1 token types/],
        [{ ids: new Array(25).fill(5) }, {}, ConfigError, /1 to 24 of them, got 25/],
        ['', { topk: 3 }, ConfigError, /Unrecognized key: "topk"/],
        ['', { topP: 0 }, ConfigError, /topP/],
        ['', { minLength: 9, maxLength: 8 }, ConfigError, /minLength \(9\) is more than maxLength \(8\)/],
        ['', { temperature: 0, numCandidates: 2 }, ConfigError, /temperature 0 writes the same text/],
        ['', { beams: 2, numCandidates: 3 }, ConfigError, /numCandidates \(3\) is more than beams \(2\)/],
      ];
    for (const [prompt, settings, kind, message] of cases)
      await assert.rejects(generate(model, tokenizer, prompt as SourceIds, settings), (error) => {
        assert.ok(error instanceof kind, `${error}`);
        assert.match(error.message, message);
        return true;
      });
  });

  it('includes a tokenizer of another model, and a model without a decoder', async () => {
    using model = writer();
    const other = tokenizerFromVocabulary(tokens.slice(0, -1));
    await assert.rejects(generate(model, other, ''), /32 entries, the model was made for 33/);
    using encoder = writer(1, { decHiddenLayers: 0 });
    await assert.rejects(generate(encoder, tokenizer, ''), /encoder alone/);
  });

  it('takes empty prompts, no prompts, and unknown characters, which it counts', async () => {
    using model = writer();
    assert.deepEqual(await generate(model, tokenizer, []), []);
    assert.deepEqual(await generate(model, tokenizer, [], { beams: 2, maxLength: 9 }), []);
    const notes: [string, number | undefined][] = [];
    const onNote = (note: string, prompt?: number) => notes.push([note, prompt]);
    const [empty, unknown] = await generate(model, tokenizer, ['', '春鑫江😀'], { maxLength: 9 }, { onNote });
    assert.deepEqual(empty!.notes, []);
    assert.match(unknown!.notes[0]!, /not in the vocabulary: 2;/);
    assert.deepEqual(notes, [[unknown!.notes[0], 1]]);
  });
});
