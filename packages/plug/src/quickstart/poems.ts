// The quickstart's text: Tang poems as a vocabulary, a token corpus, and pairs of lines for the two tasks.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type CorpusSummary, readPoetryDocuments, splitOf, writeTokenCorpus } from '../corpus/index.js';
import { loadTokenizer, type Tokenizer, tokenizerFromVocabulary, trainVocabulary } from '../text/index.js';

/** Documents kept from pre-training: they test the language model, and the tasks are made from them. */
const heldOutFraction = 0.1;
const collections = ['tang'] as const;

/** Two lines of one couplet, as 白日依山盡， and 黃河入海流。 */
export interface Couplet {
  upper: string;
  lower: string;
  /** Document that it stands in: couplets of one document go to the same part of a task. */
  document: string;
}

export interface PoetryCorpus {
  corpus: string;
  tokenizer: string;
  numPoems: number;
  numDocuments: number;
  vocabSize: number;
  summary: CorpusSummary;
}

/** Reads the poems, makes the vocabulary from the training part, and writes the corpus. */
export function buildPoetryCorpus(out: string, limit: number | undefined): PoetryCorpus {
  const documents = [...readPoetryDocuments({ collections, ...(limit !== undefined && { limit }) })];
  const training = documents.filter(({ id }) => splitOf(id, heldOutFraction) === 'train');
  const tokens = trainVocabulary(
    training.flatMap(({ sentences }) => sentences),
    // Characters seen fewer than five times cannot be learnt in minutes; they are [UNK] to all models compared.
    { vocabSize: 16_384, minFrequency: 5 },
  );
  const tokenizer: Tokenizer = tokenizerFromVocabulary(tokens);
  const [corpus, tokenizerFolder] = [join(out, 'corpus'), join(out, 'tokenizer')];
  if (!existsSync(tokenizerFolder)) tokenizer.save(tokenizerFolder);
  const summary = writeTokenCorpus(corpus, documents, loadTokenizer(tokenizerFolder), {
    heldOutFraction,
    overwrite: true,
  });
  return {
    corpus,
    tokenizer: tokenizerFolder,
    numPoems: documents.reduce((sum, { poems }) => sum + poems.length, 0),
    numDocuments: documents.length,
    vocabSize: tokenizer.vocabSize,
    summary,
  };
}

/** The couplets of five- and seven-character lines in the documents that pre-training does not see. */
export function heldOutCouplets(limit: number | undefined): Couplet[] {
  const couplets: Couplet[] = [];
  for (const { id, poems } of readPoetryDocuments({ collections, ...(limit !== undefined && { limit }) })) {
    if (splitOf(id, heldOutFraction) !== 'heldOut') continue;
    for (const { lines } of poems) {
      for (const line of lines) {
        for (const match of line.matchAll(
          /(?<![^。！？])([^，。！？；、]{5}|[^，。！？；、]{7})，([^，。！？；、]+)([。！？])/gu,
        )) {
          const [, upper, lower, end] = match as unknown as [string, string, string, string];
          if ([...upper].length === [...lower].length)
            couplets.push({ upper: `${upper}，`, lower: `${lower}${end}`, document: id });
        }
      }
    }
  }
  return couplets;
}
