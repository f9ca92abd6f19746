// Two models on the same held-out batches: what one of them (a quantised one, say) has lost against the other, its
// source. Logits are compared position by position, never stored.
import { noGrad, scope, type Tensor } from '@openplug/torch';
import { type ForwardOptions, indexTensor, type PlugModel, textBatch } from '../model/index.js';
import { firstBatches, type ObjectiveSettings, stage1Batch, stage2Batch } from './objectives.js';
import { labelKind, type Stage1Sampler, type Stage2Sampler } from './samples/index.js';

/** A model and how it computes. */
export interface ComparedModel {
  readonly model: PlugModel;
  readonly options: ForwardOptions;
}

/** A model beside the source that it was made from. Both must have the same vocabulary. */
export interface ModelPair {
  readonly source: ComparedModel;
  readonly model: ComparedModel;
}

/** One model's losses; `bitsPerCharacter` of language models only. */
export interface LossScores {
  /** Mean −ln p of the right token. */
  loss: number;
  /** e^loss. */
  perplexity: number;
  /** −log2 p by character of the text (the end token is none). */
  bitsPerCharacter?: number;
}

/** The two models' predictions of the same tokens. */
export interface PredictionComparison {
  source: LossScores;
  model: LossScores;
  /** 100 · (perplexity of the model / that of the source − 1). */
  perplexityChangePercent: number;
  /** Share of positions at which both give the same token the highest probability, in [0, 1]. */
  agreement: number;
  /** Mean over positions of Σ p ln(p / q), p the source's distribution and q the model's, in nats. */
  klDivergence: number;
  /** Tokens predicted. */
  positions: number;
}

/** Logits are made and compared for so many positions at a time: two models' over a large vocabulary are large. */
const positionsPerChunk = 512;

/** Masked tokens of sentence pairs, as `stage1Scores` scores them; undefined when nothing is masked. */
export function compareMaskedLm(
  pair: ModelPair,
  sampler: Stage1Sampler,
  settings: ObjectiveSettings,
): PredictionComparison | undefined {
  const sums = new PredictionSums();
  for (const batch of firstBatches(sampler, settings, stage1Batch)) {
    const masked = [...batch.labelKinds.keys()].filter((at) => batch.labelKinds[at] === labelKind.masked);
    if (masked.length === 0) continue;
    const labels = Int32Array.from(masked, (at) => batch.labels[at]!);
    inference(() => {
      const source = textBatch(batch.source);
      const places = indexTensor(masked.map((at) => batch.labelIndex[at]!));
      const hidden = ({ model, options }: ComparedModel): Tensor =>
        model.encode(source, options).indexSelect(0, places);
      sums.add(
        pair,
        hidden,
        (compared, states) => compared.model.mlmLogits(states, compared.options),
        labels,
      );
    });
  }
  return sums.result();
}

/**
 * Continuations of whole sources, each token given the right ones before it, as `stage2Scores` scores them; undefined
 * without any.
 * @param charactersOf characters that a token stands for
 */
export function compareLm(
  pair: ModelPair,
  sampler: Stage2Sampler,
  settings: ObjectiveSettings,
  charactersOf: (id: number) => number,
): PredictionComparison | undefined {
  const sums = new PredictionSums();
  const whole = (cuts: Stage2Sampler, indices: number[]) => stage2Batch(cuts, indices, false);
  for (const batch of firstBatches(sampler, settings, whole)) {
    const characters = Array.from(batch.targetLabels, charactersOf);
    let end = 0;
    for (const length of batch.target.lengths) {
      end += length;
      characters[end - 1] = 0;
    }
    inference(() => {
      const [source, target] = [textBatch(batch.source), textBatch(batch.target)];
      const hidden = ({ model, options }: ComparedModel): Tensor =>
        model.decode(target, model.encode(source, options), source.layout, options);
      const logits = (compared: ComparedModel, states: Tensor): Tensor =>
        compared.model.lmLogits(states, compared.options);
      sums.add(pair, hidden, logits, batch.targetLabels, characters);
    });
  }
  return sums.result();
}

/** Sums over the positions of all batches. */
class PredictionSums {
  #positions = 0;
  #agreeing = 0;
  #klDivergence = 0;
  #characters = 0;
  readonly #source = { nats: 0, textNats: 0 };
  readonly #model = { nats: 0, textNats: 0 };

  /** @param characters of each label, 0 where it is no text; left out, there are no bits per character */
  add(
    pair: ModelPair,
    hidden: (compared: ComparedModel) => Tensor,
    logits: (compared: ComparedModel, states: Tensor) => Tensor,
    labels: Int32Array,
    characters?: readonly number[],
  ): void {
    const [sourceStates, modelStates] = [scope(() => hidden(pair.source)), scope(() => hidden(pair.model))];
    for (let start = 0; start < labels.length; start += positionsPerChunk) {
      const count = Math.min(positionsPerChunk, labels.length - start);
      const chunkLabels = labels.subarray(start, start + count);
      scope(() => {
        const logOf = (compared: ComparedModel, states: Tensor): Tensor =>
          logProbabilities(compared, logits(compared, states.narrow(0, start, count)));
        const sourceLog = logOf(pair.source, sourceStates);
        const modelLog = logOf(pair.model, modelStates);
        // Σ p ln(p / q), with Σ q − Σ p = 0 added to it: term by term not negative, so that rounding hardly shows.
        const [p, q] = [sourceLog.exp(), modelLog.exp()];
        this.#klDivergence += total(p.mul(sourceLog.sub(modelLog)).sub(p).add(q).sum([-1]));
        this.#agreeing += total(sourceLog.argmax(-1).eq(modelLog.argmax(-1)));
        this.#addLosses(this.#source, sourceLog, chunkLabels, characters?.slice(start, start + count));
        this.#addLosses(this.#model, modelLog, chunkLabels, characters?.slice(start, start + count));
      });
    }
    this.#positions += labels.length;
    this.#characters += characters?.reduce((sum, count) => sum + count, 0) ?? 0;
  }

  #addLosses(
    sums: { nats: number; textNats: number },
    log: Tensor,
    labels: Int32Array,
    characters: readonly number[] | undefined,
  ): void {
    const losses = log.gather(1, indexTensor(labels).unsqueeze(1)).neg().toArray();
    for (const [at, loss] of losses.entries()) {
      sums.nats += loss;
      if (characters && characters[at]! > 0) sums.textNats += loss;
    }
  }

  result(): PredictionComparison | undefined {
    if (this.#positions === 0) return undefined;
    const scores = ({ nats, textNats }: { nats: number; textNats: number }): LossScores => ({
      loss: nats / this.#positions,
      perplexity: Math.exp(nats / this.#positions),
      ...(this.#characters > 0 && { bitsPerCharacter: textNats / Math.LN2 / this.#characters }),
    });
    const [source, model] = [scores(this.#source), scores(this.#model)];
    return {
      source,
      model,
      perplexityChangePercent: 100 * Math.expm1(model.loss - source.loss),
      agreement: this.#agreeing / this.#positions,
      klDivergence: this.#klDivergence / this.#positions,
      positions: this.#positions,
    };
  }
}

/** Logits [M, V] → ln p, in fp32 or wider; without the columns that a configuration has taken out (p = 0). */
function logProbabilities({ model }: ComparedModel, logits: Tensor): Tensor {
  const { maskPaddingVocab, originalVocabSize } = model.config;
  const kept = maskPaddingVocab ? logits.narrow(1, 0, originalVocabSize) : logits;
  return (kept.dtype === 'float64' ? kept : kept.to('float32')).logSoftmax(-1);
}

function total(values: Tensor): number {
  return values.toArray().reduce((sum, value) => sum + Number(value), 0);
}

function inference(work: () => void): void {
  noGrad(() => scope(work));
}
