// The page of runs in a real browser, on real runs: found, followed live, compared, read, opened, in both languages and
// widths; and what it says when there is nothing, or no server.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder, writeTestModel } from '../finetune/finetune.test-support.js';
import { RunFolder } from '../train/index.js';
import { assertAccessible, openPage, withoutBrowser } from './browser.test-support.js';
import { studioFolder } from './index.js';
import { totalSteps, writeRuns } from './runs.test-support.js';
import { startServer } from './serve.test-support.js';

const languages = {
  'zh-CN': {
    compare: '加入对比',
    noMatch: '没有符合条件的训练',
    stage: '第二阶段',
    table: '数据表',
    none: '还没有训练记录',
  },
  'en-US': {
    compare: 'Compare',
    noMatch: 'No run fits',
    stage: 'Stage 2',
    table: 'Data table',
    none: 'No training runs yet',
  },
} as const;
const stage2 = 'quickstart/stage2';
const at = (...ids: string[]): string =>
  `/#runs?${new URLSearchParams(ids.map((id): [string, string] => ['run', id]))}`;

describe('the page of runs in a browser', { skip: withoutBrowser }, async () => {
  if (withoutBrowser) return;
  const folder = temporaryFolder();
  const root = await writeRuns(folder);
  const server = await startServer({
    folder: writeTestModel(temporaryFolder()),
    studio: studioFolder(),
    runsFolder: root,
  });

  for (const [locale, words] of Object.entries(languages))
    for (const width of [360, 1200])
      it(`shows curves, texts and comparisons, and is accessible, in ${locale} at ${width} px`, async () => {
        const page = await openPage(server.url + at(stage2), locale, width);
        await page.locator('.plot svg').nth(3).waitFor();
        assert.match((await page.locator('.facts').textContent()) ?? '', new RegExp(words.stage));
        const label = await page.locator('.plot').first().getAttribute('aria-label');
        assert.ok(label?.includes(String(totalSteps)), `what is drawn is said: ${label}`);
        // The second block in a chart's frame is what it says where one points.
        await page.locator('.plot svg').first().hover();
        await page.locator('.plot > div').nth(1).getByText('LM').first().waitFor();
        await page.getByText(words.table).first().click();
        assert.ok((await page.locator('.chart table').first().locator('tbody tr').count()) > 8);
        // The slider leads to what was written first.
        const { samples } = new RunFolder(join(root, stage2)).samples()[0]!;
        await page.locator('.slider input').focus();
        await page.keyboard.press('Home');
        await page.getByText(samples[0]!.written, { exact: true }).first().waitFor();
        await assertAccessible(page);

        await page.getByLabel(`${words.compare}: quickstart/stage1`).check();
        await page.locator('.wide tbody tr').nth(1).waitFor();
        await page.locator('.legend li').nth(1).waitFor();
        assert.match(page.url(), /stage2&run=quickstart%2Fstage1/, 'a link holds what is compared');
        await assertAccessible(page);
        await page.getByRole('searchbox').fill('no such run');
        await page.getByText(words.noMatch).waitFor();
        await page.close();
      });

  it('follows a run that trains, and rests while it is not looked at', async () => {
    const settings = JSON.parse(readFileSync(join(root, stage2, 'settings.json'), 'utf8')) as object;
    const run = new RunFolder(join(root, 'live'));
    run.claimSettings({ ...settings, totalSteps: 1000 });
    const train = (step: number): void =>
      run.record({
        kind: 'train',
        step,
        loss: 9 / step,
        lmLoss: 9 / step,
        numTokens: 300,
        tokensPerSecond: 600,
      });
    for (let step = 1; step <= 20; step++) train(step);
    const page = await openPage(server.url + at('live'), 'en-US', 1200);
    const facts = page.locator('.facts');
    await facts.getByText('20 / 1000').waitFor();
    await facts.getByText('8 min 10 s').waitFor();
    train(21);
    await facts.getByText('21 / 1000').waitFor();
    let asked = 0;
    page.on('request', (request) => {
      if (request.url().includes('/v1/runs')) asked++;
    });
    await page.getByText('Understand', { exact: true }).click();
    await page.waitForTimeout(500); // what was under way
    asked = 0;
    await page.waitForTimeout(5000);
    assert.equal(asked, 0);
    await page.close();
  });

  it('says what the server said when a run cannot be opened', async () => {
    const page = await openPage(server.url + at(stage2), 'en-US', 1200);
    // The listing still calls it finished, but its weights are gone.
    const weights = join(root, stage2, 'model', 'model.safetensors');
    const opener = page.getByRole('button', { name: 'Open in the playground' });
    await opener.waitFor();
    renameSync(weights, `${weights}.away`);
    await opener.click();
    await page.getByRole('alert').first().waitFor();
    assert.match((await page.getByRole('alert').first().textContent()) ?? '', /went wrong: .{10}/);
    renameSync(`${weights}.away`, weights);
    await page.close();
  });

  it('keeps what it showed when the server goes away, and goes on when it is back', async () => {
    const page = await openPage(server.url + at(stage2), 'en-US', 1200);
    await page.locator('.plot svg').first().waitFor();
    await page.context().setOffline(true);
    await page.getByText('This is what it said last').waitFor();
    assert.equal(await page.locator('.plot svg').count(), 4);
    await page.context().setOffline(false);
    await page.getByText('This is what it said last').waitFor({ state: 'detached' });
    await page.close();
  });
});

describe('the page of runs without any', { skip: withoutBrowser }, async () => {
  if (withoutBrowser) return;
  const root = join(temporaryFolder(), 'runs');
  mkdirSync(root);
  const server = await startServer({
    folder: writeTestModel(temporaryFolder()),
    studio: studioFolder(),
    runsFolder: root,
  });
  for (const [locale, { none }] of Object.entries(languages))
    it(`says which commands make some, in ${locale}`, async () => {
      const page = await openPage(`${server.url}/#runs`, locale, 360);
      await page.getByText(none).waitFor();
      await page.getByText('npx plug quickstart').waitFor();
      await assertAccessible(page);
      await page.close();
    });
});
