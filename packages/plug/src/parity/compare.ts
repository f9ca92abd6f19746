// Computes everything that a reference folder holds, and measures how far off each number is.
import { AdamW, backward, type DType, noGrad, scope, type Tensor } from '@openplug/torch';
import { openWeights, readModelConfig } from '../checkpoint/index.js';
import {
  decaysWeight,
  type ForwardOptions,
  indexTensor,
  lmLoss,
  mlmLoss,
  type PackedTexts,
  PlugModel,
  packTexts,
  sentenceLoss,
  storedParameters,
  textBatch,
} from '../model/index.js';
import type { Reference } from './reference.js';

/** Precision of one comparison: how the weights are rounded, kept, and computed with. */
export interface Precision {
  name: string;
  /** Weights pass through this dtype first. */
  roundedTo?: DType;
  parameterDType: DType;
  computeDType: DType;
}

/** Largest errors found; undefined where the budget has no such column. */
export interface Errors {
  /** Relative, over the masked-LM and LM losses and their sums. */
  loss: number;
  /** Relative, over the sentence loss and sums with it. */
  sentence: number;
  /** Absolute, over logits and hidden states. */
  logits: number;
  /** Of the tensor's largest element, over all gradients; relative for their norm. */
  gradient: number;
  /** Relative, over the losses and gradient norms of ten steps. */
  tenSteps: number;
  /** Whether the greedy ids agree, with and without the cache. */
  greedy: boolean;
}

const variants = ['final_norm_once', 'final_norm_twice'] as const;
const gradientSets = ['stage1', 'stage2_with_mlm', 'stage2_lm_only'] as const;

/** Compares one precision against the reference. */
export function compare(folder: string, reference: Reference, precision: Precision): Errors {
  const errors: Errors = { loss: 0, sentence: 0, logits: 0, gradient: 0, tenSteps: 0, greedy: true };
  const options: ForwardOptions = { computeDType: precision.computeDType };
  for (const variant of variants) {
    using model = load(folder, precision, variant === 'final_norm_twice');
    noGrad(() => scope(() => compareOutputs(model, reference, variant, options, errors)));
    errors.greedy &&= greedyAgrees(model, reference, variant, options);
  }
  for (const set of gradientSets) {
    using model = load(folder, precision, false);
    scope(() => compareGradients(model, reference, set, options, errors));
  }
  using model = load(folder, precision, false);
  compareTenSteps(model, reference, options, errors);
  return errors;
}

function load(folder: string, precision: Precision, doubleFinalNorm: boolean): PlugModel {
  using file = openWeights(folder);
  const { roundedTo } = precision;
  const rounded = {
    has: (name: string) => file.has(name),
    tensor: (name: string) => (roundedTo ? file.tensor(name).to(roundedTo) : file.tensor(name)),
  };
  const config = { ...readModelConfig(folder), doubleFinalNorm };
  return new PlugModel(config, storedParameters(rounded, file.path, precision.parameterDType));
}

function losses(model: PlugModel, reference: Reference, options: ForwardOptions) {
  const source = textBatch(reference.source, reference.visible);
  const target = textBatch(reference.target);
  const encoded = model.encode(source, options);
  const decode = (): Tensor => model.decode(target, encoded, source.layout, options);
  return {
    source,
    encoded,
    decode,
    mlm: () =>
      mlmLoss(model, encoded, indexTensor(reference.mlm.index), indexTensor(reference.mlm.labels), options),
    sentence: () => sentenceLoss(model, encoded, source.layout, indexTensor(reference.sentenceLabels)),
    lm: (decoded: Tensor) =>
      lmLoss(
        model,
        decoded.indexSelect(0, indexTensor(reference.lm.index)),
        indexTensor(reference.lm.labels),
        options,
      ),
  };
}

function compareOutputs(
  model: PlugModel,
  reference: Reference,
  variant: (typeof variants)[number],
  options: ForwardOptions,
  errors: Errors,
): void {
  const { source, encoded, decode, mlm, sentence, lm } = losses(model, reference, options);
  const decoded = decode();
  const expected = reference.expected[variant];
  errors.loss = Math.max(
    errors.loss,
    relative(mlm().item(), expected.mlm_loss),
    relative(lm(decoded).item(), expected.lm_loss),
  );
  errors.sentence = Math.max(errors.sentence, relative(sentence().item(), expected.sentence_loss));
  const absolute = (computed: Tensor, name: string, rows?: number[]): void => {
    const wanted = reference.values(`${variant}.${name}`);
    const got = computed.toArray();
    if (got.length !== wanted.length) errors.logits = Number.POSITIVE_INFINITY;
    const width = wanted.length / computed.shape[0]!;
    for (let index = 0; index < wanted.length; index++) {
      if (rows && !rows.includes(Math.floor(index / width))) continue;
      errors.logits = Math.max(errors.logits, Math.abs(got[index]! - wanted[index]!));
    }
  };
  absolute(encoded, 'encoder_output');
  absolute(model.mlmLogits(encoded, options), 'mlm_logits');
  absolute(model.sentenceLogits(encoded, source.layout), 'sentence_logits');
  // Target rows past a text's real length are padding; the reference's values there do not matter.
  absolute(decoded, 'decoder_output', reference.lm.index);
  absolute(model.lmLogits(decoded, options), 'lm_logits', reference.lm.index);
}

function objectiveLoss(
  model: PlugModel,
  reference: Reference,
  set: (typeof gradientSets)[number],
  options: ForwardOptions,
): Tensor {
  const { decode, mlm, sentence, lm } = losses(model, reference, options);
  if (set === 'stage1') return mlm().add(sentence());
  return set === 'stage2_with_mlm' ? mlm().add(lm(decode())) : lm(decode());
}

function compareGradients(
  model: PlugModel,
  reference: Reference,
  set: (typeof gradientSets)[number],
  options: ForwardOptions,
  errors: Errors,
): void {
  const loss = objectiveLoss(model, reference, set, options);
  backward(loss);
  const names = new Set(reference.gradientNames(set));
  let squares = 0;
  for (const [name, parameter] of model.parameters) {
    const gradient = parameter.grad?.toArray();
    // The tied output matrix appears under its own name in the reference: one parameter, one gradient.
    if (!gradient !== !names.delete(name)) {
      errors.gradient = Number.POSITIVE_INFINITY;
      continue;
    }
    if (!gradient) continue;
    const wanted = reference.values(`grad.${set}.${name}`);
    let largest = 0;
    let worst = 0;
    for (let index = 0; index < wanted.length; index++) {
      largest = Math.max(largest, Math.abs(wanted[index]!));
      worst = Math.max(worst, Math.abs(wanted[index]! - gradient[index]!));
      squares += gradient[index]! ** 2;
    }
    errors.gradient = Math.max(errors.gradient, largest > 0 ? worst / largest : worst);
  }
  names.delete('cls.predictions.decoder_weight');
  if (names.size > 0) errors.gradient = Number.POSITIVE_INFINITY;
  const expected = reference.expected[set];
  const column = set === 'stage1' ? 'sentence' : 'loss';
  errors[column] = Math.max(errors[column], relative(loss.item(), expected.loss));
  errors.gradient = Math.max(errors.gradient, relative(Math.sqrt(squares), expected.grad_norm));
}

function compareTenSteps(
  model: PlugModel,
  reference: Reference,
  options: ForwardOptions,
  errors: Errors,
): void {
  const settings = reference.expected.adamw_10_steps;
  const optimizer = new AdamW(model.parameters, {
    beta1: settings.betas[0],
    beta2: settings.betas[1],
    eps: settings.eps,
    weightDecay: settings.weight_decay,
    decays: decaysWeight,
  });
  for (const step of settings.steps) {
    scope(() => {
      const { decode, mlm, lm } = losses(model, reference, options);
      const [mlmValue, lmValue] = [mlm(), lm(decode())];
      backward(mlmValue.add(lmValue));
      const norm = optimizer.gradientNorm();
      errors.tenSteps = Math.max(
        errors.tenSteps,
        relative(mlmValue.item(), step.mlm_loss),
        relative(lmValue.item(), step.lm_loss),
        relative(norm, step.grad_norm),
      );
      optimizer.update(settings.lr, Math.min(1, settings.clip_grad_norm / (norm + 1e-6)));
      optimizer.clearGradients();
    });
  }
}

function greedyAgrees(
  model: PlugModel,
  reference: Reference,
  variant: (typeof variants)[number],
  options: ForwardOptions,
): boolean {
  const { greedy } = reference.expected;
  return reference.sourceTexts.every((text, row) => {
    const wanted = reference.expected[variant].greedy_ids[row]!;
    const cached = greedyWithCache(model, text, greedy.start_id, greedy.new_tokens, options);
    const uncached = greedyWithoutCache(model, text, greedy.start_id, greedy.new_tokens, options);
    return [cached, uncached].every(
      (ids) => ids.length === wanted.length && ids.every((id, index) => id === wanted[index]),
    );
  });
}

function greedyWithCache(
  model: PlugModel,
  text: PackedTexts,
  start: number,
  newTokens: number,
  options: ForwardOptions,
): number[] {
  return noGrad(() =>
    scope(() => {
      const source = textBatch(text);
      using cache = model.startDecoding(model.encode(source, options), source.layout, newTokens, options);
      const ids = [start];
      while (ids.length <= newTokens) ids.push(best(model, model.nextLogits([ids.at(-1)!], cache)));
      return ids;
    }),
  );
}

function greedyWithoutCache(
  model: PlugModel,
  text: PackedTexts,
  start: number,
  newTokens: number,
  options: ForwardOptions,
): number[] {
  return noGrad(() =>
    scope(() => {
      const source = textBatch(text);
      const encoded = model.encode(source, options);
      const ids = [start];
      while (ids.length <= newTokens) {
        const decoded = model.decode(textBatch(packTexts([ids])), encoded, source.layout, options);
        ids.push(best(model, model.lmLogits(decoded.narrow(0, ids.length - 1, 1), options)));
      }
      return ids;
    }),
  );
}

/** Arg max over the real vocabulary. */
function best(model: PlugModel, logits: Tensor): number {
  return logits.narrow(1, 0, model.config.originalVocabSize).argmax(-1).item();
}

function relative(got: number, wanted: number): number {
  return Math.abs(got - wanted) / Math.abs(wanted);
}
