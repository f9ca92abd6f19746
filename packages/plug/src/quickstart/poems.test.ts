import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openTokenCorpus, readPoetryDocuments, splitOf } from '../corpus/index.js';
import { temporaryFolder } from '../pretrain/pretrain.test-support.js';
import { loadTokenizer } from '../text/index.js';
import { buildPoetryCorpus, heldOutCouplets } from './poems.js';

const limit = 600;

describe('heldOutCouplets', () => {
  const couplets = heldOutCouplets(limit);

  it('are whole lines of five or seven characters, upper and lower of one length', () => {
    assert.ok(couplets.length > 50, `${couplets.length} couplets`);
    const lengths = new Set<number>();
    for (const { upper, lower } of couplets) {
      assert.match(upper, /^[^，。！？；、]+，$/);
      assert.match(lower, /^[^，。！？；、]+[。！？]$/);
      const [above, below] = [[...upper].length - 1, [...lower].length - 1];
      assert.equal(above, below);
      assert.ok(above === 5 || above === 7, upper + lower);
      lengths.add(above);
    }
    assert.equal(lengths.size, 2);
  });

  it('stand one after the other in a document that pre-training does not see', () => {
    const texts = new Map(
      [...readPoetryDocuments({ collections: ['tang'], limit })].map(({ id, poems }) => [
        id,
        poems.flatMap(({ lines }) => lines).join('\n'),
      ]),
    );
    for (const { upper, lower, document } of couplets) {
      assert.equal(splitOf(document, 0.1), 'heldOut');
      const text = texts.get(document)!;
      const at = text.indexOf(upper + lower);
      assert.ok(at >= 0, `${upper}${lower} in ${document}`);
    }
  });
});

describe('buildPoetryCorpus', () => {
  it('writes both splits with a vocabulary of the training part', () => {
    const out = temporaryFolder();
    const built = buildPoetryCorpus(out, limit);
    assert.equal(built.summary.train.documents + built.summary.heldOut.documents, built.numDocuments);
    const tokenizer = loadTokenizer(built.tokenizer);
    assert.equal(tokenizer.vocabSize, built.vocabSize);
    const counts = new Map<number, number>();
    const corpus = openTokenCorpus(join(built.corpus, 'train'));
    for (let index = 0; index < corpus.numDocuments; index++)
      for (const token of corpus.document(index).tokens) counts.set(token, (counts.get(token) ?? 0) + 1);
    corpus.close();
    const { unk } = tokenizer.special;
    for (let id = 0; id < tokenizer.vocabSize; id++)
      if (tokenizer.idToToken(id).length === 1)
        assert.ok((counts.get(id) ?? 0) >= 5, tokenizer.idToToken(id));
    assert.ok(counts.get(unk)! < 0.1 * built.summary.train.tokens, `${counts.get(unk)} unknown`);
  });
});
