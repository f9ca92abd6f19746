// The studio in a real browser, against a real server: both pages in both languages, at desk and phone width, and
// what happens when the server stops. Skipped where there is no Chromium.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Page } from 'playwright-core';
import { temporaryFolder, writeTestModel } from '../finetune/finetune.test-support.js';
import { assertAccessible, openPage, withoutBrowser } from './browser.test-support.js';
import { studioFolder } from './index.js';
import { startServer, until } from './serve.test-support.js';

const languages = {
  'zh-CN': {
    done: /写完了/,
    understand: '理解',
    result: '可视化结果',
    offline: /连不上/,
  },
  'en-US': {
    done: /Done/,
    understand: 'Understand',
    result: 'Visual',
    offline: /cannot be reached/,
  },
} as const;

describe('the studio in a browser', { skip: withoutBrowser }, async () => {
  if (withoutBrowser) return;
  const folder = writeTestModel(temporaryFolder(), { maxPositionEmbeddings: 48 });
  const server = await startServer({ folder, studio: studioFolder() });

  async function opened(locale: keyof typeof languages, width: number, url = server.url): Promise<Page> {
    const page = await openPage(url, locale, width);
    await page.locator('form:visible button.main').waitFor();
    return page;
  }

  for (const [locale, words] of Object.entries(languages))
    for (const width of [360, 1200])
      it(`writes, labels and is accessible in ${locale} at ${width} px`, async () => {
        const page = await opened(locale as keyof typeof languages, width);
        const shown = async (): Promise<string> => (await page.locator('body').textContent()) ?? '';
        await page.locator('#prompt').fill('春江');
        await page.locator('form:visible button.main').click();
        await page.getByText(words.done).waitFor();
        assert.match(await shown(), new RegExp(words.result));
        assert.ok((await page.locator('.text').first().textContent())!.length > 4);
        await assertAccessible(page);
        await page.getByText(words.understand, { exact: true }).click();
        const fields = page.locator('form:visible textarea');
        await fields.first().fill('春江潮水連海平');
        await fields.nth(1).fill('春\n江月');
        await page.locator('form:visible button.main').click();
        await page.locator('meter').nth(1).waitFor();
        await assertAccessible(page);
        await page.close();
      });

  it('stops the writing in the server, too', async () => {
    // The address holds the settings: much to write, so that it is not done before it is stopped.
    const settings = '#write?maxLength=1024&minLength=1024&numCandidates=8&prompt=春';
    const page = await opened('zh-CN', 1200, server.url + settings);
    await page.locator('form:visible button.main').click();
    await page.getByRole('button', { name: '停止' }).click();
    await until(() => server.model.numCalls === 0);
    await page.getByRole('button', { name: '开始写' }).waitFor();
    await page.close();
  });

  it('says that the server cannot be reached', async () => {
    const page = await opened('en-US', 1200);
    await page.context().setOffline(true);
    await page.locator('#prompt').fill('春');
    await page.locator('form:visible button.main').click();
    await page.getByRole('alert').waitFor();
    assert.match((await page.getByRole('alert').textContent()) ?? '', languages['en-US'].offline);
    await page.close();
  });
});
