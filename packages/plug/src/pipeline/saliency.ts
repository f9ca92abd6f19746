// Which characters mattered for a label, by occlusion: each character (or word of letters) is replaced by [MASK], and
// its effect is by how much that lowers the log-probability of the label (Zeiler & Fergus 2014, arXiv 1311.2901; erasing
// for text: Li, Monroe & Jurafsky 2016, arXiv 1612.08220). Unlike gradients it works on packed weights, which have none.
// One unit is hidden at a time, so what two units say alike may seem to matter little.
import { ConfigError } from '../errors.js';
import { joinTexts } from '../finetune/encoding.js';
import { type PlugClassifier, verbalize } from '../finetune/index.js';
import { locatedTokens } from '../finetune/text-units.js';
import { type EncodedPrompt, promptPredictor, sourceWindow } from '../finetune/zero-shot.js';
import type { PlugModel } from '../model/index.js';
import type { Tokenizer } from '../text/index.js';
import { type Classification, type LabelOptions, labelled, labelTask } from './label.js';

/** A character, or a word of letters and digits. */
export interface SaliencyUnit {
  /** 0 in the text, 1 in its pair. */
  text: 0 | 1;
  /** Where it is, in UTF-16 units. */
  start: number;
  end: number;
  /**
   * ln p(label | all) − ln p(label | without the unit): above 0 it speaks for the label, below 0 against it. null for what
   * the model did not read because the text is longer than its positions.
   */
  effect: number | null;
  /** Probability of the label without the unit. */
  maskedProbability: number | null;
}

/** What is asked: a text, for a classifier of pairs two, and the label; the most probable one when it is left out. */
export interface SaliencyInput {
  text: string;
  textPair?: string | undefined;
  label?: string | undefined;
}

export interface Saliency {
  label: string;
  probability: number;
  /** All labels, the most probable first. */
  labels: Classification['labels'];
  units: SaliencyUnit[];
}

/** Each unit is a pass of the model over the whole text. */
export const maxExplainedUnits = 256;
/** Of the texts that go through the model between two yields. */
const tokensPerSlice = 2048;

/** Gives way between slices of the work, so that whoever runs it can do other things; returns the result. */
export type SlicedWork<Result> = Generator<undefined, Result, undefined>;

/** A unit with its places among the ids that the model reads; none when it was cut off. */
interface PlacedUnit extends Pick<SaliencyUnit, 'text' | 'start' | 'end'> {
  readonly places: readonly number[];
}

interface Occludable {
  readonly labels: readonly string[];
  readonly units: readonly PlacedUnit[];
  /** Tokens that one row takes: how many go into a slice depends on it. */
  readonly numTokens: number;
  /** Probabilities of all labels, with [MASK] in these places; a row for each list of places. */
  predict(masked: readonly (readonly number[])[]): ArrayLike<number>[];
}

/** By a fine-tuned classifier. @throws ConfigError for a label that it has not, or too long a text */
export function explainClassifier(classifier: PlugClassifier, input: SaliencyInput): SlicedWork<Saliency> {
  const { tokenizer, maxLength, task } = classifier;
  const first = locatedTokens(tokenizer, input.text);
  const second = input.textPair === undefined ? undefined : locatedTokens(tokenizer, input.textPair);
  const encoded = joinTexts(tokenizer, first.ids, second?.ids, maxLength);
  // [CLS] A [SEP] B [SEP]: the second type begins after the first [SEP].
  const numFirst = (second ? encoded.tokenTypeIds.indexOf(1) : encoded.inputIds.length) - 2;
  const numSecond = encoded.inputIds.length - numFirst - 3;
  return explain(
    {
      labels: task.labels,
      numTokens: encoded.inputIds.length,
      units: [
        ...unitsOf(0, first, (at) => (at < numFirst ? at + 1 : undefined)),
        ...(second ? unitsOf(1, second, (at) => (at < numSecond ? at + numFirst + 2 : undefined)) : []),
      ],
      predict: (masked) =>
        classifier
          .predictEncoded(
            masked.map((places) => ({ ...encoded, inputIds: without(tokenizer, encoded.inputIds, places) })),
          )
          .map(({ probabilities }) => probabilities),
    },
    input.label,
  );
}

/**
 * Without fine-tuning, by the decoder, as `labeller` labels.
 * @throws ConfigError for labels that cannot be told apart, a label that is not among them, or too long a text
 */
export function explainLabels(
  model: PlugModel,
  tokenizer: Tokenizer,
  options: LabelOptions,
  { text, label }: SaliencyInput,
): SlicedWork<Saliency> {
  const { source, ...words } = verbalize(labelTask(options), { text });
  const located = locatedTokens(tokenizer, source);
  const numCut = Math.max(0, located.ids.length - sourceWindow(model));
  // What stands around the text in the source is the prompt's, and not asked about.
  const from = (options.source ?? '{text}').indexOf('{text}');
  const units = unitsOf(0, located, (at) => (at >= numCut ? at : undefined))
    .filter(({ start, end }) => end > from && start < from + text.length)
    .map((unit) => ({
      ...unit,
      start: Math.max(0, unit.start - from),
      end: Math.min(text.length, unit.end - from),
    }));
  const predictPrompts = promptPredictor(model, tokenizer, true);
  const prompt = (places: readonly number[]): EncodedPrompt => ({
    ...words,
    source: without(tokenizer, located.ids, places),
  });
  return explain(
    {
      labels: options.labels,
      numTokens: located.ids.length - numCut + 2 + options.labels.length,
      units,
      predict: (masked) => predictPrompts(masked.map(prompt)).map(({ probabilities }) => probabilities),
    },
    label,
  );
}

function explain(asked: Occludable, label: string | undefined): SlicedWork<Saliency> {
  const { labels, units } = asked;
  if (label !== undefined && !labels.includes(label))
    throw new ConfigError(`label is "${label}", which is none of the labels: ${labels.join(', ')}.`);
  const numRead = units.filter(({ places }) => places.length > 0).length;
  if (numRead > maxExplainedUnits)
    throw new ConfigError(
      `The text has ${numRead} characters and words; at most ${maxExplainedUnits} can be explained. Cut it.`,
    );
  return occlude(asked, label);
}

function* occlude(asked: Occludable, chosen: string | undefined): SlicedWork<Saliency> {
  const { labels, units, numTokens, predict } = asked;
  const whole = predict([[]])[0]!;
  const classification = labelled(labels)({ probabilities: whole });
  const label = chosen ?? classification.label;
  const at = labels.indexOf(label);
  const probability = whole[at]!;
  const read = units.filter(({ places }) => places.length > 0);
  const perSlice = Math.max(1, Math.floor(tokensPerSlice / numTokens));
  const masked = new Map<PlacedUnit, number>();
  for (let from = 0; from < read.length; from += perSlice) {
    yield;
    const slice = read.slice(from, from + perSlice);
    for (const [row, probabilities] of predict(slice.map(({ places }) => places)).entries())
      masked.set(slice[row]!, probabilities[at]!);
  }
  return {
    label,
    probability,
    labels: classification.labels,
    units: units.map((unit) => {
      const { text, start, end } = unit;
      const left = masked.get(unit);
      if (left === undefined) return { text, start, end, effect: null, maskedProbability: null };
      return { text, start, end, effect: logOf(probability) - logOf(left), maskedProbability: left };
    }),
  };
}

/** Finite also where a probability has gone to 0. */
function logOf(probability: number): number {
  return Math.log(Math.max(probability, Number.MIN_VALUE));
}

/** @param placeOf place in the model's input of a token of the text; undefined when it was cut off */
function unitsOf(
  text: 0 | 1,
  { starts, ends }: { starts: Int32Array; ends: Int32Array },
  placeOf: (token: number) => number | undefined,
): PlacedUnit[] {
  const units: (PlacedUnit & { places: number[] })[] = [];
  for (const [token, start] of starts.entries()) {
    if (units.at(-1)?.start !== start) units.push({ text, start, end: ends[token]!, places: [] });
    const place = placeOf(token);
    if (place !== undefined) units.at(-1)!.places.push(place);
  }
  return units;
}

function without({ special }: Tokenizer, ids: Int32Array, places: readonly number[]): Int32Array {
  const masked = ids.slice();
  for (const place of places) masked[place] = special.mask;
  return masked;
}
