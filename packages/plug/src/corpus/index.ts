export { countCharacters } from './characters.js';
export { type InvalidUtf8Policy, newReadReport, type ReadReport } from './files.js';
export { type JsonLinesOptions, readJsonLines } from './json-lines.js';
export { type PlainTextOptions, readPlainText } from './plain-text.js';
export {
  anonymousAuthor,
  type Poem,
  type PoemOptions,
  type PoetryCounts,
  type PoetryReport,
  readPoems,
} from './poems.js';
export { type PoetryCollection, poetryCollections, poetryRoot } from './poetry-collections.js';
export {
  documentsFromPoems,
  type PoetryDocument,
  type PoetryDocumentOptions,
  poemSentences,
  readPoetryDocuments,
} from './poetry-documents.js';
export { splitSentences } from './sentences.js';
export { type Split, splitOf } from './split.js';
export { type TokenCorpusIndex, vocabularySha256 } from './token-format.js';
export { type MappedTokenCorpus, openTokenCorpus, tokenCorpusFromDocuments } from './token-reader.js';
export {
  type CorpusSummary,
  type SplitSummary,
  type WriteTokenCorpusOptions,
  writeTokenCorpus,
} from './token-writer.js';
export type { CorpusTokenizer, TextDocument, TokenCorpus, TokenDocument } from './types.js';
