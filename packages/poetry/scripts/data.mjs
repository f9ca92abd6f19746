// The texts that the model is trained on: poems of the chinese-poetry package, half of the documents in simplified
// and half in traditional script, so that the model reads both and answers in the script of the beginning.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Converter } from 'opencc-js'; // OpenCC's own tables, in JavaScript
import { readPoetryDocuments, splitOf } from 'openplug';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** Share of the documents whose poems are never trained on. */
export const heldOutFraction = 0.02;

/** A longer poem is not finished in one answer, and not learnt from in fine-tuning. */
const longestPoem = 126;

/**
 * Writes corpus.jsonl (documents, for pre-training), and train.jsonl and dev.jsonl (a beginning and the rest of its
 * poem, for fine-tuning).
 *
 * @param {string} out folder
 * @param {readonly ('tang' | 'song' | 'ci')[]} collections
 */
export function writeData(out, collections) {
  const [toTraditional, toSimplified] = [
    Converter({ from: 'cn', to: 't' }),
    Converter({ from: 't', to: 'cn' }),
  ];
  const rows = { corpus: [], train: [], dev: [] };
  const random = xoroshiro128plus(1);
  const chance = () => (random.next() >>> 0) / 2 ** 32;
  for (const { id, sentences, poems } of readPoetryDocuments({ collections })) {
    const convert = rows.corpus.length % 2 === 0 ? toSimplified : toTraditional;
    rows.corpus.push({ id, text: sentences.map((sentence) => convert(sentence)) });
    const split = splitOf(id, heldOutFraction) === 'train' ? 'train' : 'dev';
    for (const { title, lines } of poems) {
      const example = beginning(title, lines.join(''), chance);
      if (example) rows[split].push({ source: convert(example.source), target: convert(example.target) });
    }
  }
  mkdirSync(out, { recursive: true });
  for (const [name, list] of Object.entries(rows))
    writeFileSync(join(out, `${name}.jsonl`), list.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return Object.fromEntries(Object.entries(rows).map(([name, list]) => [name, list.length]));
}

/**
 * A poem cut after one of its first marks: what a reader might begin with. Titles are there half the time, and then
 * may be all there is.
 */
function beginning(title, poem, chance) {
  if ([...poem].length > longestPoem) return undefined;
  const parts = poem.match(/[^，。！？；、]+[，。！？；、]+/gu) ?? [];
  const withTitle = title !== '' && chance() < 0.5;
  const fewest = withTitle ? 0 : 1;
  if (parts.length < fewest + 1) return undefined;
  const most = Math.min(parts.length - 1, 4);
  const taken = fewest + Math.floor(chance() * (most - fewest + 1));
  return {
    source: (withTitle ? `《${title}》` : '') + parts.slice(0, taken).join(''),
    target: parts.slice(taken).join(''),
  };
}
