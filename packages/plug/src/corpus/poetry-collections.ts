// Where the collections of the npm package `chinese-poetry` (MIT) lie, and how their records are read.
//
// Left out on purpose: `error` folders (records known to be wrong), and the anthologies that hold the same
// poems again in another edition or script (yudingquantangshi, shuimotangshi, mengxue, the 300-poem selections,
// rank): near-copies on both sides of the held-out split would make the held-out figures look too good.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { CorpusError } from '../errors.js';
import { naturalCompare, readable } from './files.js';

/** The collections. `tang`, `song` and `classics` are in traditional script (but for the Analects), others in simplified. */
export const poetryCollections = [
  'tang',
  'song',
  'ci',
  'yuanqu',
  'shijing',
  'chuci',
  'caocao',
  'wudai',
  'nalan',
  'classics',
] as const;

export type PoetryCollection = (typeof poetryCollections)[number];

interface CollectionLayout {
  /** Folders below `dist`, each with a pattern for its files. */
  files: { folder: string; pattern: RegExp }[];
  /** Field with the paragraphs. */
  body: string;
  /** Fields that may hold the title, the first present wins. */
  title: string[];
  /** Author of all records of a collection that has but one. */
  author?: string;
}

const layouts: Record<PoetryCollection, CollectionLayout> = {
  tang: {
    files: [{ folder: 'quantangshi', pattern: /^poet\.tang\.\d+\.json$/ }],
    body: 'paragraphs',
    title: ['title'],
  },
  song: {
    files: [{ folder: 'quantangshi', pattern: /^poet\.song\.\d+\.json$/ }],
    body: 'paragraphs',
    title: ['title'],
  },
  ci: {
    files: [{ folder: 'songci', pattern: /^ci\.song\.\d+y?\.json$/ }],
    body: 'paragraphs',
    title: ['rhythmic'],
  },
  yuanqu: { files: [{ folder: 'yuanqu', pattern: /^yuanqu\.json$/ }], body: 'paragraphs', title: ['title'] },
  shijing: { files: [{ folder: 'shijing', pattern: /^shijing\.json$/ }], body: 'content', title: ['title'] },
  chuci: { files: [{ folder: 'chuci', pattern: /^chuci\.json$/ }], body: 'content', title: ['title'] },
  caocao: {
    files: [{ folder: 'caocaoshiji', pattern: /^caocao\.json$/ }],
    body: 'paragraphs',
    title: ['title'],
    author: '曹操',
  },
  wudai: {
    files: [
      { folder: 'wudaishici/huajianji', pattern: /^huajianji-\w+-juan\.json$/ },
      { folder: 'wudaishici/nantang', pattern: /^poetrys\.json$/ },
    ],
    body: 'paragraphs',
    title: ['title', 'rhythmic'],
  },
  nalan: {
    files: [{ folder: 'nalanxingde', pattern: /\.json$/ }],
    body: 'para',
    title: ['title'],
    author: '纳兰性德',
  },
  classics: {
    files: [
      { folder: 'lunyu', pattern: /^lunyu\.json$/ },
      { folder: 'sishuwujing', pattern: /\.json$/ },
    ],
    body: 'paragraphs',
    title: ['chapter'],
  },
};

/** A poem as it stands in the files. */
export interface RawPoem {
  author: string;
  title: string;
  paragraphs: string[];
}

/**
 * The `dist` folder of the installed package.
 * @throws CorpusError if the package is not installed.
 */
export function poetryRoot(): string {
  const packageFile = 'chinese-poetry/package.json';
  try {
    return join(dirname(createRequire(import.meta.url).resolve(packageFile)), 'dist');
  } catch (cause) {
    throw new CorpusError(
      "the npm package 'chinese-poetry' is not installed. Run npm install, or name its dist folder.",
      {
        cause,
      },
    );
  }
}

/**
 * The records of one collection, file by file in natural order.
 *
 * @param root the package's `dist` folder.
 * @throws CorpusError if a file is missing, cannot be read, or does not hold what it should.
 */
export function* readRawPoems(collection: PoetryCollection, root: string): Generator<RawPoem> {
  const layout = layouts[collection];
  for (const { folder, pattern } of layout.files) {
    const path = join(root, folder);
    if (!existsSync(path)) {
      throw new CorpusError(
        `${path} does not exist, expected the files of collection '${collection}'. Is ${root} the dist folder of chinese-poetry?`,
      );
    }
    const names = readable(path, () => readdirSync(path)).filter((name) => pattern.test(name));
    if (names.length === 0) {
      throw new CorpusError(
        `${path} has no file of collection '${collection}' (${pattern}). Install chinese-poetry again.`,
      );
    }
    for (const name of names.sort(naturalCompare)) yield* readFile(join(path, name), layout);
  }
}

function* readFile(path: string, layout: CollectionLayout): Generator<RawPoem> {
  const text = readable(path, () => readFileSync(path, 'utf8'));
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (cause) {
    throw new CorpusError(`${path} is not JSON: it is damaged. Install chinese-poetry again.`, { cause });
  }
  for (const record of Array.isArray(content) ? content : [content]) {
    const fields = record as Record<string, unknown> | null;
    const paragraphs = fields?.[layout.body] ?? [];
    if (!Array.isArray(paragraphs)) {
      throw new CorpusError(
        `${path}: field '${layout.body}' should be an array, got ${typeof paragraphs}. Install chinese-poetry again.`,
      );
    }
    const title = layout.title
      .map((name) => fields?.[name])
      .find((value) => typeof value === 'string' && value !== '');
    const author = fields?.author;
    yield {
      author: typeof author === 'string' && author !== '' ? author : (layout.author ?? ''),
      title: typeof title === 'string' ? title : '',
      paragraphs: paragraphs.filter((paragraph) => typeof paragraph === 'string'),
    };
  }
}
