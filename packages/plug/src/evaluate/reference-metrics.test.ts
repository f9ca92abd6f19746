// Scores of thousands of random cases against sacrebleu, rouge-score, scikit-learn, nltk, scipy and CMRC2018's own script
// (test-data/metrics, made by bench/peers/metrics_reference.py).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { accuracy, bitsPerCharacter, comparePaired, macroF1, perplexity } from './metrics.js';
import { spanScores } from './span-metrics.js';
import { characterBleu, characterRouge, distinct } from './text-metrics.js';

interface Cases {
  texts: {
    pairs: [candidate: string, references: string[]][];
    bleu: number;
    rouge: [number, number, number];
  }[];
  spans: { prediction: string; answers: string[]; f1: number; exactMatch: number }[];
  labels: { gold: number[]; predicted: number[]; accuracy: number; macroF1: number }[];
  varieties: { texts: string[]; distinct: [number | null, number | null] }[];
  pairs: { gold: number[]; answers: [number[], number[]]; only: [number, number]; p: number }[];
  likelihoods: {
    right: number[];
    nats: number;
    perplexity: number;
    characters: number;
    bitsPerCharacter: number;
  }[];
}

const path = new URL('../../test-data/metrics/cases.json.gz', import.meta.url);
const { texts, spans, labels, varieties, pairs, likelihoods } = JSON.parse(
  gunzipSync(readFileSync(path)).toString('utf8'),
) as Cases;

function near(actual: number, expected: number, what: unknown): void {
  assert.ok(Math.abs(actual - expected) < 1e-9, `${actual} is not ${expected}: ${JSON.stringify(what)}`);
}

it('BLEU-4 equals sacrebleu', () => {
  assert.equal(texts.length, 3000);
  let positive = 0;
  for (const { pairs, bleu } of texts) {
    near(characterBleu(pairs.map(([candidate, references]) => ({ candidate, references }))), bleu, pairs);
    if (bleu > 0) positive++;
  }
  assert.ok(positive > 1000, 'many cases are not 0');
});

it('ROUGE equals rouge-score', () => {
  for (const { pairs, rouge } of texts) {
    const scores = characterRouge(pairs.map(([candidate, references]) => ({ candidate, references })));
    for (const [index, name] of (['rouge1', 'rouge2', 'rougeL'] as const).entries())
      near(scores[name], rouge[index]!, { name, pairs });
  }
});

it('accuracy and macro F1 equal scikit-learn', () => {
  assert.equal(labels.length, 3000);
  for (const { gold, predicted, ...wanted } of labels) {
    near(accuracy(predicted, gold).accuracy, wanted.accuracy, gold);
    near(macroF1(predicted, gold), wanted.macroF1, { gold, predicted });
  }
});

it('span F1 and exact match equal CMRC2018’s script', () => {
  assert.equal(spans.length, 3000);
  for (const { prediction, answers, f1, exactMatch } of spans) {
    const scores = spanScores({ prediction, answers });
    near(scores.f1, f1, { prediction, answers });
    near(scores.exactMatch, exactMatch, { prediction, answers });
  }
});

it('Distinct-1 and -2 equal shares of nltk’s n-grams', () => {
  assert.equal(varieties.length, 1000);
  // Without any n-gram there is no share.
  for (const { texts, distinct: wanted } of varieties)
    for (const [index, share] of wanted.entries())
      if (share === null) assert.ok(Number.isNaN(distinct(texts, index + 1)));
      else near(distinct(texts, index + 1), share, texts);
});

it('McNemar’s exact test equals scipy’s binomial test', () => {
  assert.equal(pairs.length, 1000);
  for (const { gold, answers, only, p } of pairs) {
    const { onlyFirst, onlySecond, pValue } = comparePaired(...answers, gold);
    assert.deepEqual([onlyFirst, onlySecond], only);
    near(pValue, p, { only });
  }
});

it('perplexity and bits per character equal scipy’s and scikit-learn’s', () => {
  assert.equal(likelihoods.length, 1000);
  for (const { right, characters, ...wanted } of likelihoods) {
    const nats = right.reduce((sum, p) => sum - Math.log(p), 0);
    near(nats, wanted.nats, right);
    near(perplexity(nats, right.length) / wanted.perplexity, 1, right);
    near(bitsPerCharacter(nats, characters), wanted.bitsPerCharacter, right);
  }
});
