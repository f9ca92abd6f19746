// A pre-training that is killed (SIGKILL) at random steps, and continued each time, ends with the same bits as one
// that never stopped: weights, optimiser state and metrics, in both stages.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { writeTokenCorpus } from '../corpus/index.js';
import { keyedRandom } from '../random.js';
import { tokenizerFromVocabulary } from '../text/index.js';
import { RunFolder } from '../train/index.js';

const program = fileURLToPath(new URL('../../bin/plug.js', import.meta.url));
const parent = mkdtempSync(join(tmpdir(), 'plug-kill-'));
after(() => rmSync(parent, { recursive: true, force: true }));
const [corpus, tokenizer] = [join(parent, 'corpus'), join(parent, 'tokenizer')];
const totalSteps = 60;

before(() => {
  const characters = Array.from({ length: 60 }, (_, index) => String.fromCodePoint(0x4e00 + index));
  const random = keyedRandom(5);
  const sentence = (): string =>
    `${Array.from({ length: random.integer(5, 9) }, () => characters[random.integer(0, 59)]).join('')}。`;
  const documents = Array.from({ length: 40 }, (_, index) => ({
    id: `document ${index}`,
    source: 'test',
    sentences: Array.from({ length: 20 }, sentence),
  }));
  const vocabulary = tokenizerFromVocabulary([
    '[PAD]',
    '[UNK]',
    '[CLS]',
    '[SEP]',
    '[MASK]',
    '。',
    ...characters,
  ]);
  vocabulary.save(tokenizer);
  writeTokenCorpus(corpus, documents, vocabulary, { heldOutFraction: 0.1 });
});

function start(out: string, flags: readonly string[]): ChildProcess {
  const common = [
    '--corpus',
    corpus,
    '--tokenizer',
    tokenizer,
    '--out',
    out,
    '--size',
    'nano',
    '--threads',
    '1',
  ];
  const run = [
    '--total-steps',
    `${totalSteps}`,
    '--save-every',
    '7',
    '--evaluate-every',
    '20',
    '--evaluation-batches',
    '2',
  ];
  const shape = [
    '--tokens-per-batch',
    '256',
    '--accumulation-steps',
    '2',
    '--max-length',
    '48',
    '--learning-rate',
    '1e-3',
  ];
  return spawn(process.execPath, [program, 'pretrain', ...common, ...run, ...shape, ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

/** Exit code and signal of a child, with its messages. */
async function ended(child: ChildProcess): Promise<{ code: number | null; messages: string }> {
  let messages = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    messages += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, messages };
}

/** Trains to the end. */
async function undisturbed(out: string, flags: readonly string[]): Promise<void> {
  const { code, messages } = await ended(start(out, flags));
  assert.equal(code, 0, messages);
}

/** Trains to the end, killed as soon as each of these numbers of metrics lines is there. Returns the kills that hit. */
async function killedAt(lines: readonly number[], out: string, flags: readonly string[]): Promise<number> {
  let kills = 0;
  for (const line of lines) {
    const child = start(out, flags);
    const end = ended(child);
    let running = true;
    void end.then(() => {
      running = false;
    });
    const metrics = join(out, 'metrics.jsonl');
    const count = (): number =>
      existsSync(metrics) ? readFileSync(metrics, 'utf8').split('\n').length - 1 : 0;
    while (running && count() < line) await sleep(1);
    if (running) {
      child.kill('SIGKILL');
      kills++;
    }
    await end;
  }
  await undisturbed(out, flags);
  return kills;
}

function assertSameRun(one: string, other: string): void {
  const bytes = (folder: string, name: string): Buffer => readFileSync(join(folder, name));
  const lastCheckpoint = (run: string): string => {
    const folder = new RunFolder(run);
    return folder.checkpointPath(folder.checkpointSteps()[0]!);
  };
  const [first, second] = [lastCheckpoint(one), lastCheckpoint(other)];
  assert.deepEqual(readdirSync(first).sort(), readdirSync(second).sort());
  for (const name of readdirSync(first))
    assert.ok(bytes(first, name).equals(bytes(second, name)), `${name} differs`);
  assert.ok(
    bytes(join(one, 'model'), 'model.safetensors').equals(bytes(join(other, 'model'), 'model.safetensors')),
  );
  const metrics = (run: string) =>
    new RunFolder(run).metrics().map(({ tokensPerSecond: _, ...line }) => line);
  assert.deepEqual(metrics(one), metrics(other));
  assert.equal(metrics(one).filter(({ kind }) => kind === 'train').length, totalSteps);
}

for (const dtype of ['float32', 'bfloat16']) {
  describe(`killed at random steps in ${dtype}`, () => {
    const random = keyedRandom(dtype.length);
    const stops = (): number[] =>
      Array.from({ length: 3 }, () => random.integer(2, 58)).sort((a, b) => a - b);
    const whole = join(parent, `${dtype}-stage1`);

    it('stage 1 ends with the bits of a run that never stopped', async () => {
      const flags = ['--stage', '1', '--dtype', dtype];
      await undisturbed(whole, flags);
      assert.ok((await killedAt(stops(), `${whole}-killed`, flags)) >= 2, 'kills hit the run');
      assertSameRun(whole, `${whole}-killed`);
    });

    it('stage 2 ends with the bits of a run that never stopped', async () => {
      const out = join(parent, `${dtype}-stage2`);
      const sides = ['--min-side-length', '8', '--max-side-length', '24'];
      const flags = ['--stage', '2', '--init', whole, '--dtype', dtype, ...sides];
      await undisturbed(out, flags);
      assert.ok((await killedAt(stops(), `${out}-killed`, flags)) >= 2, 'kills hit the run');
      assertSameRun(out, `${out}-killed`);
    });
  });
}

describe('Ctrl-C', () => {
  it('saves, says how to continue, and the same command goes on to the same bits', async () => {
    const [whole, out, flags] = [join(parent, 'whole'), join(parent, 'interrupted'), ['--dtype', 'float32']];
    await undisturbed(whole, flags);
    const child = start(out, flags);
    const end = ended(child);
    const metrics = join(out, 'metrics.jsonl');
    while (!existsSync(metrics) || readFileSync(metrics, 'utf8').split('\n').length < 6) await sleep(1);
    child.kill('SIGINT');
    const { code, messages } = await end;
    assert.equal(code, 130, messages);
    assert.match(messages, /Stopped at step \d+ and saved\. The same command continues/);
    await undisturbed(out, flags);
    assertSameRun(whole, out);
  });
});
