// The command: it says where it listens, finishes what has begun when it is stopped, and explains what it cannot do.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import OpenAI from 'openai';
import { temporaryFolder, writeTestModel } from '../finetune/finetune.test-support.js';
import { plug } from './program.test-support.js';

const folder = temporaryFolder();
const model = writeTestModel(folder, { maxPositionEmbeddings: 48 });
const alive = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;

describe('plug serve', () => {
  it('ends in order at SIGTERM: an answer that has begun is finished, and no process is left', async () => {
    let answer: Promise<string> | undefined;
    const parameters = ['serve', '--model', `poems=${model}`, '--port', '0', '--threads', '1'];
    const { status, stderr } = await plug(parameters, (text, child) => {
      const url = /Serving poems on (\S+)/.exec(text)?.[1];
      if (!url || answer) return;
      answer = (async () => {
        const response = await fetch(`${url}/v1/generate`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ prompt: '春', maxLength: 400, minLength: 400, stream: true }),
        });
        const reader = response.body!.getReader();
        let whole = Buffer.from((await reader.read()).value!).toString();
        child.kill('SIGTERM');
        for (;;) {
          const { value, done } = await reader.read();
          if (done) return whole;
          whole += Buffer.from(value).toString();
        }
      })();
    });
    assert.equal(status, 0, stderr);
    const events = (await answer!).split('\n\n').filter(Boolean);
    assert.equal(events.at(-1), 'data: [DONE]');
    assert.match(events.at(-2)!, /"writtenTokens":400/);
    assert.match(stderr, /Stopping/);
  });

  it('serves the model that comes along when none is named, to OpenAI’s client too', async () => {
    let asked: Promise<void> | undefined;
    const { status, stderr } = await plug(['serve', '--port', '0', '--threads', '1'], (text, child) => {
      const url = /Serving poetry on (\S+)/.exec(text)?.[1];
      if (!url || asked) return;
      asked = askForPoems(url).finally(() => child.kill('SIGTERM'));
    });
    assert.equal(status, 0, stderr);
    await asked;
  });

  async function askForPoems(url: string): Promise<void> {
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none' });
    for (const prompt of ['白日依山盡，', '白日依山尽，']) {
      const poem = { model: 'poetry', prompt, temperature: 0 };
      const { choices } = await client.completions.create(poem);
      // It ends by itself, with a couplet: 黃河入海流。
      assert.equal(choices[0]!.finish_reason, 'stop');
      assert.match(choices[0]!.text, /^[\p{Script=Han}，。！？；、]+[。！？]$/u);
      let streamed = '';
      for await (const piece of await client.completions.create({ ...poem, stream: true }))
        streamed += piece.choices[0]?.text ?? '';
      assert.equal(streamed, choices[0]!.text);
    }
    const { data } = await client.embeddings.create({ model: 'poetry', input: ['春江', '秋月'] });
    assert.equal(data.length, 2);
  }

  it('takes its models along when it is killed', async () => {
    const program = join(import.meta.dirname, '../../bin/plug.js');
    const child = spawn(process.execPath, [program, 'serve', '--model', model, '--port', '0'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    for await (const piece of child.stderr.setEncoding('utf8')) {
      stderr += piece as string;
      if (stderr.includes('Serving')) break;
    }
    assert.ok(alive(child));
    child.kill('SIGKILL');
    // Its model inherits stdout: that ends when both have.
    await once(child.stdout.resume(), 'close');
  });

  it('makes tokens that it then wants', async () => {
    const file = join(folder, 'tokens.txt');
    const { stdout, status } = await plug(['serve', '--new-token', 'alice', '--token-file', file]);
    assert.equal(status, 0);
    assert.match(stdout, /^plug-[\w-]{43}\n$/);
  });

  it('warns when everyone may ask', async () => {
    const parameters = ['serve', '--model', model, '--host', '0.0.0.0', '--port', '0'];
    const { stderr } = await plug(parameters, (text, child) => {
      if (text.includes('Serving')) child.kill('SIGINT');
    });
    assert.match(stderr, /WARNING: 0\.0\.0\.0 is reachable/);
  });

  it('says what is wrong', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const port = String((taken.address() as AddressInfo).port);
    for (const [parameters, message] of [
      [['--model', join(folder, 'nothing')], /nothing/],
      [['--model', model, `x=${model}`, '--model', model], /Two models have the name/],
      [['--model', model, '--port', port], /is taken/],
      [['--model', model, '--memory-mb', '1'], /takes \d+ MiB in float32.*--memory-mb is 1\./],
      [['--model', model, '--token-file', join(folder, 'none')], /--new-token NAME/],
      [['--new-token', 'alice'], /wants --token-file/],
    ] as const) {
      const { status, stderr } = await plug(['serve', ...parameters]);
      assert.equal(status, 2, stderr);
      assert.match(stderr, message);
    }
    taken.close();
  });
});
