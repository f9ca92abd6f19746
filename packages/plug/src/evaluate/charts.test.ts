import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ConfigError } from '../errors.js';
import { lossCurveSvg } from './charts.js';

const curve = {
  title: 'Loss & <accuracy> 損失',
  series: [
    {
      name: 'train 訓練',
      points: Array.from({ length: 60 }, (_, i) => [i * 10, 8 * Math.exp(-i / 20) + 2] as const),
    },
    {
      name: 'held out',
      points: [
        [0, 9],
        [200, 5.5],
        [300, Number.NaN],
        [400, 5],
        [590, 4],
      ] as const,
    },
  ],
  xLabel: 'step',
  yLabel: 'nats per token',
  markers: [{ x: 300, label: 'MLM dropped' }],
};

/** Every element closed in order, every attribute quoted, no bare & or <: well-formed enough to be parsed. */
function assertWellFormed(xml: string): void {
  const open: string[] = [];
  const token =
    /<(\/?)([A-Za-z][\w:-]*)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>|<!\[CDATA\[[\s\S]*?\]\]>|([^<]+)/gy;
  let at = 0;
  for (let match = token.exec(xml); match; match = token.exec(xml)) {
    at = token.lastIndex;
    const [, closing, name, attributes, selfClosing, text] = match;
    for (const part of [attributes, text]) {
      assert.doesNotMatch(part ?? '', /&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[\da-f]+);)/i);
    }
    if (name === undefined) continue;
    if (closing) assert.equal(open.pop(), name);
    else if (!selfClosing) open.push(name);
  }
  assert.equal(at, xml.length, `cannot be parsed: ${xml.slice(at, at + 80)}`);
  assert.deepEqual(open, []);
}

/** The drawn lines: paths in the colour of a series, without fill. */
function linesOf(svg: string, colour: string): string[] {
  return [...svg.matchAll(/<path d="([^"]+)" fill="none"[^>]* stroke="(#[0-9a-f]+)"/g)]
    .filter(([, , stroke]) => stroke === colour)
    .map(([, d]) => d!)
    .filter((d) => d.length > 20);
}

describe('the loss curve', () => {
  const svg = lossCurveSvg(curve);

  it('is a well-formed SVG document of the size asked for', () => {
    assertWellFormed(svg);
    assert.match(svg, /^<svg width="840" height="440" [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    assert.match(lossCurveSvg({ ...curve, width: 300, height: 200 }), /^<svg width="300" height="200"/);
  });

  it('has title, labels, names and markers as text', () => {
    for (const text of [
      'Loss &amp; &lt;accuracy&gt; 損失',
      'step',
      'nats per token',
      'train 訓練',
      'held out',
      'MLM dropped',
    ]) {
      assert.ok(svg.includes(`>${text}</text>`), `no text '${text}'`);
    }
  });

  it('draws each series, falling as the loss falls, with a gap where a value is missing', () => {
    const [line] = linesOf(svg, '#0072b2');
    const numbers = line!.match(/-?\d+(\.\d+)?/g)!.map(Number);
    assert.ok(numbers.length > 100, 'the 60 points, less those that change nothing visible');
    for (let i = 2; i < numbers.length; i += 2) {
      assert.ok(numbers[i]! > numbers[i - 2]!, 'x grows');
      assert.ok(numbers[i + 1]! >= numbers[i - 1]!, 'y goes down the page');
    }
    assert.match(linesOf(svg, '#d55e00')[0]!, /^M[^M]*M[^M]*$/, 'two pieces');
  });

  it('is the same each time, but for the names of style classes', () => {
    const withoutIds = (text: string) => text.replace(/zr\d*-(cls|c)-?\d+/g, 'zr');
    assert.equal(withoutIds(lossCurveSvg(curve)), withoutIds(svg));
  });

  it('refuses a chart without series or with one name twice', () => {
    assert.throws(() => lossCurveSvg({ ...curve, series: [] }), ConfigError);
    assert.throws(
      () => lossCurveSvg({ ...curve, series: [curve.series[0]!, curve.series[0]!] }),
      ConfigError,
    );
  });
});
