// The merging part of vocabulary training: which longer pieces to make from characters.
import { compareByCodePoint } from './unicode-properties.js';
import { CONTINUATION } from './word-piece.js';

export interface MergeOptions {
  /** How many pieces to make at most. */
  room: number;
  /** How often a piece must occur. */
  minFrequency: number;
}

interface Word {
  symbols: number[];
  frequency: number;
}

interface Pair {
  left: number;
  right: number;
  leftText: string;
  merged: string;
  count: number;
  words: Set<number>;
}

// A pair of symbols as one number; both halves stay below 2^26.
const PAIR_BASE = 2 ** 26;

/**
 * Pieces of two characters or more, in the order of their making: repeatedly the pair of neighbouring
 * symbols that is most frequent over all words becomes one symbol; of equal ones the first by code point.
 * Words with a character outside `alphabet` are left out, since the tokenizer makes them unknown.
 */
export function mergePieces(
  wordFrequencies: ReadonlyMap<string, number>,
  alphabet: readonly string[],
  { room, minFrequency }: MergeOptions,
): string[] {
  const symbols = [...alphabet];
  const symbolIds = new Map(symbols.map((symbol, id) => [symbol, id]));
  const words = splitIntoSymbols(wordFrequencies, symbolIds);
  const pairs = new Map<number, Pair>();
  const queue = new PairQueue();

  const changePair = (left: number, right: number, wordIndex: number, change: number) => {
    const key = left * PAIR_BASE + right;
    let pair = pairs.get(key);
    if (pair === undefined) {
      const merged = (symbols[left] as string) + (symbols[right] as string).slice(CONTINUATION.length);
      pair = { left, right, leftText: symbols[left] as string, merged, count: 0, words: new Set() };
      pairs.set(key, pair);
    }
    pair.count += change;
    if (change > 0) pair.words.add(wordIndex);
    return pair;
  };
  words.forEach((word, wordIndex) => {
    for (let index = 1; index < word.symbols.length; index++) {
      changePair(word.symbols[index - 1] as number, word.symbols[index] as number, wordIndex, word.frequency);
    }
  });
  for (const pair of pairs.values()) queue.push(pair);

  const pieces: string[] = [];
  while (pieces.length < room) {
    const best = queue.pop();
    if (best === undefined || best.count < minFrequency) break;
    // Two different pairs can make the same piece (a+##bc, ab+##c): it is one symbol, and one entry.
    let mergedId = symbolIds.get(best.merged);
    if (mergedId === undefined) {
      mergedId = symbols.push(best.merged) - 1;
      symbolIds.set(best.merged, mergedId);
      pieces.push(best.merged);
    }
    const grown = new Set<Pair>();
    for (const wordIndex of best.words) {
      const word = words[wordIndex] as Word;
      const old = word.symbols;
      const merged = mergeIn(old, best.left, best.right, mergedId);
      if (merged.length === old.length) continue;
      for (let index = 1; index < old.length; index++)
        changePair(old[index - 1] as number, old[index] as number, wordIndex, -word.frequency);
      for (let index = 1; index < merged.length; index++)
        grown.add(
          changePair(merged[index - 1] as number, merged[index] as number, wordIndex, word.frequency),
        );
      word.symbols = merged;
    }
    best.words.clear();
    for (const pair of grown) queue.push(pair);
  }
  return pieces;
}

function splitIntoSymbols(
  wordFrequencies: ReadonlyMap<string, number>,
  symbolIds: ReadonlyMap<string, number>,
): Word[] {
  const words: Word[] = [];
  for (const [word, frequency] of wordFrequencies) {
    if (word.length === 1) continue;
    const ids: (number | undefined)[] = [];
    for (const character of word)
      ids.push(symbolIds.get(ids.length === 0 ? character : CONTINUATION + character));
    const known = ids.filter((id) => id !== undefined);
    if (known.length === ids.length && known.length > 1) words.push({ symbols: known, frequency });
  }
  return words;
}

function mergeIn(symbols: readonly number[], left: number, right: number, mergedId: number): number[] {
  const merged: number[] = [];
  for (let index = 0; index < symbols.length; index++) {
    if (symbols[index] === left && symbols[index + 1] === right) {
      merged.push(mergedId);
      index++;
    } else merged.push(symbols[index] as number);
  }
  return merged;
}

interface QueueEntry {
  pair: Pair;
  count: number;
}

/**
 * The pairs by falling count, as a binary heap. Counts change while a pair waits: a pair that grew is pushed
 * again, one that shrank is put back in its place when it comes up.
 */
class PairQueue {
  readonly #heap: QueueEntry[] = [];

  push(pair: Pair): void {
    const heap = this.#heap;
    const entry = { pair, count: pair.count };
    let index = heap.length;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(entry, heap[parent] as QueueEntry)) break;
      heap[index] = heap[parent] as QueueEntry;
      index = parent;
    }
    heap[index] = entry;
  }

  /** The most frequent pair by its count of now. */
  pop(): Pair | undefined {
    for (let entry = this.#popEntry(); entry !== undefined; entry = this.#popEntry()) {
      if (entry.count === entry.pair.count) return entry.pair;
      if (entry.pair.count > 0 && entry.pair.count < entry.count) this.push(entry.pair);
    }
    return undefined;
  }

  #popEntry(): QueueEntry | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as QueueEntry, heap[child] as QueueEntry))
        child++;
      if (!isBefore(heap[child] as QueueEntry, last)) break;
      heap[index] = heap[child] as QueueEntry;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(a: QueueEntry, b: QueueEntry): boolean {
  if (a.count !== b.count) return a.count > b.count;
  const byText = compareByCodePoint(a.pair.merged, b.pair.merged);
  return byText !== 0 ? byText < 0 : compareByCodePoint(a.pair.leftText, b.pair.leftText) < 0;
}
