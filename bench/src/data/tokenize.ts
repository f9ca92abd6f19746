// Tokenizer speed on one thread: ours against Hugging Face's Rust tokenizers, over classical poems (npm package
// `chinese-poetry`), up to 1,500 characters a text. Both must give the same ids for every text. Each round has texts of
// its own: ours remembers pieces of text that it has met, as they recur in a corpus, and must not be timed on texts
// that it has seen whole.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  BenchmarkError,
  type BenchOptions,
  pairedRatio,
  report,
  type Spread,
  spreadOf,
  takeTurns,
} from '../harness/harness.js';
import { findPeer, peerSide } from '../harness/peers.js';
import type { Side } from '../harness/side.js';
import { readPoetryDocuments, tokenizerFromVocabulary, trainVocabulary } from '../openplug.js';

const defaultRounds = 7;
const textsPerRound = 3_000;
const vocabularyTexts = 4_000;

/** A sum that differs when ids or the borders between texts do. */
export function fingerprint(texts: Iterable<ArrayLike<number>>): number {
  let hash = 0x811c9dc5;
  for (const ids of texts) {
    for (let at = 0; at < ids.length; at++) hash = Math.imul(hash ^ ids[at]!, 0x01000193);
    hash = Math.imul(hash ^ 0x7fffffff, 0x01000193);
  }
  return hash >>> 0;
}

function firstTexts(count: number): string[] {
  const texts: string[] = [];
  for (const { sentences } of readPoetryDocuments()) {
    texts.push(sentences.join(''));
    if (texts.length === count) return texts;
  }
  throw new BenchmarkError(`There are ${texts.length} texts, ${count} are needed: ask for fewer --rounds.`);
}

const charactersOf = (texts: readonly string[]): number => texts.reduce((sum, text) => sum + text.length, 0);

/** Characters/s of both tokenizers. */
export async function benchTokenize(options: BenchOptions): Promise<Record<string, Spread>> {
  const rounds = options.rounds ?? defaultRounds;
  const texts = firstTexts((rounds + 1) * textsPerRound);
  const vocabulary = trainVocabulary(texts.slice(0, vocabularyTexts), { vocabSize: 8000 });
  const tokenizer = tokenizerFromVocabulary(vocabulary);
  const textsOfTurn = (turn: number): string[] =>
    texts.slice(turn * textsPerRound, (turn + 1) * textsPerRound);
  const folder = mkdtempSync(join(tmpdir(), 'openplug-bench-'));
  try {
    const path = join(folder, 'texts.json');
    writeFileSync(path, JSON.stringify({ texts, vocabulary }));
    const found = findPeer('tokenizers');
    await using peer = found && peerSide(found, 'tokenize_huggingface.py', path);
    const turns = { openplug: 0, huggingface: 0 };
    const encodeNext = async (): Promise<number> => {
      const next = textsOfTurn(turns.openplug++);
      const started = performance.now();
      for (const text of next) tokenizer.encode(text);
      return (performance.now() - started) / 1000;
    };
    const askNext = (side: Side) => () => {
      const begin = turns.huggingface++ * textsPerRound;
      return side.number({ do: 'encode', begin, end: begin + textsPerRound }, 'seconds');
    };
    const seconds = await takeTurns<string>(rounds, {
      openplug: encodeNext,
      ...(peer && { huggingface: askNext(peer) }),
    });
    if (peer) {
      const ours = fingerprint(texts.map((text) => tokenizer.encode(text)));
      if ((await peer.number({ do: 'fingerprint' }, 'fingerprint')) !== ours)
        throw new BenchmarkError('Our tokenizer and Hugging Face’s give different ids for the same texts.');
    }
    const rate = (side: string): Spread =>
      spreadOf(seconds[side]!.map((value, round) => charactersOf(textsOfTurn(round + 1)) / value));
    const ratio = peer && pairedRatio(seconds.huggingface!, seconds.openplug!);
    const row = (title: string, value: Spread, last: string): string[] => [
      title,
      (value.median / 1e6).toFixed(2),
      `${(100 * value.spread).toFixed(0)} %`,
      last,
    ];
    const rows = [
      ['side', 'million characters/s', 'spread', 'ours is'],
      row('OpenPLUG', rate('openplug'), ''),
    ];
    if (found && ratio) rows.push(row(found.title, rate('huggingface'), `×${ratio.median.toFixed(2)}`));
    report(options, rows, {
      bench: 'tokenize',
      rounds,
      numTexts: texts.length,
      numCharacters: charactersOf(texts),
      openplug: rate('openplug'),
      ...(ratio && { peer: { title: found!.title, rate: rate('huggingface'), ratio } }),
    });
    return ratio ? { 'tokenize huggingface': ratio } : {};
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
