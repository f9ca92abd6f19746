// Texts that are written together, coming and going, are those that each request gets alone.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { liveTensorCount } from '@openplug/torch';
import fc from 'fast-check';
import { Writers, type WrittenToken } from './continuous.js';
import { exact, tokenizer, writer } from './generate.test-support.js';
import { type GenerationSettings, generate } from './index.js';

const cacheBytes = 1e9;

interface Ask {
  prompt: string;
  settings: GenerationSettings;
  /** Step at which it comes. */
  at: number;
}

const asks: Ask[] = [
  { prompt: '春江', settings: { maxLength: 9, seed: 3 }, at: 0 },
  { prompt: '', settings: { maxLength: 20, seed: 4, numCandidates: 3, topK: 5 }, at: 0 },
  { prompt: '海平月共生，潮水連海平月共', settings: { maxLength: 15, temperature: 0 }, at: 2 },
  {
    prompt: '明月',
    settings: { maxLength: 30, seed: 9, refreshTokens: 8, topP: 0.8, repetitionPenalty: 1.2 },
    at: 3,
  },
  { prompt: '江潮', settings: { maxLength: 12, seed: 5, uniqueNgram: 2, minLength: 12 }, at: 7 },
];

function run(asked: readonly Ask[], maxRows: number): Map<Ask, WrittenToken[]> {
  using model = writer();
  using writers = new Writers(model, tokenizer, { maxRows, cacheBytes, forward: exact });
  const tokens = new Map<Ask, WrittenToken[]>();
  const byId = new Map<number, Ask>();
  for (let step = 0; step < 1000; step++) {
    for (const ask of asked)
      if (ask.at === step) {
        byId.set(writers.add(ask).id, ask);
        tokens.set(ask, []);
      }
    for (const token of writers.step()) tokens.get(byId.get(token.request)!)!.push(token);
    assert.ok(writers.numRows <= maxRows);
    if (writers.isIdle && step > Math.max(...asked.map(({ at }) => at))) return tokens;
  }
  throw new Error('the work never ends');
}

async function alone({ prompt, settings }: Ask): Promise<string[]> {
  using model = writer();
  const { texts } = await generate(model, tokenizer, prompt, settings, { forward: exact });
  return texts.map(({ text, finish }) => `${text}|${finish}`);
}

function texts(tokens: readonly WrittenToken[]): string[] {
  const found: string[] = [];
  for (const { candidate, text, finish } of tokens)
    found[candidate] = (found[candidate] ?? '') + text + (finish ? `|${finish}` : '');
  return found;
}

describe('continuous batching', () => {
  for (const maxRows of [1, 2, 3, 16])
    it(`writes what each request gets alone, with ${maxRows} rows`, async () => {
      for (const [ask, tokens] of run(asks, maxRows)) assert.deepEqual(texts(tokens), await alone(ask));
    });

  it('does so for any requests at any time', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            prompt: fc.stringMatching(/^[春江潮水連海]{0,12}$/),
            at: fc.nat(12),
            settings: fc.record({
              seed: fc.nat(1000),
              maxLength: fc.integer({ min: 1, max: 30 }),
              refreshTokens: fc.constantFrom(5, 128),
              numCandidates: fc.integer({ min: 1, max: 3 }),
            }),
          }),
          { minLength: 1, maxLength: 5 },
        ),
        fc.integer({ min: 1, max: 5 }),
        async (asked, maxRows) => {
          for (const [ask, tokens] of run(asked, maxRows)) assert.deepEqual(texts(tokens), await alone(ask));
        },
      ),
      { numRuns: 25 },
    );
  });

  it('begins one text of each request before the second of any', () => {
    using model = writer();
    using writers = new Writers(model, tokenizer, { maxRows: 2, cacheBytes, forward: exact });
    const many = writers.add({ prompt: '', settings: { numCandidates: 50, maxLength: 4, minLength: 4 } }).id;
    const one = writers.add({ prompt: '江', settings: { maxLength: 4 } }).id;
    assert.equal(writers.numWaiting, 51);
    assert.deepEqual(
      writers.step().map(({ request }) => request),
      [many, one],
    );
    assert.equal(writers.numWaiting, 49);
  });

  it('does not let one client with a hundred requests hold up another with one', () => {
    using model = writer();
    using writers = new Writers(model, tokenizer, { maxRows: 4, cacheBytes, forward: exact });
    const settings = { maxLength: 20, minLength: 20 };
    const ofMany = Array.from(
      { length: 100 },
      () => writers.add({ prompt: '', settings, client: 'many' }).id,
    );
    writers.step();
    assert.equal(writers.numRows, 4);
    const one = writers.add({ prompt: '江', settings, client: 'one' }).id;
    assert.ok(writers.step().some(({ request }) => request === one));
    assert.equal(writers.numRows, 5);
    // From here both ask for much: places that become free go to who has fewer texts.
    const added = Array.from({ length: 10 }, () => writers.add({ prompt: '', settings, client: 'one' }).id);
    const ofOne = new Set([one, ...added]);
    for (let steps = 0; steps < 19; steps++) writers.step();
    const next = writers.step();
    assert.equal(next.length, 4);
    assert.equal(next.filter(({ request }) => ofOne.has(request)).length, 2);
    for (const id of ofMany) writers.cancel(id);
    assert.equal(writers.step().length, 4);
    for (const id of ofOne) writers.cancel(id);
    assert.ok(writers.isIdle);
  });

  it('drops a cancelled request at once, and its mates go on unchanged', async () => {
    using model = writer();
    using writers = new Writers(model, tokenizer, { maxRows: 8, cacheBytes, forward: exact });
    const long = { prompt: '春江', settings: { maxLength: 20, minLength: 20, seed: 8 } };
    const dropped = writers.add({
      prompt: '水',
      settings: { maxLength: 20, minLength: 20, numCandidates: 3 },
    }).id;
    const kept = writers.add(long).id;
    const tokens = writers.step();
    writers.cancel(dropped);
    assert.equal(writers.numRows, 1);
    while (!writers.isIdle) tokens.push(...writers.step());
    assert.deepEqual(
      texts(tokens.filter(({ request }) => request === kept)),
      await alone({ ...long, at: 0 }),
    );
  });

  it('gives the alternatives at each place, also when the most probable is taken', () => {
    using model = writer();
    using writers = new Writers(model, tokenizer, { maxRows: 1, cacheBytes, forward: exact });
    for (const temperature of [0, 0.9]) {
      writers.add({ prompt: '江', settings: { temperature, maxLength: 3 }, numAlternatives: 4 });
      for (const { alternatives, tokenId } of writers.step()) {
        assert.equal(alternatives!.length, 4);
        const sorted = alternatives!.map(({ logProbability }) => logProbability);
        assert.deepEqual(
          sorted,
          [...sorted].sort((a, b) => b - a),
        );
        if (temperature === 0) assert.equal(alternatives![0]!.tokenId, tokenId);
      }
      while (!writers.isIdle) writers.step();
    }
  });

  it('keeps within the memory for keys and values, and frees all of it', () => {
    const before = liveTensorCount();
    {
      using model = writer();
      using writers = new Writers(model, tokenizer, { maxRows: 8, cacheBytes: 1, forward: exact });
      for (const client of ['a', 'b'])
        writers.add({ prompt: '江', settings: { maxLength: 5, minLength: 5 }, client });
      for (let steps = 0; steps < 10; steps++) assert.equal(writers.step().length, 1);
      assert.ok(writers.isIdle);
    }
    assert.equal(liveTensorCount(), before);
  });
});
