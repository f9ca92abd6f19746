// Scores of fine-tuned models as text for people.
import { type Interval, terminalTable } from '../evaluate/index.js';
import type { TaskScores, WrittenScores } from '../finetune/index.js';

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
      `F1 ${withError(100 * scores.f1, 100 * scores.standardError, 2)} % (${between(scores.interval)}), ` +
      `exact match ${(100 * scores.exactMatch).toFixed(2)} % (${examples})`
    );
  const share = withError(100 * scores.accuracy, 100 * scores.standardError, 2);
  if (!('confusion' in scores))
    return `accuracy ${share} % (${between(scores.interval)}), loss ${scores.loss.toFixed(4)} (${examples})`;
  const line = `accuracy ${share} % (${between(scores.interval)}), macro F1 ${scores.macroF1.toFixed(4)}, loss ${scores.loss.toFixed(4)} (${examples})`;
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

/** Where the value lies with 95 % probability. */
function between({ low, high }: Interval): string {
  return `95 %: ${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)}`;
}

/** Of texts that were written from the sources. */
export function describeWritten(scores: WrittenScores): string {
  const { bleu4, rouge1, rouge2, rougeL, distinct1, distinct2, numWritten } = scores;
  const shown = (value: number): string => (100 * value).toFixed(2);
  return (
    `${numWritten} texts written: BLEU-4 ${shown(bleu4)}, ROUGE-1 ${shown(rouge1)}, ROUGE-2 ${shown(rouge2)}, ` +
    `ROUGE-L ${shown(rougeL)}, Distinct-1 ${shown(distinct1)}, Distinct-2 ${shown(distinct2)} (by character, of 100)`
  );
}
