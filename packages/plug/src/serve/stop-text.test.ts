// Stop strings, whatever the pieces are that text comes in.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { StopText } from './stop-text.js';

it('text ends before the first stop string, however it is cut into pieces', () => {
  const letters = fc.stringMatching(/^[ab。]{0,12}$/);
  fc.assert(
    fc.property(
      fc.array(letters),
      fc.array(fc.stringMatching(/^[ab。]{1,4}$/), { maxLength: 3 }),
      (pieces, stops) => {
        const whole = pieces.join('');
        const stopped = new StopText(stops);
        let shown = '';
        let isStopped = false;
        for (const piece of pieces) {
          if (isStopped) break;
          const next = stopped.push(piece);
          shown += next.text;
          isStopped = next.isStopped;
        }
        if (!isStopped) shown += stopped.end();
        const at = stops.map((stop) => whole.indexOf(stop)).filter((place) => place >= 0);
        // A stop is known when it is whole; until then an earlier, longer one may still come.
        assert.equal(isStopped, at.length > 0);
        if (at.length === 0) assert.equal(shown, whole);
        else assert.ok(whole.startsWith(shown) && at.includes(shown.length));
      },
    ),
  );
});

it('shows what cannot be the beginning of a stop string at once', () => {
  const text = new StopText(['。。']);
  assert.deepEqual(text.push('春。'), { text: '春', isStopped: false });
  assert.deepEqual(text.push('江'), { text: '。江', isStopped: false });
  assert.deepEqual(text.push('。。月'), { text: '', isStopped: true });
});
