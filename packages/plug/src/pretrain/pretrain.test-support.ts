// A token corpus of a few hundred tokens and nano models on it, for the tests of pre-training.
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after } from 'node:test';
import { setNumThreads } from '@openplug/torch';
import {
  type TextDocument,
  type TokenCorpus,
  tokenCorpusFromDocuments,
  writeTokenCorpus,
} from '../corpus/index.js';
import { keyedRandom } from '../random.js';
import { tokenizerFromVocabulary } from '../text/index.js';
import { type MetricsLine, RunFolder } from '../train/index.js';
import { type PretrainSettings, pretrainSchema } from './index.js';

setNumThreads(1);

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'plug-pretrain-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const characters = [...'春江潮水連海平明月共生灩隨波千萬里何處無，。'];
const specials = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
export const testTokenizer = tokenizerFromVocabulary([...specials, ...characters, '水##', '##平', 'moon']);

/** Documents of six random sentences of 4 to 8 characters; one in twelve is unknown to the vocabulary. */
export function testDocuments(count: number): TextDocument[] {
  return Array.from({ length: count }, (_, index) => {
    const random = keyedRandom(17, index);
    const character = (): string =>
      random.integer(0, 11) === 0 ? '龘' : characters[random.integer(0, characters.length - 3)]!;
    const sentence = (): string => `${Array.from({ length: random.integer(3, 7) }, character).join('')}。`;
    return { id: `document ${index}`, sentences: Array.from({ length: 6 }, sentence), source: 'test' };
  });
}

/** Writes the corpus and the tokenizer under `folder`. */
export function writeTestCorpus(
  folder: string,
  documents = testDocuments(30),
  heldOutFraction = 0.3,
): { corpus: string; tokenizer: string } {
  const [corpus, tokenizer] = [join(folder, 'corpus'), join(folder, 'tokenizer')];
  testTokenizer.save(tokenizer);
  writeTokenCorpus(corpus, documents, testTokenizer, { heldOutFraction });
  return { corpus, tokenizer };
}

/** The same documents in memory. */
export function testTokenCorpus(count: number): TokenCorpus {
  return tokenCorpusFromDocuments(
    testDocuments(count).map(({ sentences }) => {
      const encoded = sentences.map((sentence) => testTokenizer.encode(sentence));
      let start = 0;
      const sentenceStarts = Uint32Array.from(encoded, ({ length }) => {
        start += length;
        return start - length;
      });
      return { tokens: Uint16Array.from(encoded.flatMap((ids) => [...ids])), sentenceStarts };
    }),
  );
}

/** Settings of a nano run of few steps, on one thread. */
export function nanoSettings(
  given: Pick<PretrainSettings, 'corpus' | 'tokenizer' | 'out'> & Partial<PretrainSettings>,
): PretrainSettings {
  return pretrainSchema.parse({
    size: 'nano',
    totalSteps: 20,
    maxPositions: 32,
    maxLength: 24,
    minSideLength: 3,
    maxSideLength: 10,
    tokensPerBatch: 64,
    accumulationSteps: 2,
    learningRate: 1e-3,
    warmupFraction: 0.2,
    dropout: 0.1,
    dtype: 'float32',
    threads: 1,
    evaluateEvery: 4,
    evaluationBatches: 2,
    saveEvery: 3,
    ...given,
  });
}

/** The metrics of a run but for the rate, which no two runs share. */
export function metricsOf(out: string): MetricsLine[] {
  return new RunFolder(out).metrics().map(({ tokensPerSecond: _, ...line }) => line as MetricsLine);
}

/** SHA-256 of every file of a run but the metrics and the settings, by name. */
export function contentsOf(out: string): Record<string, string> {
  const files = readdirSync(out, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const names = files.map((entry) => relative(out, join(entry.parentPath, entry.name))).sort();
  const compared = names.filter((name) => name !== 'metrics.jsonl' && name !== 'settings.json');
  const hash = (name: string): string =>
    createHash('sha256')
      .update(readFileSync(join(out, name)))
      .digest('hex');
  return Object.fromEntries(compared.map((name) => [name, hash(name)]));
}
