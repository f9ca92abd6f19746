// The page with results in a real browser, over real small runs: both languages, at desk and phone width, by mouse and
// by keyboard, and what it says without results or without a server. Skipped where there is no Chromium.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Page } from 'playwright-core';
import { assertAccessible, openPage, withoutBrowser } from './browser.test-support.js';
import { studioFolder } from './index.js';
import { makeTestRuns } from './results.test-support.js';
import { startServer } from './serve.test-support.js';

const languages = {
  'zh-CN': { board: 'CLUE 榜', back: /全部结果/, next: '下一页', noMatch: '没有符合条件的错例。' },
  'en-US': { board: 'The CLUE board', back: /All results/, next: 'Next', noMatch: 'No error fits.' },
} as const;

/** The page asks no model, so none is started. */
async function serve(runsFolder: string): Promise<{ url: string; close(): Promise<void> }> {
  const { url, app } = await startServer({ folder: {}, runsFolder, studio: studioFolder() });
  return { url: `${url}/#results`, close: async () => await app.close() };
}

describe('the results in a browser', { skip: withoutBrowser }, async () => {
  if (withoutBrowser) return;
  const { folder } = await makeTestRuns();
  const stored = JSON.parse(readFileSync(join(folder, 'clue/ocnli/result.json'), 'utf8'));
  const [[, otherAsSpring], [springAsOther]] = stored.dev.confusion as [[number, number], [number, number]];
  const { url } = await serve(folder);
  const board = (page: Page) => page.locator('table.results').first();
  const errors = (page: Page) => page.locator('ol.errors > li');

  for (const [locale, words] of Object.entries(languages))
    for (const width of [360, 1200])
      it(`shows the board and a result, accessible, in ${locale} at ${width} px`, async () => {
        const page = await openPage(url, locale, width);
        await page.getByRole('heading', { name: words.board }).waitFor();
        assert.match((await board(page).textContent()) ?? '', /PLUG.*80\.614.*clue/s);
        await assertAccessible(page);
        const colourOf = (selector: string) =>
          page.evaluate(`getComputedStyle(document.querySelector('${selector}')).color`);
        assert.equal(await colourOf('tr.own a'), await colourOf('.badge'), 'links have a colour of ours');
        await page.locator('tr.own a').first().click();
        await errors(page).first().waitFor();
        await assertAccessible(page);
        await page.getByRole('link', { name: words.back }).click();
        await page.getByRole('heading', { name: words.board }).waitFor();
        await page.goto(`${url}?id=copy%2Fdev`);
        await errors(page).first().waitFor();
        await page.close();
      });

  it('sorts by a column, both ways, and marks the best', async () => {
    const page = await openPage(url, 'zh-CN', 1200);
    const header = board(page).locator('thead th').nth(1);
    const means = async (): Promise<number[]> =>
      (await board(page).locator('tbody td:nth-child(2)').allTextContents()).map((text) =>
        Number(/[\d.]+/.exec(text)?.[0]),
      );
    await header.locator('button').click();
    assert.equal(await header.getAttribute('aria-sort'), 'descending');
    const falling = await means();
    assert.deepEqual(
      falling,
      [...falling].sort((a, b) => b - a),
    );
    await header.locator('button').click();
    assert.deepEqual(await means(), falling.reverse());
    assert.match((await board(page).locator('td:nth-child(2).best').textContent()) ?? '', /82\.943/);
    await page.close();
  });

  it('goes from a number of the matrix to its errors, and searches in them', async () => {
    const page = await openPage(`${url}?id=clue%2Focnli%2Fdev`, 'zh-CN', 1200);
    const cell = page.locator('.matrix button').first();
    await cell.click();
    const count = otherAsSpring || springAsOther;
    assert.equal(await cell.textContent(), String(count));
    assert.equal(await cell.getAttribute('aria-pressed'), 'true');
    await page
      .getByText(new RegExp(`1–\\d+ 共 ${count}`))
      .first()
      .waitFor();
    const text = (await errors(page).first().locator('.part p').textContent()) ?? '';
    const search = page.locator('input[type=search]:visible');
    await search.fill(text);
    await page.waitForFunction('document.querySelectorAll("ol.errors > li").length < 20');
    assert.match((await errors(page).first().textContent()) ?? '', new RegExp(text));
    await search.fill('nothing of this kind');
    await page.getByText(languages['zh-CN'].noMatch).waitFor();
    await page.close();
  });

  it('is read with the keyboard: from error to error, and on to the next page', async () => {
    const page = await openPage(`${url}?id=clue%2Focnli%2Fdev`, 'en-US', 1200);
    await errors(page).first().focus();
    await page.keyboard.press('ArrowDown');
    const focused = () =>
      page.evaluate('[...document.activeElement.parentElement.children].indexOf(document.activeElement)');
    assert.equal(await focused(), 1);
    await page.keyboard.press('ArrowRight');
    await page.getByText(/^21–/).first().waitFor();
    assert.equal(await focused(), 0);
    await page.close();
  });

  it('says which command makes results, what is gone, and that the server cannot be reached', async () => {
    const bare = await serve(join(folder, 'nothing-there'));
    const page = await openPage(bare.url, 'en-US', 360);
    await page
      .getByText(/npx plug finetune/)
      .first()
      .waitFor();
    await assertAccessible(page);
    await page.goto(`${bare.url}?id=gone`);
    await page.getByText(/no such result/).waitFor();
    await bare.close();
    await page.getByRole('link', { name: /All results/ }).click();
    await page
      .getByText(/cannot be reached/)
      .first()
      .waitFor();
    await page.close();
  });
});
