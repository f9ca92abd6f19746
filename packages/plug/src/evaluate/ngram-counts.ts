// Counts of all n-grams of a corpus up to a given order, in typed arrays, for the n-gram language model.
//
// N-grams are found by sorting text positions (one stable counting sort per symbol), which is fast, exact,
// needs no hashing and leaves each level sorted. A level holds the contexts of one length as a trie read
// backwards (the newest symbol first), so that one walk visits all shorter contexts of a history.
//
// Counts follow Kneser and Ney: of the highest order they are plain counts; of a lower order the count of
// an n-gram is the number of distinct symbols seen before it, except that an n-gram which begins a document
// has its plain count, because nothing but the begin symbol can precede it (Chen & Goodman 1998, §4.1.6;
// Heafield et al. 2013, "Scalable Modified Kneser-Ney Language Model Estimation", §2).
import { ConfigError, CorpusError, TokenizerError } from '../errors.js';

/** Symbols fit 16 bits for every published vocabulary; 32 bits otherwise. */
export type SymbolArray = Uint16Array | Uint32Array;

/** All n-grams of order k + 1: contexts of length k, and the words that follow each. */
export interface NgramLevel {
  /** The oldest symbol of each context; with the parent in the level below it spells the context. */
  readonly contextSymbols: SymbolArray;
  /** Context c has the longer contexts childStart[c] … childStart[c + 1] − 1 of the next level. */
  readonly childStart: Uint32Array;
  /** Context c is followed by words[wordStart[c]] … words[wordStart[c + 1] − 1], ascending. */
  readonly wordStart: Uint32Array;
  readonly words: SymbolArray;
  /** Count of each context–word pair, at least 1. */
  readonly counts: Uint32Array;
}

interface Stream {
  /** Documents one after another, each after one begin symbol (the id `vocabSize`). */
  readonly symbols: SymbolArray;
  /** Positions of the begin symbols. */
  readonly documentStarts: Uint32Array;
}

/**
 * Counts the n-grams of orders 1 to `order`; element k of the result has the contexts of length k.
 * Throws CorpusError without any token, TokenizerError for an id outside the vocabulary.
 */
export function countNgrams(
  documents: Iterable<ArrayLike<number>>,
  order: number,
  vocabSize: number,
): NgramLevel[] {
  if (!Number.isInteger(order) || order < 1 || order > 16) {
    throw new ConfigError(`n-gram order must be an integer from 1 to 16, got ${order}.`);
  }
  if (!Number.isInteger(vocabSize) || vocabSize < 1) {
    throw new ConfigError(`vocabSize must be a positive integer, got ${vocabSize}.`);
  }
  const stream = readStream(documents, vocabSize);
  const levels: NgramLevel[] = [];
  let longer: { representatives: Uint32Array; contextRepresentatives: Uint32Array } | undefined;
  for (let n = order; n >= 1; n--) {
    const positions = longer
      ? joinPositions(longer.representatives, positionsAfterBegin(stream, n))
      : positionsWithFullContext(stream, n);
    sortPositions(positions, stream.symbols, n, vocabSize + 1);
    const found = collectLevel(positions, stream.symbols, n);
    const childStart = longer
      ? linkChildren(found.contextRepresentatives, longer.contextRepresentatives, stream.symbols, n - 1)
      : new Uint32Array(0);
    levels.unshift({ ...found.level, childStart });
    longer = found;
  }
  return levels;
}

function readStream(documents: Iterable<ArrayLike<number>>, vocabSize: number): Stream {
  const make = (length: number): SymbolArray =>
    vocabSize <= 0xffff ? new Uint16Array(length) : new Uint32Array(length);
  let symbols = make(1 << 16);
  let length = 0;
  const starts: number[] = [];
  for (const document of documents) {
    if (document.length === 0) continue;
    if (length + document.length + 1 > symbols.length) {
      const larger = make(Math.max(symbols.length * 2, length + document.length + 1));
      larger.set(symbols.subarray(0, length));
      symbols = larger;
    }
    starts.push(length);
    symbols[length++] = vocabSize;
    for (let i = 0; i < document.length; i++) {
      const id = document[i]!;
      if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
        throw new TokenizerError(
          `Document ${starts.length - 1} has the id ${id} at position ${i}; ids must be 0 to ${vocabSize - 1}.`,
        );
      }
      symbols[length++] = id;
    }
  }
  if (starts.length === 0) {
    throw new CorpusError('No text to count n-grams of: every document is empty. Check the corpus folder.');
  }
  return { symbols: symbols.subarray(0, length), documentStarts: Uint32Array.from(starts) };
}

/** Positions of words that have at least n − 1 symbols (begin symbol included) before them. */
function positionsWithFullContext({ symbols, documentStarts }: Stream, n: number): Uint32Array {
  const positions = new Uint32Array(symbols.length);
  let used = 0;
  for (let d = 0; d < documentStarts.length; d++) {
    const end = d + 1 < documentStarts.length ? documentStarts[d + 1]! : symbols.length;
    for (let i = documentStarts[d]! + Math.max(1, n - 1); i < end; i++) positions[used++] = i;
  }
  return positions.subarray(0, used);
}

/** Positions of words whose n-gram begins with the begin symbol. */
function positionsAfterBegin({ symbols, documentStarts }: Stream, n: number): Uint32Array {
  if (n < 2) return new Uint32Array(0); // the begin symbol itself is given, never predicted
  const positions = new Uint32Array(documentStarts.length);
  let used = 0;
  for (let d = 0; d < documentStarts.length; d++) {
    const end = d + 1 < documentStarts.length ? documentStarts[d + 1]! : symbols.length;
    const position = documentStarts[d]! + n - 1;
    if (position < end) positions[used++] = position;
  }
  return positions.subarray(0, used);
}

function joinPositions(first: Uint32Array, second: Uint32Array): Uint32Array {
  const joined = new Uint32Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}

/** Sorts in place by the symbol one before, then two before, …, then n − 1 before, and last by the word. */
function sortPositions(positions: Uint32Array, symbols: SymbolArray, n: number, numSymbols: number): void {
  let from = positions;
  let to: Uint32Array = new Uint32Array(positions.length);
  // Least significant key first; each pass is stable.
  for (let pass = 0; pass < n; pass++) {
    const offset = pass === 0 ? 0 : n - pass;
    const next = new Uint32Array(numSymbols);
    for (let i = 0; i < from.length; i++) next[symbols[from[i]! - offset]!]!++;
    let total = 0;
    for (let s = 0; s < numSymbols; s++) {
      const count = next[s]!;
      next[s] = total;
      total += count;
    }
    for (let i = 0; i < from.length; i++) {
      const position = from[i]!;
      to[next[symbols[position - offset]!]!++] = position;
    }
    [from, to] = [to, from];
  }
  if (from !== positions) positions.set(from);
}

function collectLevel(positions: Uint32Array, symbols: SymbolArray, n: number) {
  const counts = new Uint32Array(positions.length);
  const representatives = new Uint32Array(positions.length);
  const contextRepresentatives = new Uint32Array(positions.length);
  const wordStart = new Uint32Array(positions.length + 1);
  let numGrams = 0;
  let numContexts = 0;
  for (let i = 0; i < positions.length; i++) {
    const position = positions[i]!;
    const previous = i > 0 ? positions[i - 1]! : 0;
    const newContext = i === 0 || !sameContext(position, previous, symbols, n - 1);
    if (newContext) {
      contextRepresentatives[numContexts] = position;
      wordStart[numContexts++] = numGrams;
    }
    if (newContext || symbols[position] !== symbols[previous]) representatives[numGrams++] = position;
    counts[numGrams - 1]!++;
  }
  wordStart[numContexts] = numGrams;
  const contextSymbols = symbols.slice(0, numContexts);
  for (let c = 0; c < numContexts; c++) contextSymbols[c] = symbols[contextRepresentatives[c]! - (n - 1)]!;
  const words = symbols.slice(0, numGrams);
  for (let g = 0; g < numGrams; g++) words[g] = symbols[representatives[g]!]!;
  return {
    level: {
      contextSymbols,
      wordStart: wordStart.slice(0, numContexts + 1),
      words,
      counts: counts.slice(0, numGrams),
    },
    representatives: representatives.slice(0, numGrams),
    contextRepresentatives: contextRepresentatives.slice(0, numContexts),
  };
}

function sameContext(one: number, other: number, symbols: SymbolArray, length: number): boolean {
  for (let offset = 1; offset <= length; offset++) {
    if (symbols[one - offset] !== symbols[other - offset]) return false;
  }
  return true;
}

/** Both lists are sorted alike and each longer context has its parent, so one merge finds the ranges. */
function linkChildren(
  parents: Uint32Array,
  children: Uint32Array,
  symbols: SymbolArray,
  parentLength: number,
): Uint32Array {
  const childStart = new Uint32Array(parents.length + 1);
  let child = 0;
  for (let parent = 0; parent < parents.length; parent++) {
    childStart[parent] = child;
    while (
      child < children.length &&
      sameContext(parents[parent]!, children[child]!, symbols, parentLength)
    ) {
      child++;
    }
  }
  childStart[parents.length] = child;
  return childStart;
}
