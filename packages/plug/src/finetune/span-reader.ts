// Answers inside a text: each token's final state gives a score as the answer's first and as its last token (Devlin et
// al. 2019, section 4.2). Texts longer than the input are read in windows that overlap by half.
import { noGrad, scope, type Tensor } from '@openplug/torch';
import { type ForwardOptions, indexTensor, inference } from '../model/index.js';
import { lengthOfAll } from './chooser.js';
import type { ScoringOptions } from './classifier.js';
import { EncoderTask, loadEncoderTask, paddedRows, type TaskParts } from './encoder-task.js';
import type { EncodedText } from './encoding.js';
import { scoringBatches } from './example-batches.js';
import type { SpanExample, SpanInput } from './examples.js';
import type { SpanTask } from './task.js';
import { type LocatedTokens, locatedTokens, tokensWithin } from './text-units.js';

/** Tokens of a question at most. */
const maxQuestionLength = 64;
/** Tokens of an answer at most. */
const maxAnswerLength = 64;

/** A part of a text, with the question in front: [CLS] question [SEP] part [SEP]. */
export interface SpanWindow extends EncodedText {
  /** Index of the part's first token among the text's. */
  first: number;
  /** Where the part begins in `inputIds`. */
  offset: number;
  /** Tokens of the part. */
  count: number;
}

/** A question on a text in tokens. */
export interface EncodedQuestion {
  windows: SpanWindow[];
  tokens: LocatedTokens;
}

/** What a reader says of one question. */
export interface SpanPrediction {
  /** Part of the context. */
  answer: string;
  /** Where it begins there, in UTF-16 units. */
  answerStart: number;
  /** Probability of its first token times that of its last, in its window. */
  probability: number;
}

/** Positions that a window's softmax is over: its [CLS], which stands for "not here", and its part of the text. */
function positionsOf({ offset, count }: SpanWindow): number[] {
  return [0, ...Array.from({ length: count }, (_, index) => offset + index)];
}

/** A fine-tuned encoder that finds answers. */
export class PlugSpanReader extends EncoderTask<SpanTask> {
  /** Takes ownership of the model. */
  constructor(parts: TaskParts<SpanTask>) {
    super(parts, 2);
  }

  encode({ question, context }: SpanInput): EncodedQuestion {
    const { cls, sep } = this.tokenizer.special;
    const asked = this.tokenizer.encode(question, { splitSpecialTokens: true });
    const room = Math.min(maxQuestionLength, Math.floor(this.maxLength / 2) - 2);
    const front = [cls, ...asked.subarray(0, room), sep];
    const tokens = locatedTokens(this.tokenizer, context);
    const width = this.maxLength - front.length - 1;
    const stride = Math.ceil(width / 2);
    const windows: SpanWindow[] = [];
    for (let first = 0; windows.length === 0 || first + width - stride < tokens.ids.length; first += stride) {
      const part = tokens.ids.subarray(first, first + width);
      const inputIds = Int32Array.of(...front, ...part, sep);
      windows.push({
        inputIds,
        tokenTypeIds: new Uint8Array(inputIds.length).fill(1, front.length),
        truncated: asked.length > room,
        first,
        offset: front.length,
        count: part.length,
      });
    }
    return { windows, tokens };
  }

  /**
   * Windows → logits of the answer's first and last token, each [windows, most positions]; column 0 is [CLS], 1 the
   * window's first token of text.
   */
  logits(windows: readonly SpanWindow[], options: ForwardOptions): { start: Tensor; end: Tensor } {
    const { states, layout } = this.encodeTexts(windows, options);
    const positions = windows.map(positionsOf);
    const flat = positions.flatMap((list, window) => list.map((at) => layout.starts[window]! + at));
    const outputs = this.outputs(states.indexSelect(0, indexTensor(flat)), options);
    const lengths = positions.map((list) => list.length);
    return {
      start: paddedRows(outputs.select(1, 0), lengths),
      end: paddedRows(outputs.select(1, 1), lengths),
    };
  }

  /** Columns of the answer's first and last token in a window; both 0 where it is not, or not whole. */
  labels(
    { answer, answerStart }: SpanExample,
    { tokens }: EncodedQuestion,
    window: SpanWindow,
  ): [number, number] {
    const found = tokensWithin(tokens, answerStart, answerStart + answer.length);
    if (!found || found.first < window.first || found.last >= window.first + window.count) return [0, 0];
    return [found.first - window.first + 1, found.last - window.first + 1];
  }

  /** Answers, in the order of the questions. */
  predict(
    examples: readonly SpanInput[],
    { forward = inference, tokensPerBatch = 4096 }: ScoringOptions = {},
  ): SpanPrediction[] {
    const questions = examples.map((example) => this.encode(example));
    const predictions = new Array<SpanPrediction>(examples.length);
    const lengths = questions.map(({ windows }) => lengthOfAll(windows));
    for (const indices of scoringBatches(lengths, tokensPerBatch)) {
      const windows = indices.flatMap((index) => questions[index]!.windows);
      const [start, end] = noGrad(() =>
        scope(() => {
          const logits = this.logits(windows, forward);
          return [logits.start, logits.end].map((values) => values.to('float64').logSoftmax(-1).toArray());
        }),
      ) as [number[], number[]];
      const width = start.length / windows.length;
      let row = 0;
      for (const index of indices) {
        const question = questions[index]!;
        let best: ScoredSpan = { first: 0, last: 0, logProbability: Number.NEGATIVE_INFINITY };
        for (const window of question.windows) {
          const columns = [row * width, (row + 1) * width] as const;
          const found = bestSpan(start.slice(...columns), end.slice(...columns), window);
          if (found.logProbability > best.logProbability) best = found;
          row++;
        }
        predictions[index] = answerOf(examples[index]!.context, question.tokens, best);
      }
    }
    return predictions;
  }
}

/** Tokens of the text. */
interface ScoredSpan {
  first: number;
  last: number;
  logProbability: number;
}

function bestSpan(start: readonly number[], end: readonly number[], window: SpanWindow): ScoredSpan {
  let best: ScoredSpan = { first: 0, last: 0, logProbability: Number.NEGATIVE_INFINITY };
  for (let first = 0; first < window.count; first++) {
    const limit = Math.min(window.count, first + maxAnswerLength);
    for (let last = first; last < limit; last++) {
      const logProbability = start[first + 1]! + end[last + 1]!;
      if (logProbability > best.logProbability)
        best = { first: window.first + first, last: window.first + last, logProbability };
    }
  }
  return best;
}

function answerOf(context: string, { starts, ends }: LocatedTokens, span: ScoredSpan): SpanPrediction {
  const answerStart = starts[span.first] ?? 0;
  return {
    answer: context.slice(answerStart, ends[span.last] ?? 0),
    answerStart,
    probability: Math.exp(span.logProbability),
  };
}

/**
 * Loads what `save` wrote.
 * @param path model folder, or run folder
 * @throws ConfigError when the model was not made to find answers, CheckpointError when a file is damaged
 */
export function loadSpanReader(path: string): PlugSpanReader {
  return loadEncoderTask(path, 'span', (parts) => new PlugSpanReader(parts));
}
