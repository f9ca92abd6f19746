// The pages of the studio about the model and about judging texts, in a real browser against a real server, in both
// languages and at desk and phone width. Skipped where there is no Chromium.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import {
  springExamples,
  springTask,
  temporaryFolder,
  writeTestModel,
} from '../finetune/finetune.test-support.js';
import { finetune } from '../finetune/index.js';
import { assertAccessible, openPage, withoutBrowser } from './browser.test-support.js';
import { studioFolder } from './index.js';
import { startServer } from './serve.test-support.js';

const languages = {
  'zh-CN': {
    layer: '层 1',
    classify: '分类模型',
    saliency: '哪些字重要',
    noClassifier: /没有学过分类/,
    offline: /连不上/,
  },
  'en-US': {
    layer: 'Layer 1',
    classify: 'Fine-tuned classifier',
    saliency: 'What mattered',
    noClassifier: /not fine-tuned to classify/,
    offline: /cannot be reached/,
  },
} as const;
const cases = Object.entries(languages).flatMap(([locale, words]) =>
  [360, 1200].map((width) => ({ locale, words, width })),
);

it('the studio’s first load is at most 300 kB compressed', (test) => {
  const folder = studioFolder()!;
  const index = readFileSync(join(folder, 'index.html'), 'utf8');
  const files = [...index.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map((match) => join(folder, match[1]!));
  assert.ok(files.length >= 3, 'a script, styles and an icon');
  const bytes = [index, ...files.map((file) => readFileSync(file))].reduce(
    (sum, content) => sum + gzipSync(content).length,
    0,
  );
  test.diagnostic(`first load: ${(bytes / 1000).toFixed(1)} kB compressed`);
  assert.ok(bytes <= 300_000);
});

describe('pages of the model and of judging texts', { skip: withoutBrowser }, async () => {
  if (withoutBrowser) return;
  const folder = temporaryFolder();
  const model = writeTestModel(folder, { maxPositionEmbeddings: 48 });
  writeFileSync(
    join(model, 'README.md'),
    '# 春\n\n水 <script>alert(1)</script> [bad](javascript:alert(1)) **江**\n',
  );
  const out = join(folder, 'tuned');
  const training = { tokensPerBatch: 128, learningRate: 3e-3, threads: 1, dtype: 'float32' } as const;
  await finetune(
    springTask,
    { train: springExamples(1, 64) },
    { ...training, model, out, epochs: 20, maxLength: 24 },
  );
  const server = await startServer({ folder: model, studio: studioFolder() });
  const tuned = await startServer({ folder: out, studio: studioFolder() });

  for (const { locale, words, width } of cases)
    it(`shows the model in ${locale} at ${width} px`, async () => {
      const page = await openPage(`${server.url}/#model`, locale, width);
      const decoder = page.locator('.map-block').nth(2);
      await decoder.getByText(words.layer, { exact: true }).click();
      await page.getByText('decoder.decoder.layer.0.cross_attention.query.weight').waitFor();
      const card = page.locator('.markdown');
      assert.match((await card.textContent()) ?? '', /<script>alert\(1\)<\/script> bad 江/);
      assert.equal(await card.locator('script, a').count(), 0);
      await page.locator('textarea:visible').fill('春江x');
      await page.locator('.tokens li').nth(3).waitFor({ state: 'detached' });
      assert.equal(await page.locator('.tokens li').count(), 3);
      assert.equal(await page.locator('.tokens .unknown').count(), 1);

      await page.locator('.numbers select:visible').first().selectOption('base');
      const plan = { size: 'base', batch: 32, recompute: true, trainingTokens: 4e11 };
      const answer = (await (await server.post('/v1/plan', plan)).json()) as { memory: { total: number } };
      const format = new Intl.NumberFormat(locale, { maximumSignificantDigits: 3 });
      const memory = `${format.format(answer.memory.total / 1e9)} GB`;
      await page.locator('.figures').getByText(memory, { exact: true }).waitFor();
      await page.locator('.chart svg text').first().waitFor();
      await assertAccessible(page);
      await page.close();
    });

  for (const { locale, words, width } of cases)
    it(`classifies and shows what mattered in ${locale} at ${width} px`, async () => {
      const page = await openPage(`${tuned.url}/#understand`, locale, width);
      await page.getByText(words.classify, { exact: true }).click();
      await page.locator('textarea:visible').fill('江潮 春水');
      await page.locator('button.main:visible').click();
      await page.locator('meter').nth(1).waitFor();
      assert.equal(await page.locator('.bars li span').first().textContent(), 'spring');
      await page.getByText(words.saliency, { exact: true }).click();
      await page.locator('button.main:visible').click();
      await page.locator('.for-3.token').waitFor();
      assert.equal(await page.locator('.for-3.token').textContent(), '春');
      await page.locator('.token').first().focus();
      await page.keyboard.press('ArrowRight');
      await page.keyboard.press('ArrowRight');
      assert.match((await page.locator('.detail:visible').textContent()) ?? '', /^春 \+\d/);
      await page.locator('summary:visible').click();
      assert.equal(await page.locator('tbody:visible tr').count(), 4);
      await assertAccessible(page);
      await page.close();
    });

  it('says what a model cannot do, and that the server is away', async () => {
    for (const [locale, words] of Object.entries(languages)) {
      const page = await openPage(`${server.url}/#understand`, locale, 360);
      await page.getByText(words.classify, { exact: true }).click();
      await page.getByText(words.noClassifier).waitFor();
      await assertAccessible(page);
      await page.context().setOffline(true);
      await page.evaluate("location.hash = '#model'");
      await page.getByRole('alert').first().waitFor();
      assert.match((await page.getByRole('alert').first().textContent()) ?? '', words.offline);
      await page.close();
    }
  });

  it('takes the settings of a link that is opened in a page that is already open', async () => {
    const page = await openPage(`${server.url}/#write?temperature=1.5`, 'en-US', 1200);
    await page.locator('form:visible summary').click();
    const field = (name: string) => page.getByLabel(name, { exact: true });
    assert.equal(await field('Temperature').inputValue(), '1.5');
    await page.evaluate("location.hash = '#write?maxLength=9000&minLength=7&uniqueNgram=3&prompt=春'");
    await page.waitForFunction("document.querySelector('#prompt').value === '春'");
    assert.equal(await field('Temperature').inputValue(), '0.9');
    assert.equal(await field('Max length (tokens)').inputValue(), '4000', 'as much as the server writes');
    assert.deepEqual(
      [await field('Min length (tokens)').inputValue(), await field('No-repeat n-gram').inputValue()],
      ['7', '3'],
    );
    await page.getByText('Understand', { exact: true }).click();
    await page.getByText('Playground', { exact: true }).click();
    assert.equal(await field('No-repeat n-gram').inputValue(), '3', 'the navigation changes no settings');
    await page.close();
  });
});
