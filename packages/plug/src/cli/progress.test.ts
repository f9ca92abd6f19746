import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import stringWidth from 'string-width';
import { createProgress, fitColumns, formatDuration, stopProgress } from './progress.js';

/** A stream that keeps what is written; with columns it passes for a terminal. */
function fakeStream(columns?: number): { stream: NodeJS.WriteStream; written: () => string } {
  const stream = new PassThrough();
  let text = '';
  stream.on('data', (chunk) => {
    text += chunk;
  });
  const terminal =
    columns === undefined ? {} : { isTTY: true, columns, cursorTo() {}, clearLine() {}, moveCursor() {} };
  return { stream: Object.assign(stream, terminal) as unknown as NodeJS.WriteStream, written: () => text };
}

describe('progress', () => {
  it('writes a line per interval, and no control characters, when there is no terminal', async () => {
    const { stream, written } = fakeStream();
    const progress = createProgress({
      label: '第一階段',
      total: 1000,
      unit: 'steps',
      stream,
      lineIntervalMs: 60,
    });
    for (let step = 1; step <= 40; step++) {
      progress.update(step * 25, { loss: (4 - step / 40).toFixed(2) });
      await sleep(5);
    }
    progress.note('checkpoint saved');
    progress.finish();
    progress.finish();
    const lines = written().trimEnd().split('\n');
    assert.ok(lines.length >= 3 && lines.length <= 8, `${lines.length} lines for 200 ms at one per 60 ms`);
    assert.match(lines[0] ?? '', /^第一階段 · \d+% · \d+\/1000 steps · [\d.k]+\/s · .* left · loss 3\.\d\d$/);
    assert.equal(lines.at(-2), 'checkpoint saved');
    assert.match(lines.at(-1) ?? '', /100% · 1000\/1000 steps/);
    assert.ok([...written()].every((character) => character === '\n' || character >= ' '));
  });

  it('counts without a total', () => {
    const { stream, written } = fakeStream();
    const progress = createProgress({ label: 'reading', total: 0, unit: 'documents', stream });
    progress.update(12_345);
    progress.finish();
    assert.match(written(), /^reading · 12\.3k documents/);
  });

  it('keeps each line within the terminal, full-width characters included', async () => {
    const { stream, written } = fakeStream(50);
    const progress = createProgress({ label: '預訓練的第一個階段', total: 100, unit: '步', stream });
    progress.update(50, { 例句: '春江潮水連海平海上明月共潮生灩灩隨波千萬里' });
    await sleep(450);
    progress.note('a note');
    progress.finish('done');
    assert.match(written(), /█/);
    assert.match(written(), /a note\n/);
    assert.ok(written().endsWith('done\n'));
    // The stream's own cursor functions do nothing here, so the writings follow one another.
    const drawn = written()
      .split(/(?=預訓練)/)
      .filter((part) => part.startsWith('預訓練'));
    assert.ok(drawn.length >= 2);
    for (const line of drawn) {
      const shown = line.split(/\n|\p{Cc}|a note|done/u)[0] ?? '';
      assert.ok(stringWidth(shown) < 50, `${stringWidth(shown)} columns: ${shown}`);
    }
  });

  it('does not count work from before a resume towards the rate', async () => {
    const { stream, written } = fakeStream();
    const progress = createProgress({ label: 'x', total: 2000, unit: 'steps', startAt: 1000, stream });
    await sleep(100);
    progress.update(1010);
    progress.finish();
    const rate = Number(/· ([\d.]+)\/s/.exec(written())?.[1]);
    assert.ok(rate > 20 && rate <= 100, `rate ${rate}: expected 10 steps in a little over 0.1 s`);
  });

  it('ends what is still running', () => {
    const { stream, written } = fakeStream();
    createProgress({ label: 'left open', total: 5, unit: 'steps', stream });
    stopProgress();
    assert.match(written(), /^left open · 0%/);
  });

  it('formats durations and cuts texts by columns', () => {
    assert.equal(formatDuration(5.4), '5 s');
    assert.equal(formatDuration(185), '3 min 05 s');
    assert.equal(formatDuration(7620), '2 h 07 min');
    assert.equal(fitColumns('春江潮水', 8), '春江潮水');
    assert.equal(fitColumns('春江潮水', 7), '春江潮…');
    assert.equal(fitColumns('𠮷野家', 4), '𠮷…');
  });
});
