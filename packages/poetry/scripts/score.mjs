// The scores in this package's README: how well held-out poems are foretold, beside a 5-gram model of the same
// training poems, and what the poems that it writes are like.
//
//     node packages/poetry/scripts/score.mjs MODEL DATA [NAME=VALUE of a setting, temperature=0.7]
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { evaluateGeneration, generate, loadGenerator, loadModel, loadTokenizer } from 'openplug';
import { bitsPerToken, trainKneserNey } from '../../plug/dist/evaluate/index.js';

const [model, data, ...settings] = process.argv.slice(2);
const rows = (name) =>
  readFileSync(join(data, `${name}.jsonl`), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
const [train, dev] = [rows('train'), rows('dev')];
const tokenizer = loadTokenizer(model);
const { vocabSize } = tokenizer;

// Foretelling.
const ids = (text) => Uint32Array.from(tokenizer.encode(text));
const ngrams = trainKneserNey(
  train.map(({ source, target }) => ids(source + target)),
  { vocabSize },
);
const sequences = dev.map(({ source, target }) => ({ context: ids(source), target: ids(target) }));
const numTokens = sequences.reduce((sum, { target }) => sum + target.length, 0);
const numCharacters = dev.reduce((sum, { target }) => sum + [...target].length, 0);
const ngramBits = (bitsPerToken(ngrams, sequences) * numTokens) / numCharacters;
const generator = loadGenerator(model);
const { scores } = evaluateGeneration(
  generator,
  dev.map(({ source, target }) => ({ source, target })),
);

// Writing.
const choices = { temperature: 0.9, topK: 20, maxLength: 128, seed: 1, ...parsed(settings) };
const packed = loadModel(model, { precision: 'int8' });
const known = new Set(train.flatMap(({ source, target }) => partsOf(source + target)));
const beginnings = dev.filter(({ source }) => partsOf(source).length > 0).slice(0, 300);
const totals = { ended: 0, regular: 0, regularInPrint: 0, parts: 0, copied: 0 };
const bigrams = new Set();
let numBigrams = 0;
for (let at = 0; at < beginnings.length; at += 50) {
  const batch = beginnings.slice(at, at + 50);
  const written = await generate(
    packed,
    tokenizer,
    batch.map(({ source }) => source),
    choices,
  );
  for (const [
    index,
    {
      texts: [{ text, finish }],
    },
  ] of written.entries()) {
    const { source, target } = batch[index];
    if (at === 0 && index < 12) console.error(`${source} | ${text}`);
    if (finish === 'end') totals.ended++;
    if (isRegular(source + text)) totals.regular++;
    if (isRegular(source + target)) totals.regularInPrint++;
    for (const part of partsOf(text)) {
      totals.parts++;
      if (known.has(part)) totals.copied++;
    }
    const characters = [...text];
    for (let i = 1; i < characters.length; i++) bigrams.add(characters[i - 1] + characters[i]);
    numBigrams += Math.max(0, characters.length - 1);
  }
}
const share = (count, of) => Number((count / of).toFixed(3));
console.log(
  JSON.stringify(
    {
      poems: dev.length,
      characters: numCharacters,
      bitsPerCharacter: scores.bitsPerCharacter,
      ngramBitsPerCharacter: ngramBits,
      settings: choices,
      written: beginnings.length,
      ended: share(totals.ended, beginnings.length),
      regular: share(totals.regular, beginnings.length),
      regularInPrint: share(totals.regularInPrint, beginnings.length),
      linesFoundInTraining: share(totals.copied, totals.parts),
      distinct2: share(bigrams.size, numBigrams),
    },
    null,
    2,
  ),
);

/** The parts between marks, titles left out. */
function partsOf(text) {
  return text.replace(/《.*?》/gu, '').match(/[^，。！？；、]+/gu) ?? [];
}

/** Whether all parts are equally long, of five or of seven characters. */
function isRegular(text) {
  const lengths = new Set(partsOf(text).map((part) => [...part].length));
  return lengths.size === 1 && (lengths.has(5) || lengths.has(7));
}

function parsed(texts) {
  return Object.fromEntries(
    texts.map((text) => text.split('=')).map(([name, value]) => [name, Number(value)]),
  );
}
