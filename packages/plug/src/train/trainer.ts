// The training loop, for pre-training and fine-tuning alike: accumulate, clip, update, record, save, stop cleanly
// and continue where it stopped.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AdamW, backward, type DType, type ProfileEvent, scope, type Tensor } from '@openplug/torch';
import { CheckpointError, TrainingError } from '../errors.js';
import { decaysWeight, type ForwardOptions } from '../model/index.js';
import { withAdversary } from './adversarial.js';
import { firstNonFinite, largest } from './non-finite.js';
import type { MetricsLine, RunFolder } from './run-folder.js';
import { learningRateAt } from './schedule.js';
import { StepProfile } from './step-profile.js';
import {
  restoreTrainingState,
  type SavedState,
  saveTrainingState,
  type Trainable,
  trainedParameters,
} from './training-state.js';
import { WeightAverage } from './weight-average.js';

/** One micro-batch's losses. */
export interface StepLosses {
  /** What is minimised; one element. */
  loss: Tensor;
  /** Its parts by name, for the metrics. */
  parts: Record<string, Tensor>;
  /** Tokens that went through the model. */
  numTokens: number;
}

/** What is trained: a source of losses with a position in its data. */
export interface TrainingObjective {
  /** Losses of the next micro-batch. `step` counts from 1. */
  nextLosses(step: number, options: ForwardOptions): StepLosses;
  /** Where the next micro-batch begins, as plain JSON. */
  position(): SavedState['position'];
  seek(position: SavedState['position']): void;
  /** Scores on held-out data by name; must not disturb training. */
  evaluate(options: ForwardOptions): Record<string, number>;
  /** Asked before each step: true ends training, as finished (early stopping). Default: never. */
  isDone?(): boolean;
}

/** Settings of the loop, with the published defaults where there are any. */
export interface TrainerSettings {
  totalSteps: number;
  /** Peak learning rate. */
  learningRate: number;
  warmupFraction: number;
  weightDecay: number;
  beta2: number;
  /** Largest global gradient norm. */
  clipGradNorm: number;
  /** Micro-batches whose gradients are averaged in one step. */
  accumulationSteps: number;
  computeDType: DType;
  /** Keys dropout. */
  seed: number;
  recomputeLayers: boolean;
  /** Steps between two evaluations; 0 for none but the extra ones and the last. */
  evaluateEvery: number;
  /** More steps to evaluate at. */
  evaluateAt?: readonly number[];
  /** Steps between two checkpoints. */
  saveEvery: number;
  /** Checkpoints kept. */
  keepLast: number;
  /** Factor on a parameter's learning rate. Default: 1 for all. */
  rateFactor?(name: string): number;
  /** Each micro-batch once more with this parameter moved by `distance` towards a higher loss. Default: not. */
  adversary?: { parameter: string; distance: number } | undefined;
  /** Evaluate and keep a moving average of the weights, with this decay. Default: the weights themselves. */
  averageDecay?: number | undefined;
}

/** Hears of progress. All calls are synchronous. */
export interface TrainingListener {
  onResume?(step: number): void;
  onStep?(line: MetricsLine): void;
  onEvaluate?(line: MetricsLine): void;
  /** A checkpoint could not be read and an older one is tried. */
  onNote?(text: string): void;
  /** Asks for a profile of the 11th to 15th step of this process; has no events when training ends sooner. */
  onProfile?(events: readonly ProfileEvent[]): void;
}

export interface TrainingResult {
  /** False when `signal` stopped the run; it is saved and can be continued. */
  finished: boolean;
  step: number;
}

/**
 * Trains until `totalSteps` or until the objective is done, from the newest whole checkpoint in `folder` if there is one.
 * @throws TrainingError when a loss or gradient is not finite; the last good checkpoint stays
 */
export async function train(
  model: Trainable,
  objective: TrainingObjective,
  settings: TrainerSettings,
  folder: RunFolder,
  listener: TrainingListener = {},
  signal?: AbortSignal,
): Promise<TrainingResult> {
  const { weightDecay, beta2, totalSteps, averageDecay } = settings;
  const trained = trainedParameters(model);
  const optimizer = new AdamW(trained, {
    beta2,
    weightDecay,
    decays: decaysWeight,
    ...(settings.rateFactor && { rateFactor: settings.rateFactor }),
  });
  using average = averageDecay === undefined ? undefined : new WeightAverage(trained, averageDecay);
  const withAverage = (use: () => void): void => (average ? average.inPlace(use) : use());
  const finished = (): boolean => optimizer.step >= totalSteps || (objective.isDone?.() ?? false);
  const save = (): void => {
    // An update can make weights that no loss has met yet; a checkpoint is good only if they are.
    if (firstNonFinite(model, 'value') !== undefined)
      throw nonFinite('update made weights that are not finite', optimizer.step, model, folder, 'value');
    folder.writeCheckpoint(optimizer.step, settings.keepLast, (path) =>
      saveTrainingState(path, model, optimizer, objective.position(), average),
    );
  };
  try {
    resume(model, optimizer, objective, folder, listener, average);
    let lastSaved = optimizer.step;
    const profile = new StepProfile(listener.onProfile?.bind(listener));
    while (!finished()) {
      if (signal?.aborted) break;
      await profile.run(() => trainStep(model, objective, optimizer, settings, folder, listener));
      const { step } = optimizer;
      average?.update(step);
      const last = step === totalSteps;
      const due = settings.evaluateEvery > 0 && step % settings.evaluateEvery === 0;
      if (due || last || settings.evaluateAt?.includes(step)) {
        withAverage(() => {
          const scores = objective.evaluate({ computeDType: settings.computeDType });
          const line: MetricsLine = { kind: 'evaluate', step, ...scores };
          folder.record(line);
          listener.onEvaluate?.(line);
        });
      }
      if (last || step % settings.saveEvery === 0) {
        save();
        lastSaved = step;
      }
      await nextTurn(); // lets Ctrl-C and timers be heard
    }
    if (optimizer.step > lastSaved) save();
    profile.finish();
    return { finished: finished(), step: optimizer.step };
  } finally {
    for (const tensor of optimizer.state().values()) tensor.dispose();
  }
}

function resume(
  model: Trainable,
  optimizer: AdamW,
  objective: TrainingObjective,
  folder: RunFolder,
  listener: TrainingListener,
  average: WeightAverage | undefined,
): void {
  folder.removeLeftovers();
  const steps = folder.checkpointSteps();
  for (const step of steps) {
    const path = folder.checkpointPath(step);
    try {
      const state = restoreTrainingState(path, model, optimizer, average);
      objective.seek(state.position);
      folder.rewind(state.step);
      listener.onResume?.(state.step);
      return;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      listener.onNote?.(`Checkpoint ${path} cannot be used (${error.message}); trying the one before.`);
    }
  }
  if (steps.length > 0)
    listener.onNote?.(`No checkpoint in ${folder.path} can be used: training starts anew.`);
  folder.rewind(0);
}

function trainStep(
  model: Trainable,
  objective: TrainingObjective,
  optimizer: AdamW,
  settings: TrainerSettings,
  folder: RunFolder,
  listener: TrainingListener,
): void {
  const started = performance.now();
  const step = optimizer.step + 1;
  const { accumulationSteps } = settings;
  const sums: Record<string, number> = {};
  let numTokens = 0;
  const scaled = (loss: Tensor): Tensor => (accumulationSteps === 1 ? loss : loss.div(accumulationSteps));
  for (let micro = 0; micro < accumulationSteps; micro++) {
    const options: ForwardOptions = {
      computeDType: settings.computeDType,
      dropoutSeed: dropoutSeed(settings.seed, step, micro),
      recomputeLayers: settings.recomputeLayers,
    };
    const position = objective.position();
    const learn = (): void =>
      scope(() => {
        const losses = objective.nextLosses(step, options);
        const value = losses.loss.item();
        if (!Number.isFinite(value)) throw nonFinite(`loss is ${value}`, step, model, folder, 'value');
        backward(scaled(losses.loss));
        sums.loss = (sums.loss ?? 0) + value / accumulationSteps;
        for (const [name, part] of Object.entries(losses.parts))
          sums[name] = (sums[name] ?? 0) + part.item() / accumulationSteps;
        numTokens += losses.numTokens;
      });
    const { adversary } = settings;
    if (!adversary) learn();
    else
      withAdversary(model.parameters.get(adversary.parameter)!, adversary.distance, learn, () => {
        objective.seek(position);
        scope(() => backward(scaled(objective.nextLosses(step, options).loss)));
      });
  }
  const gradientNorm = optimizer.gradientNorm();
  if (!Number.isFinite(gradientNorm))
    throw nonFinite(`gradient norm is ${gradientNorm}`, step, model, folder, 'gradient');
  const learningRate = learningRateAt(
    step,
    settings.totalSteps,
    settings.learningRate,
    settings.warmupFraction,
  );
  // The published optimiser adds 1e-6 to the norm, as torch.nn.utils.clip_grad_norm_ does.
  optimizer.update(learningRate, Math.min(1, settings.clipGradNorm / (gradientNorm + 1e-6)));
  optimizer.clearGradients();
  const tokensPerSecond = numTokens / ((performance.now() - started) / 1000);
  const line: MetricsLine = {
    kind: 'train',
    step,
    ...sums,
    learningRate,
    gradientNorm,
    numTokens,
    tokensPerSecond,
  };
  folder.record(line);
  listener.onStep?.(line);
}

/** A different key for each micro-batch of each step, below 2^53. */
function dropoutSeed(seed: number, step: number, micro: number): number {
  return ((seed & 0xfff) * 2 ** 28 + step) * 2 ** 10 + micro;
}

function nonFinite(
  what: string,
  step: number,
  model: Trainable,
  folder: RunFolder,
  where: 'value' | 'gradient',
): TrainingError {
  const layer = firstNonFinite(model, where);
  const { name, value } = largest(model, where);
  const found = layer
    ? `the first ${where} that is not finite is in "${layer}"`
    : `all ${where}s are finite, the largest, ${value.toPrecision(3)}, is in "${name}"`;
  const good = folder.checkpointSteps()[0];
  return new TrainingError(
    `Step ${step}: the ${what}; ${found}. ` +
      `${good === undefined ? 'There is no checkpoint yet' : `The last good checkpoint is ${folder.checkpointPath(good)}`}. ` +
      'Try a lower learning rate, a longer warm-up, or float32.',
  );
}
