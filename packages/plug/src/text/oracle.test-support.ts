// The oracle of the text tests: the `tokenizers` package, Hugging Face's own implementation, set up as
// BertTokenizerFast is; and the real data, where it is present.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bertNormalizer, bertPreTokenizer, Tokenizer as ReferenceTokenizer, WordPiece } from 'tokenizers';
import type { NormalizationOptions } from './bert-normalizer.js';
import { SPECIAL_TOKENS, type Tokenizer } from './tokenizer.js';

const repository = fileURLToPath(new URL('../../../../', import.meta.url));
const sharedData = join(process.env.OPENPLUG_SHARED ?? join(repository, '..', 'shared'), 'data');

/** The path of a file of the shared test data, or undefined where it is not present. */
export function sharedFile(...parts: string[]): string | undefined {
  const path = join(sharedData, ...parts);
  return existsSync(path) ? path : undefined;
}

/** For the `skip` option of a test: a message when the file is absent, otherwise false. */
export function unlessShared(...parts: string[]): string | false {
  return sharedFile(...parts) === undefined ? `needs ${join(...parts)} of the shared test data` : false;
}

/** The string values of the rows of a JSON-lines file of the shared data. */
export function sharedTexts(...parts: string[]): string[] {
  const path = sharedFile(...parts);
  assert.ok(path !== undefined);
  const rows = readFileSync(path, 'utf8').trim().split('\n');
  return rows.flatMap((row) => Object.values(JSON.parse(row)).filter((value) => typeof value === 'string'));
}

/** The reference tokenizer over a vocabulary. */
export function referenceTokenizer(
  tokens: readonly string[],
  options: NormalizationOptions = {},
): ReferenceTokenizer {
  const vocabulary = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const reference = new ReferenceTokenizer(
    WordPiece.init(vocabulary, {
      unkToken: SPECIAL_TOKENS.unk,
      continuingSubwordPrefix: '##',
      maxInputCharsPerWord: 100,
    }),
  );
  reference.setNormalizer(
    bertNormalizer({
      cleanText: true,
      handleChineseChars: options.tokenizeChineseChars ?? true,
      lowercase: options.doLowerCase ?? true,
      stripAccents: options.stripAccents,
    }),
  );
  reference.setPreTokenizer(bertPreTokenizer());
  reference.addSpecialTokens(Object.values(SPECIAL_TOKENS));
  return reference;
}

/** Asserts that both give the same ids for every text. */
export async function assertSameIds(
  tokenizer: Tokenizer,
  reference: ReferenceTokenizer,
  texts: readonly string[],
): Promise<void> {
  const expected = await reference.encodeBatch([...texts], { addSpecialTokens: false });
  texts.forEach((text, index) => {
    const ids = [...tokenizer.encode(text)];
    const expectedIds = expected[index]?.getIds();
    assert.deepEqual(ids, expectedIds, `ids differ from the oracle for ${JSON.stringify(text)}`);
  });
}
