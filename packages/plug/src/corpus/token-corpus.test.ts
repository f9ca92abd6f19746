import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError, CorpusError, DisposedError } from '../errors.js';
import { tokenizerFromVocabulary } from '../text/index.js';
import { writing } from './output-file.js';
import { splitOf } from './split.js';
import { vocabularySha256 } from './token-format.js';
import { openTokenCorpus, tokenCorpusFromDocuments } from './token-reader.js';
import { writeTokenCorpus } from './token-writer.js';
import type { CorpusTokenizer, TextDocument, TokenCorpus } from './types.js';

const folder = mkdtempSync(join(tmpdir(), 'openplug-tokens-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let folders = 0;
const newFolder = (): string => join(folder, `corpus-${folders++}`);

/** One id per UTF-16 unit; spaces give none. */
function tokenizerOf(vocabSize: number): CorpusTokenizer {
  return {
    vocabSize,
    encode: (text) =>
      Int32Array.from([...text.replaceAll(' ', '')].map((unit) => unit.charCodeAt(0) % vocabSize)),
    idToToken: (id) => `t${id}`,
  };
}

function textDocuments(count: number): TextDocument[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `d${index}`,
    sentences: Array.from({ length: 1 + (index % 4) }, (_, at) =>
      '春江花月夜'.slice(0, 1 + ((index + at) % 5)),
    ),
    source: 'test',
  }));
}

/** A folder's files by name. */
function filesOf(path: string): Record<string, Buffer> {
  const names = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    names.map(({ path: at, name }) => [join(at, name).slice(path.length), readFileSync(join(at, name))]),
  );
}

function contents(corpus: TokenCorpus): { tokens: number[]; starts: number[] }[] {
  return Array.from({ length: corpus.numDocuments }, (_, index) => {
    const { tokens, sentenceStarts } = corpus.document(index);
    assert.equal(corpus.documentLength(index), tokens.length);
    return { tokens: [...tokens], starts: [...sentenceStarts] };
  });
}

function encoded(
  documents: TextDocument[],
  tokenizer: CorpusTokenizer,
): { tokens: number[]; starts: number[] }[] {
  return documents.map(({ sentences }) => {
    const tokens: number[] = [];
    const starts: number[] = [];
    for (const sentence of sentences) {
      const ids = tokenizer.encode(sentence);
      if (ids.length > 0) starts.push(tokens.length);
      tokens.push(...Array.from(ids));
    }
    return { tokens, starts };
  });
}

describe('writeTokenCorpus and openTokenCorpus', () => {
  it('give back the tokens and sentences of every document, whatever the shards', () => {
    const document = fc.array(fc.constantFrom('', ' ', '春', '江花', '月夜何如'), { maxLength: 5 });
    fc.assert(
      fc.property(
        fc.array(document, { maxLength: 25 }),
        fc.integer({ min: 1, max: 60 }),
        fc.constantFrom(100, 65536, 65537, 100_000),
        fc.constantFrom(0, 0.3),
        (texts, shardBytes, vocabSize, heldOutFraction) => {
          const documents = texts.map((sentences, index) => ({ id: `d${index}`, sentences, source: 'test' }));
          const tokenizer = tokenizerOf(vocabSize);
          const usable = documents.filter(({ sentences }) => sentences.join('').trim() !== '');
          const expected = (split: string): TextDocument[] =>
            usable.filter(({ id }) => splitOf(id, heldOutFraction) === split);
          const target = newFolder();
          const write = () => writeTokenCorpus(target, documents, tokenizer, { heldOutFraction, shardBytes });
          if (expected('train').length === 0) {
            assert.throws(write, /no document is left for training/);
            assert.equal(existsSync(target), false);
            return;
          }
          const summary = write();
          assert.equal(summary.emptyDocuments, documents.length - usable.length);
          for (const split of ['train', 'heldOut'] as const) {
            const corpus = openTokenCorpus(join(target, split), { verify: true });
            const wanted = encoded(expected(split), tokenizer);
            assert.deepEqual(contents(corpus), wanted);
            assert.equal(
              corpus.numTokens,
              wanted.reduce((total, { tokens }) => total + tokens.length, 0),
            );
            assert.equal(corpus.numTokens, summary[split].tokens);
            assert.equal(corpus.index.dtype, vocabSize <= 65536 ? 'uint16' : 'uint32');
            assert.equal(corpus.index.shards.length, summary[split].shards);
            for (const shard of corpus.index.shards)
              assert.ok(shard.bytes <= shardBytes || shard.numDocuments === 1);
            corpus.close();
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it('write the same bytes for the same documents', () => {
    const [first, second] = [newFolder(), newFolder()];
    const options = { heldOutFraction: 0.3, shardBytes: 100 };
    writeTokenCorpus(first, textDocuments(60), tokenizerOf(500), options);
    writeTokenCorpus(second, textDocuments(60), tokenizerOf(500), options);
    assert.ok(Object.keys(filesOf(first)).length > 10);
    assert.deepEqual(filesOf(first), filesOf(second));
    writeTokenCorpus(second, textDocuments(60), tokenizerOf(500), { ...options, overwrite: true });
    assert.deepEqual(filesOf(first), filesOf(second));
  });

  it('take the tokenizer of the text room', () => {
    const tokenizer = tokenizerFromVocabulary([
      '[PAD]',
      '[UNK]',
      '[CLS]',
      '[SEP]',
      '[MASK]',
      ...'春江花月夜',
    ]);
    const target = newFolder();
    writeTokenCorpus(target, [{ id: 'a', sentences: ['春江', '花月夜'], source: '' }], tokenizer, {
      heldOutFraction: 0,
    });
    const corpus = openTokenCorpus(join(target, 'train'));
    const { tokens, sentenceStarts } = corpus.document(0);
    assert.deepEqual([tokenizer.decode(tokens), [...sentenceStarts]], ['春江花月夜', [0, 2]]);
    assert.equal(corpus.index.vocabularySha256, vocabularySha256(tokenizer));
    const other = tokenizerFromVocabulary(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...'春江花夜月']);
    assert.notEqual(corpus.index.vocabularySha256, vocabularySha256(other));
  });

  it('write documents longer than their buffer', () => {
    const target = newFolder();
    const text = '春'.repeat(300_000);
    writeTokenCorpus(target, [{ id: 'a', sentences: ['江', text, '花'], source: '' }], tokenizerOf(60_000), {
      heldOutFraction: 0,
    });
    const { tokens, sentenceStarts } = openTokenCorpus(join(target, 'train'), { verify: true }).document(0);
    assert.deepEqual([...sentenceStarts], [0, 1, 300_001]);
    assert.equal(tokens.length, 300_002);
    assert.equal(tokens[300_000], '春'.charCodeAt(0));
    assert.equal(tokens[300_001], '花'.charCodeAt(0));
  });

  it('leave nothing behind when the documents fail half-way, and what was there stays', () => {
    const target = newFolder();
    function* failing(): Generator<TextDocument> {
      yield* textDocuments(50);
      throw new Error('the source is gone');
    }
    const options = { shardBytes: 20, heldOutFraction: 0.2 };
    assert.throws(
      () => writeTokenCorpus(target, failing(), tokenizerOf(500), options),
      /^Error: the source is gone$/,
    );
    assert.equal(existsSync(target), false);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.includes('partial')),
      [],
    );

    writeTokenCorpus(target, textDocuments(20), tokenizerOf(500), options);
    const before = filesOf(target);
    const replace = () =>
      writeTokenCorpus(target, failing(), tokenizerOf(500), { ...options, overwrite: true });
    assert.throws(replace, /the source is gone/);
    assert.deepEqual(filesOf(target), before);
  });

  it('leave no corpus when the process is killed while writing', () => {
    const target = newFolder();
    const writer = new URL('./token-writer.js', import.meta.url).href;
    const script = `
      const { writeTokenCorpus } = await import(${JSON.stringify(writer)});
      function* documents() {
        for (let index = 0; index < 5000; index++) yield { id: 'd' + index, sentences: ['春江'], source: '' };
        process.kill(process.pid, 'SIGKILL');
      }
      writeTokenCorpus(${JSON.stringify(target)}, documents(), { vocabSize: 70000, encode: () => [1, 2] }, { shardBytes: 1000 });
    `;
    const { signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script]);
    assert.equal(signal, 'SIGKILL');
    assert.equal(existsSync(target), false);
    assert.throws(() => openTokenCorpus(join(target, 'train')), /not a finished token corpus/);
    writeTokenCorpus(target, textDocuments(5), tokenizerOf(500), { heldOutFraction: 0 });
    assert.equal(openTokenCorpus(join(target, 'train'), { verify: true }).numDocuments, 5);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.includes('partial')),
      [],
    );
  });

  it('say what to do when the disk is full', () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    const write = (): never =>
      writing('/data/tokens-00000.bin', () => {
        throw full;
      });
    assert.throws(
      write,
      (error) =>
        error instanceof CorpusError &&
        error.cause === full &&
        /tokens-00000\.bin.*Free some space/.test(error.message),
    );
  });

  it('do not take the rest of a killed write for a corpus, and write over it', () => {
    const target = newFolder();
    const partial = join(folder, `.${target.slice(folder.length + 1)}.partial`);
    mkdirSync(join(partial, 'train'), { recursive: true });
    writeFileSync(join(partial, 'train', 'tokens-00000.bin'), 'half');
    assert.throws(() => openTokenCorpus(join(partial, 'train')), /not a finished token corpus/);
    writeTokenCorpus(target, textDocuments(5), tokenizerOf(500), { heldOutFraction: 0 });
    assert.equal(existsSync(partial), false);
    assert.equal(openTokenCorpus(join(target, 'train'), { verify: true }).numDocuments, 5);
  });

  it('refuse a target in use, ids outside the vocabulary, and wrong settings', () => {
    const documents = textDocuments(5);
    const target = newFolder();
    writeTokenCorpus(target, documents, tokenizerOf(500), { heldOutFraction: 0 });
    assert.throws(() => writeTokenCorpus(target, documents, tokenizerOf(500)), /already holds a corpus/);
    const other = newFolder();
    mkdirSync(other);
    writeFileSync(join(other, 'notes.txt'), 'mine');
    const overwrite = () => writeTokenCorpus(other, documents, tokenizerOf(500), { overwrite: true });
    assert.throws(overwrite, /not empty and not a token corpus/);
    assert.deepEqual(readdirSync(other), ['notes.txt']);
    const liar = { ...tokenizerOf(500), vocabSize: 3 };
    assert.throws(
      () => writeTokenCorpus(newFolder(), documents, liar),
      /gave id \d+, expected ids from 0 to 2/,
    );
    assert.throws(
      () => writeTokenCorpus(newFolder(), documents, tokenizerOf(5), { shardBytes: 0 }),
      ConfigError,
    );
    const below = join(other, 'notes.txt', 'corpus');
    assert.throws(
      () => writeTokenCorpus(below, documents, tokenizerOf(500)),
      (error) => error instanceof CorpusError && /cannot (write|read)/.test(error.message),
    );
  });
});

describe('openTokenCorpus on damaged files', () => {
  const source = newFolder();
  writeTokenCorpus(source, textDocuments(40), tokenizerOf(500), { heldOutFraction: 0, shardBytes: 80 });

  /** Opens a copy after something was done to it; gives the error's text. */
  function fault(damage: (train: string) => void, options: { verify?: boolean } = {}): string {
    const copy = newFolder();
    cpSync(source, copy, { recursive: true });
    const train = join(copy, 'train');
    damage(train);
    try {
      openTokenCorpus(train, options);
    } catch (error) {
      assert.ok(error instanceof CorpusError, String(error));
      return error.message;
    }
    return '';
  }

  it('names a truncated or grown file with the size it has and should have', () => {
    for (const name of readdirSync(join(source, 'train')).filter((file) => file.endsWith('.bin'))) {
      const size = readFileSync(join(source, 'train', name)).length;
      const cut = fault((train) => truncateSync(join(train, name), size - 1));
      assert.match(cut, new RegExp(`${name} is damaged: it has ${size - 1} bytes, expected ${size}`));
      assert.match(
        fault((train) => truncateSync(join(train, name), size + 4)),
        new RegExp(`${name}.* ${size + 4} bytes, expected ${size}`),
      );
      assert.match(
        fault((train) => rmSync(join(train, name))),
        new RegExp(`cannot read .*${name}: it does not exist`),
      );
    }
  });

  it('finds any changed byte when asked to verify', () => {
    const files = readdirSync(join(source, 'train')).filter((name) => name.endsWith('.bin'));
    fc.assert(
      fc.property(
        fc.constantFrom(...files),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (name, position, change) => {
          const message = fault(
            (train) => {
              const bytes = readFileSync(join(train, name));
              bytes[position % bytes.length]! ^= change;
              writeFileSync(join(train, name), bytes);
            },
            { verify: true },
          );
          assert.match(message, new RegExp(`${name} is damaged: its SHA-256 is`));
        },
      ),
      { numRuns: 25 },
    );
  });

  it('refuses a missing, broken or contradictory index', () => {
    const change = (edit: (index: Record<string, unknown>) => void) => (train: string) => {
      const index = JSON.parse(readFileSync(join(train, 'index.json'), 'utf8'));
      edit(index);
      writeFileSync(join(train, 'index.json'), JSON.stringify(index));
    };
    const faults: [(train: string) => void, RegExp][] = [
      [(train) => rmSync(join(train, 'index.json')), /has no index\.json. Write the corpus again/],
      [(train) => truncateSync(join(train, 'index.json'), 100), /index\.json is damaged: it is not JSON/],
      [change((index) => Object.assign(index, { version: 2 })), /another version: version/],
      [change((index) => Object.assign(index, { surplus: 2 })), /surplus/],
      [
        change((index) => Object.assign(index, { numTokens: 1 })),
        /tokens in the shards: got \d+, expected 1\./,
      ],
      [
        change((index) => Object.assign(index, { numSentences: 1 })),
        /bytes of sentences.bin: got \d+, expected 4\./,
      ],
    ];
    for (const [damage, message] of faults) assert.match(fault(damage), message);
    assert.throws(() => openTokenCorpus(source), /Open .*train or .*heldOut/);
  });

  it('refuses a document table that contradicts the index', () => {
    const message = fault((train) => {
      const bytes = readFileSync(join(train, 'documents.bin'));
      bytes[bytes.length - 16]! ^= 1;
      writeFileSync(join(train, 'documents.bin'), bytes);
    });
    assert.match(message, /documents\.bin is damaged: tokens: got \d+, expected \d+/);
  });

  it('refuses documents that do not exist, and all of them after close', () => {
    const corpus = openTokenCorpus(join(source, 'train'));
    for (const index of [-1, 40, 0.5, Number.NaN]) {
      assert.throws(() => corpus.document(index), RangeError);
      assert.throws(() => corpus.documentLength(index), RangeError);
    }
    const { tokens } = corpus.document(3);
    const kept = [...tokens];
    corpus.close();
    corpus.close();
    assert.throws(() => corpus.document(0), DisposedError);
    assert.deepEqual([...tokens], kept);
  });
});

describe('tokenCorpusFromDocuments', () => {
  it('gives the documents back and checks them', () => {
    const documents = [
      { tokens: Uint16Array.of(5, 6, 7), sentenceStarts: Uint32Array.of(0, 2) },
      { tokens: Uint16Array.of(8), sentenceStarts: Uint32Array.of(0) },
    ];
    const corpus = tokenCorpusFromDocuments(documents);
    assert.equal(corpus.numDocuments, 2);
    assert.equal(corpus.numTokens, 4);
    assert.equal(corpus.documentLength(0), 3);
    assert.deepEqual(corpus.document(1), documents[1]);
    assert.throws(() => corpus.document(2), RangeError);
    for (const starts of [[], [1], [0, 0], [0, 3]]) {
      const bad = [{ tokens: Uint16Array.of(5, 6, 7), sentenceStarts: Uint32Array.from(starts) }];
      assert.throws(() => tokenCorpusFromDocuments(bad), CorpusError, `${starts}`);
    }
  });
});
