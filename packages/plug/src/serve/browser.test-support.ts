// Pages of the studio in a real browser: the system's Chromium.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after } from 'node:test';
import { type Browser, chromium, type Page } from 'playwright-core';

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  (path) => existsSync(path),
);

/** For `describe`: why the browser's tests are skipped, or false. */
export const withoutBrowser = executablePath ? false : 'no Chromium is installed';

let browser: Browser | undefined;
after(() => browser?.close());

/** An opened page; closing it fails when a script of it has failed. */
export async function openPage(url: string, locale: string, width: number): Promise<Page> {
  browser ??= await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox'] });
  // axe is put into the page, which the server's content security policy forbids others.
  const context = await browser.newContext({ locale, viewport: { width, height: 800 }, bypassCSP: true });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('close', () => assert.deepEqual(faults, []));
  await page.goto(url);
  return page;
}

/** By axe: no serious findings. */
export async function assertAccessible(page: Page): Promise<void> {
  await page.addScriptTag({ path: createRequire(import.meta.url).resolve('axe-core') });
  const found = await page.evaluate(
    'axe.run().then(({ violations }) => violations.filter(({ impact }) => impact === "serious" || impact === "critical").map(({ id, nodes }) => `${id}: ${nodes[0].html}`))',
  );
  assert.deepEqual(found, []);
}

export async function assertFitsWidth(page: Page): Promise<void> {
  const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
  assert.ok(Number(overflow) <= 0, `the page is ${overflow} px too wide`);
}
