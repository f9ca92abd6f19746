// The API through real HTTP, with OpenAI's own client and with fetch: answers are those of the direct calls.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import OpenAI from 'openai';
import { loadModel } from '../checkpoint/index.js';
import {
  springExamples,
  springTask,
  temporaryFolder,
  writeTestModel,
} from '../finetune/finetune.test-support.js';
import { finetune, loadClassifier } from '../finetune/index.js';
import { type GenerationSettings, generate } from '../generate/index.js';
import { embed, labeller } from '../pipeline/index.js';
import { loadTokenizer } from '../text/index.js';
import { eventsOf, startServer, type TestServer, until } from './serve.test-support.js';

const folder = temporaryFolder();
const modelFolder = writeTestModel(folder, { maxPositionEmbeddings: 48 });
const texts = springExamples(3, 8).map(({ text }) => text);
const server = await startServer({ folder: modelFolder });
const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
const model = loadModel(modelFolder, { precision: 'float32' });
const tokenizer = loadTokenizer(modelFolder);

async function direct(prompt: string, settings: GenerationSettings): Promise<string[]> {
  return (await generate(model, tokenizer, prompt, settings)).texts.map(({ text }) => text);
}

interface Generated {
  seed: number;
  notes: string[];
  texts: { text: string; finish: string; tokens?: { text: string; alternatives: object[] }[] }[];
  usage: { promptTokens: number; writtenTokens: number };
}

describe('OpenAI’s client', () => {
  it('completes, with a seed the text of the direct call', async () => {
    const answer = await client.completions.create({
      model: 'spring',
      prompt: texts.slice(0, 2),
      max_tokens: 12,
      n: 2,
      seed: 5,
    });
    const [first, second] = [
      await direct(texts[0]!, { maxLength: 12, numCandidates: 2, seed: 5 }),
      await direct(texts[1]!, { maxLength: 12, numCandidates: 2, seed: 7 }),
    ];
    assert.deepEqual(
      answer.choices.map(({ text }) => text),
      [...first, ...second],
    );
    assert.deepEqual(
      answer.choices.map(({ index }) => index),
      [0, 1, 2, 3],
    );
    assert.ok(answer.choices.every(({ finish_reason: reason }) => reason === 'stop' || reason === 'length'));
    const { prompt_tokens: prompt, completion_tokens: written, total_tokens: total } = answer.usage!;
    assert.equal(total, prompt + written);
    assert.ok(prompt > texts[0]!.length && written <= 48);
  });

  it('streams what it completes', async () => {
    const request = { model: 'spring', prompt: texts[2]!, max_tokens: 20, seed: 9, n: 2 } as const;
    const whole = await client.completions.create(request);
    const streamed = ['', ''];
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of await client.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    })) {
      for (const { index, text } of chunk.choices) streamed[index] += text;
      usage = chunk.usage ?? usage;
    }
    assert.deepEqual(
      streamed,
      whole.choices.map(({ text }) => text),
    );
    assert.deepEqual(usage, whole.usage);
  });

  it('talks: one message is its own prompt, several are a talk', async () => {
    const settings = { maxLength: 8, temperature: 0 };
    const request = { model: 'spring', temperature: 0, max_completion_tokens: 8 };
    const one = await client.chat.completions.create({
      ...request,
      messages: [{ role: 'user', content: texts[0]! }],
    });
    assert.equal(one.choices[0]!.message.content, (await direct(texts[0]!, settings))[0]);
    const talk = await client.chat.completions.create({
      ...request,
      messages: [
        { role: 'system', content: '写诗' },
        { role: 'user', content: '春' },
        { role: 'assistant', content: '江' },
        { role: 'user', content: '月' },
      ],
    });
    assert.equal(
      talk.choices[0]!.message.content,
      (await direct('写诗\n问：春\n答：江\n问：月\n答：', settings))[0],
    );
    let streamed = '';
    const messages = [{ role: 'user' as const, content: texts[0]! }];
    for await (const { choices } of await client.chat.completions.create({
      ...request,
      messages,
      stream: true,
    }))
      streamed += choices[0]?.delta.content ?? '';
    assert.equal(streamed, one.choices[0]!.message.content);
  });

  it('embeds, as base64 by itself and as numbers', async () => {
    const expected = embed(model, tokenizer, texts, {}).vectors.map((vector) => Array.from(vector));
    for (const encoding of [undefined, 'float'] as const) {
      const { data } = await client.embeddings.create({
        model: 'spring',
        input: texts,
        ...(encoding && { encoding_format: encoding }),
      });
      for (const [index, { embedding }] of data.entries())
        for (const [at, value] of embedding.entries())
          assert.ok(Math.abs(value - expected[index]![at]!) < 1e-6, `${value}`);
    }
  });

  it('lists models, and is told of one that is not there', async () => {
    const { data } = await client.models.list();
    assert.deepEqual(
      data.map(({ id }) => id),
      ['spring'],
    );
    await assert.rejects(client.completions.create({ model: 'autumn', prompt: '' }), {
      status: 404,
      code: 'model_not_found',
      param: 'model',
    });
  });

  it('gets log-probabilities and stops at strings', async () => {
    const request = { model: 'spring', prompt: texts[0]!, max_tokens: 20, seed: 3 };
    const whole = await client.completions.create({ ...request, logprobs: 3 });
    const { tokens, token_logprobs: values, top_logprobs: tops } = whole.choices[0]!.logprobs!;
    assert.equal(tokens!.join(''), whole.choices[0]!.text);
    assert.ok(values!.every((value) => value <= 0));
    assert.ok(tops!.every((top) => Object.keys(top).length <= 3));
    const { text } = whole.choices[0]!;
    const stop = text.slice(4, 6);
    const cut = await client.completions.create({ ...request, stop: [stop, 'never'] });
    assert.equal(cut.choices[0]!.text, text.slice(0, text.indexOf(stop)));
    assert.equal(cut.choices[0]!.finish_reason, 'stop');
    const echoed = await client.completions.create({ ...request, echo: true });
    assert.equal(echoed.choices[0]!.text, texts[0]! + text);
  });
});

describe('/v1/generate', () => {
  it('writes candidates of any length, the same in a crowd as alone, streamed or whole', async () => {
    const asked = texts.map((prompt, index) => ({
      prompt,
      maxLength: 10 + 15 * index,
      refreshTokens: 16,
      seed: index,
      numCandidates: 1 + (index % 3),
    }));
    const answers = await Promise.all(
      asked.map(async (body) => (await (await server.post('/v1/generate', body)).json()) as Generated),
    );
    for (const [index, { prompt, ...settings }] of asked.entries())
      assert.deepEqual(
        answers[index]!.texts.map(({ text }) => text),
        await direct(prompt, settings),
      );
    const events = await eventsOf(await server.post('/v1/generate', { ...asked[5], stream: true }));
    const streamed: string[] = [];
    for (const { candidate, text } of events as { candidate?: number; text: string }[])
      if (candidate !== undefined) streamed[candidate] = (streamed[candidate] ?? '') + text;
    assert.deepEqual(
      streamed,
      answers[5]!.texts.map(({ text }) => text),
    );
    assert.deepEqual(events.at(-1), { usage: answers[5]!.usage });
  });

  it('tells the seed that it took by chance, and the alternatives', async () => {
    const body = { prompt: texts[0], maxLength: 6, alternatives: 4 };
    const first = (await (await server.post('/v1/generate', body)).json()) as Generated;
    const again = (await (
      await server.post('/v1/generate', { ...body, seed: first.seed })
    ).json()) as Generated;
    assert.deepEqual(again, first);
    for (const { alternatives } of first.texts[0]!.tokens!) assert.equal(alternatives.length, 4);
    assert.equal(first.texts[0]!.tokens!.map(({ text }) => text).join(''), first.texts[0]!.text);
  });

  it('leaves the batch when the client goes away', async () => {
    const stop = new AbortController();
    const body = { prompt: '', maxLength: 4000, minLength: 4000, stream: true };
    const response = await server.post('/v1/generate', body, { signal: stop.signal });
    const reader = response.body!.getReader();
    await reader.read();
    assert.equal(server.model.numCalls, 1);
    stop.abort();
    await until(() => server.model.numCalls === 0);
    await server.post('/v1/generate', { prompt: '', maxLength: 1 });
    assert.equal(server.model.load.rows, 0);
  });

  it('does not let one who does not read keep others waiting', async () => {
    const stop = new AbortController();
    const body = { prompt: '', maxLength: 4000, minLength: 4000, alternatives: 20, topK: 20, stream: true };
    const unread = await server.post('/v1/generate', body, { signal: stop.signal });
    const answers = await Promise.all(
      texts.map((prompt) => server.post('/v1/generate', { prompt, maxLength: 10 })),
    );
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    assert.equal(unread.status, 200); // held until here: a response that nobody holds is collected, and hung up
    stop.abort();
    await until(() => server.model.numCalls === 0);
  });
});

it('/v1/score labels as the direct call does', async () => {
  const labels = ['春', '江月', '水'];
  const answer = await server.post('/v1/score', { input: texts, labels, before: '：' });
  const { data } = (await answer.json()) as { data: { labels: { label: string; probability: number }[] }[] };
  const expected = labeller(model, tokenizer, { labels, before: '：' })(texts);
  for (const [index, { labels: got }] of data.entries()) {
    assert.deepEqual(
      got.map(({ label }) => label),
      expected[index]!.labels.map(({ label }) => label),
    );
    for (const [at, { probability }] of got.entries())
      assert.ok(Math.abs(probability - expected[index]!.labels[at]!.probability) < 1e-5);
  }
});

it('/v1/classify gives what the classifier predicts, and tells who cannot', async () => {
  const out = join(folder, 'tuned');
  const settings = { maxSteps: 4, tokensPerBatch: 256, maxLength: 32, threads: 1, dtype: 'float32' } as const;
  await finetune(springTask, { train: springExamples(1, 16) }, { ...settings, model: modelFolder, out });
  const tuned = await startServer({ folder: out });
  const answer = await tuned.post('/v1/classify', { input: texts });
  const { data } = (await answer.json()) as { data: { labels: { label: string; probability: number }[] }[] };
  const classifier = loadClassifier(out);
  const expected = classifier.predict(texts.map((text) => ({ text })));
  for (const [index, { labels }] of data.entries())
    for (const { label, probability } of labels)
      assert.ok(
        Math.abs(probability - expected[index]!.probabilities[springTask.labels.indexOf(label)]!) < 1e-5,
      );
  const refusal = async (from: TestServer, path: string, body: object, message: RegExp): Promise<void> => {
    const response = await from.post(path, body);
    assert.equal(response.status, 400);
    assert.match(await response.text(), message);
  };
  await refusal(server, '/v1/classify', { input: '春' }, /no classifier/);
  await refusal(tuned, '/v1/classify', { input: { text: '春', textPair: '江' } }, /single texts/);
  await refusal(tuned, '/v1/generate', { prompt: '春' }, /writes no text/);
});

it('the OpenAPI document and the metrics tell of every route', async () => {
  const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
    paths: Record<string, { post?: { requestBody: unknown } }>;
  };
  for (const path of ['completions', 'chat/completions', 'embeddings', 'generate', 'score', 'classify'])
    assert.ok(document.paths[`/v1/${path}`]?.post?.requestBody, path);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert.match(metrics, /plug_requests_total\{route="\/v1\/generate",status="200"\} [1-9]/);
  assert.match(metrics, /plug_first_token_seconds_count\{model="spring"\} [1-9]/);
  assert.match(metrics, /plug_model_ready\{model="spring"\} 1/);
});
