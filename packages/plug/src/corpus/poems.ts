// Poems one by one, cleaned and without copies: many a poem stands in the files twice, under two names or with a
// line that differs, and a copy on the other side of the held-out split would flatter the held-out figures.
import { ConfigError, CorpusError } from '../errors.js';
import { countCharacters } from './characters.js';
import { cleanBody, cleanTitle, returnSpilledText } from './poetry-cleaning.js';
import { type PoetryCollection, poetryCollections, poetryRoot, readRawPoems } from './poetry-collections.js';
import { splitSentences } from './sentences.js';

export interface Poem {
  collection: PoetryCollection;
  /** `佚名` if nobody knows. */
  author: string;
  /** Empty if there is none, or if it has lost characters. */
  title: string;
  /** Lines as printed, each with its punctuation; often a couplet. Never empty. */
  lines: string[];
}

/** The author of poems without a known one. */
export const anonymousAuthor = '佚名';

const anonymousNames = new Set([
  '',
  '不詳',
  '不详',
  '無名氏',
  '无名氏',
  '佚名',
  '失名',
  '闕名',
  '阙名',
  '无名',
  '無名',
]);

/** What was read from one collection, and what was left out and why. */
export interface PoetryCounts {
  /** Records in the files read so far. */
  read: number;
  /** Poems handed out. */
  kept: number;
  /** Left out: no line, or none after notes were removed. */
  empty: number;
  /** Left out: lost or garbled characters. */
  damaged: number;
  /** Left out: more than half of its sentences stand in poems before it, of any collection read. */
  duplicate: number;
  /** Editors' notes and stage directions removed from poems that were kept. */
  notesRemoved: number;
  /** Poems kept whose title was missing or had lost characters. */
  untitled: number;
  /** Characters (code points) of the lines that were kept, titles not counted. */
  characters: number;
}

export type PoetryReport = Partial<Record<PoetryCollection, PoetryCounts>>;

export interface PoemOptions {
  /** Which collections, in this order. Default: all. */
  collections?: readonly PoetryCollection[];
  /** At most this many poems of each collection, the first ones. Default: no limit. */
  limit?: number;
  /** The package's `dist` folder. Default: that of the installed package. */
  root?: string;
  /** Filled as poems are taken. */
  report?: PoetryReport;
}

/**
 * Poems in the order of the files, the same on every machine.
 *
 * @throws ConfigError for an unknown collection or a limit that is not a positive whole number.
 * @throws CorpusError if the package is missing or damaged, or no poem is left.
 */
export function* readPoems(options: PoemOptions = {}): Generator<Poem> {
  const { collections = poetryCollections, limit = Number.POSITIVE_INFINITY, report = {} } = options;
  if (limit !== Number.POSITIVE_INFINITY && !(Number.isInteger(limit) && limit > 0)) {
    throw new ConfigError(
      `limit is ${limit}, expected a positive whole number of poems. Leave it out to read all.`,
    );
  }
  for (const collection of collections) {
    if (!poetryCollections.includes(collection)) {
      throw new ConfigError(
        `unknown collection '${collection}'. Choose among ${poetryCollections.join(', ')}.`,
      );
    }
  }
  const root = options.root ?? poetryRoot();
  const seen = new Set<string>();
  for (const collection of new Set(collections)) {
    const counts = newCounts();
    report[collection] = counts;
    for (const raw of readRawPoems(collection, root)) {
      if (counts.kept >= limit) break;
      counts.read++;
      const isDrama = collection === 'yuanqu';
      const source = isDrama ? returnSpilledText(raw.title, raw.paragraphs) : raw;
      const { lines, damaged, notes } = cleanBody(source.paragraphs, isDrama);
      if (lines.length === 0) {
        counts.empty++;
      } else if (damaged) {
        counts.damaged++;
      } else if (isCopy(lines, seen)) {
        counts.duplicate++;
      } else {
        const title = cleanTitle(source.title, lines);
        const author = raw.author.replace(/\s+/g, '');
        counts.kept++;
        counts.notesRemoved += notes;
        if (title === '') counts.untitled++;
        for (const line of lines) counts.characters += countCharacters(line);
        yield { collection, author: anonymousNames.has(author) ? anonymousAuthor : author, title, lines };
      }
    }
  }
  if (seen.size === 0) {
    throw new CorpusError(
      `no poem in ${root} for ${collections.join(', ') || 'no collection'}. Name collections.`,
    );
  }
}

/** Whether most sentences were seen in poems before; if not, they are from now on. */
function isCopy(lines: readonly string[], seen: Set<string>): boolean {
  const sentences = lines.flatMap(splitSentences);
  const known = sentences.filter((sentence) => seen.has(sentence)).length;
  if (known * 2 > sentences.length) return true;
  for (const sentence of sentences) seen.add(sentence);
  return false;
}

function newCounts(): PoetryCounts {
  return {
    read: 0,
    kept: 0,
    empty: 0,
    damaged: 0,
    duplicate: 0,
    notesRemoved: 0,
    untitled: 0,
    characters: 0,
  };
}
