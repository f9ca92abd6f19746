// Texts that a fine-tuned generator writes, against those that it should have written.
import { characterBleu, characterRouge, distinct } from '../evaluate/index.js';
import type { ScoringOptions } from './classifier.js';
import type { GenerationExample } from './examples.js';
import type { PlugGenerator } from './generator.js';
import { type PredictedRow, predictRows } from './kinds.js';

/** By Chinese character, in [0, 1]. */
export interface WrittenScores {
  bleu4: number;
  rouge1: number;
  rouge2: number;
  rougeL: number;
  /** Share of different characters, and of different pairs, among all that was written. */
  distinct1: number;
  distinct2: number;
  /** Examples that were written from. */
  numWritten: number;
}

/** Scores, and the texts that they are of. */
export interface WrittenEvaluation {
  scores: WrittenScores;
  /** For the first `numWritten` examples. */
  rows: PredictedRow[];
}

/** Writes greedily from the first `count` examples. */
export async function writtenScores(
  generator: PlugGenerator,
  examples: readonly GenerationExample[],
  count: number,
  options: ScoringOptions = {},
): Promise<WrittenEvaluation> {
  const chosen = examples.slice(0, count);
  const rows = await predictRows(generator, chosen, options);
  const texts = rows.map(({ prediction }) => String(prediction));
  const pairs = texts.map((candidate, index) => ({ candidate, references: [chosen[index]!.target] }));
  const scores = {
    bleu4: characterBleu(pairs),
    ...characterRouge(pairs),
    distinct1: distinct(texts, 1),
    distinct2: distinct(texts, 2),
    numWritten: chosen.length,
  };
  return { scores, rows };
}
