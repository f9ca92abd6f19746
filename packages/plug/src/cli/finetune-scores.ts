// Scores of fine-tuned models as text for people.
import { terminalTable } from '../evaluate/index.js';
import type { TaskScores } from '../finetune/index.js';

/** @param labels names for the confusion table; without them it is left out */
export function describeScores(scores: TaskScores, labels: readonly string[] | undefined): string {
  const examples = `${scores.numExamples} examples${scores.truncated > 0 ? `, ${scores.truncated} cut to fit` : ''}`;
  if ('bitsPerCharacter' in scores)
    return (
      `${withError(scores.bitsPerCharacter, scores.standardError, 3)} bits per character, ` +
      `perplexity ${scores.perplexity.toFixed(2)} by token (${examples})`
    );
  if ('exactMatch' in scores)
    return (
      `F1 ${withError(100 * scores.f1, 100 * scores.standardError, 2)} %, ` +
      `exact match ${(100 * scores.exactMatch).toFixed(2)} % (${examples})`
    );
  const share = withError(100 * scores.accuracy, 100 * scores.standardError, 2);
  if (!('confusion' in scores)) return `accuracy ${share} %, loss ${scores.loss.toFixed(4)} (${examples})`;
  const line = `accuracy ${share} %, macro F1 ${scores.macroF1.toFixed(4)}, loss ${scores.loss.toFixed(4)} (${examples})`;
  if (!labels) return line;
  const columns = ['right \\ predicted', ...labels].map((header, index) => ({
    header,
    align: index === 0 ? ('left' as const) : ('right' as const),
  }));
  const rows = scores.confusion.map((row, index) => [labels[index]!, ...row.map(String)]);
  return `${line}\n${terminalTable(columns, rows)}`;
}

function withError(value: number, standardError: number, digits: number): string {
  return `${value.toFixed(digits)} ± ${standardError.toFixed(digits)}`;
}
