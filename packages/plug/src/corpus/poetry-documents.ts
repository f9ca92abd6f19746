// Poems joined into documents. A poem is far shorter than the lengths that pre-training cuts, so poems of one
// author follow one another in one document, each after a line with its title.
import { ConfigError } from '../errors.js';
import { countCharacters } from './characters.js';
import { type Poem, type PoemOptions, readPoems } from './poems.js';
import { titleLine } from './poetry-cleaning.js';
import { splitSentences } from './sentences.js';
import type { TextDocument } from './types.js';

/** A document with the poems that are in it: a task made from poems can keep to one side of the split. */
export interface PoetryDocument extends TextDocument {
  poems: Poem[];
}

export interface PoetryDocumentOptions extends PoemOptions {
  /** A document is closed before it would pass this many characters; poems are never cut. Default 1500. */
  maxCharacters?: number;
}

/** The documents of `readPoems`; see `documentsFromPoems`. */
export function readPoetryDocuments(options: PoetryDocumentOptions = {}): Generator<PoetryDocument> {
  return documentsFromPoems(readPoems(options), options);
}

/**
 * Joins poems of the same author and collection, also if they do not follow one another. Ids are
 * `collection/author/n`, n counted from 0; sentences are the title line and the sentences of the poem's lines.
 * Documents come out as they fill up, those not full at the end of their collection. Poems of one collection
 * must follow one another.
 *
 * @throws ConfigError if `maxCharacters` is not a positive number.
 */
export function* documentsFromPoems(
  poems: Iterable<Poem>,
  options: Pick<PoetryDocumentOptions, 'maxCharacters'> = {},
): Generator<PoetryDocument> {
  const { maxCharacters = 1500 } = options;
  if (!(maxCharacters > 0)) {
    throw new ConfigError(`maxCharacters is ${maxCharacters}, expected a positive number of characters.`);
  }
  let open = new Map<string, OpenDocument>();
  let collection: string | undefined;
  for (const poem of poems) {
    if (poem.collection !== collection) {
      yield* closeAll(open);
      open = new Map();
      collection = poem.collection;
    }
    const sentences = poemSentences(poem);
    const characters = sentences.reduce((total, sentence) => total + countCharacters(sentence), 0);
    let current = open.get(poem.author) ?? { number: 0, characters: 0, sentences: [], poems: [] };
    if (current.poems.length > 0 && current.characters + characters > maxCharacters) {
      yield toDocument(current);
      current = { number: current.number + 1, characters: 0, sentences: [], poems: [] };
    }
    current.characters += characters;
    current.sentences.push(...sentences);
    current.poems.push(poem);
    open.set(poem.author, current);
  }
  yield* closeAll(open);
}

/** A poem's sentences: the title line, if it has a title, then its lines split into sentences. */
export function poemSentences(poem: Poem): string[] {
  const body = poem.lines.flatMap(splitSentences);
  return poem.title === '' ? body : [titleLine(poem.title), ...body];
}

interface OpenDocument {
  number: number;
  characters: number;
  sentences: string[];
  poems: Poem[];
}

function* closeAll(open: Map<string, OpenDocument>): Generator<PoetryDocument> {
  for (const current of open.values()) yield toDocument(current);
}

function toDocument({ number, sentences, poems }: OpenDocument): PoetryDocument {
  const { collection, author } = poems[0]!;
  return { id: `${collection}/${author}/${number}`, sentences, source: collection, poems };
}
