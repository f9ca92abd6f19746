// One line about a run, from its files alone: what it is, how far it has come, how fast, and whether it still goes on.
import { existsSync, lstatSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { mlmUntilStep } from '../pretrain/index.js';
import { JsonLinesReader } from './json-lines.js';
import { finite, secondsOf } from './run-metrics.js';
import type { RunSummary } from './run-schemas.js';

const maxJsonBytes = 2 ** 20;
/** The end of the metrics that a summary is made of: some two thousand steps. */
const tailBytes = 512 * 1024;
/** A run that has written nothing for so long, and for so many of its own steps, has stopped. */
const freshMs = 120_000;
const freshSteps = 20;

const settingsSchema = z.discriminatedUnion('kind', [
  z.looseObject({
    kind: z.literal('pretrain'),
    stage: z.int(),
    totalSteps: z.int(),
    mlmFraction: z.number(),
  }),
  z.looseObject({
    kind: z.literal('finetune'),
    task: z.looseObject({ name: z.string(), kind: z.string() }),
    maxSteps: z.int().optional(),
  }),
]);
type RunSettings = z.infer<typeof settingsSchema>;
const resultSchema = z.looseObject({ steps: z.int(), plan: z.looseObject({ totalSteps: z.int() }) });

/** Settings that tell runs apart, in the order in which they are shown; what a run lacks is left out. */
const shownSettings = [
  'size',
  'init',
  'model',
  'corpus',
  'learningRate',
  'warmupFraction',
  'weightDecay',
  'epochs',
  'tokensPerBatch',
  'accumulationSteps',
  'maxLength',
  'minSideLength',
  'maxSideLength',
  'mlmFraction',
  'dropout',
  'loraRank',
  'fromScratch',
  'dtype',
  'threads',
  'seed',
] as const;
const paths = new Set(['init', 'model', 'corpus']);

/** Follows one run. */
export class RunWatcher {
  readonly #path: string;
  readonly #reader: JsonLinesReader;
  #settings: RunSettings | undefined;
  #last: { step: number; values: Record<string, number> } | undefined;
  #evaluation: { step: number; scores: Record<string, number> } | undefined;
  /** Weighted means of the newest steps. */
  #secondsPerStep: number | undefined;
  #tokensPerStep: number | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#reader = new JsonLinesReader(
      join(path, 'metrics.jsonl'),
      () => {
        this.#settings = undefined;
        this.#last = undefined;
        this.#evaluation = undefined;
        this.#secondsPerStep = undefined;
        this.#tokensPerStep = undefined;
      },
      (line) => this.#take(line),
      tailBytes,
    );
  }

  /** Undefined for folders whose settings are of something else, or damaged. */
  async summary(id: string): Promise<RunSummary | undefined> {
    await this.#reader.update();
    this.#settings ??= readJson(join(this.#path, 'settings.json'), settingsSchema);
    const settings = this.#settings;
    if (!settings) return undefined;
    const result = settings.kind === 'finetune' ? this.#result() : undefined;
    const isFinished =
      existsSync(join(this.#path, 'model', 'config.json')) && (settings.kind === 'pretrain' || !!result);
    const step = result?.steps ?? this.#last?.step ?? 0;
    const totalSteps =
      settings.kind === 'pretrain' ? settings.totalSteps : (result?.plan.totalSteps ?? settings.maxSteps);
    const seconds = this.#secondsPerStep;
    const updatedAt = Math.max(
      ...['metrics.jsonl', 'settings.json', 'checkpoints'].map((name) => this.#changedAt(name)),
    );
    const patienceMs = Math.max(freshMs, freshSteps * 1000 * (seconds ?? 0));
    const state = isFinished ? 'finished' : Date.now() - updatedAt < patienceMs ? 'running' : 'stopped';
    return {
      id,
      ...identity(settings),
      state,
      step,
      totalSteps,
      ...(seconds && this.#tokensPerStep && { tokensPerSecond: Math.round(this.#tokensPerStep / seconds) }),
      ...(seconds && { stepsPerSecond: Number((1 / seconds).toPrecision(4)) }),
      ...(seconds &&
        state === 'running' &&
        totalSteps !== undefined && {
          secondsLeft: Math.round(Math.max(0, totalSteps - step) * seconds),
        }),
      loss: this.#last?.values.loss,
      evaluation: this.#evaluation,
      opens: isFinished ? opens(settings) : undefined,
      settings: shown(settings),
      updatedAt: new Date(updatedAt).toISOString(),
    };
  }

  #take({ kind, step, ...rest }: Record<string, unknown>): void {
    if (typeof step !== 'number') return;
    const values = finite(rest);
    if (kind === 'evaluate') this.#evaluation = { step, scores: values };
    if (kind !== 'train') return;
    this.#last = { step, values };
    const seconds = secondsOf(values);
    if (seconds === 0) return;
    const moved = (mean: number | undefined, value: number): number => (mean ?? value) * 0.95 + value * 0.05;
    this.#secondsPerStep = moved(this.#secondsPerStep, seconds);
    this.#tokensPerStep = moved(this.#tokensPerStep, values.numTokens ?? 0);
  }

  #result(): z.infer<typeof resultSchema> | undefined {
    return readJson(join(this.#path, 'result.json'), resultSchema);
  }

  #changedAt(name: string): number {
    return statSync(join(this.#path, name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }
}

/** A small JSON file, if it is there and has the form. */
function readJson<Form extends z.ZodType>(path: string, form: Form): z.infer<Form> | undefined {
  try {
    const found = lstatSync(path);
    if (!found.isFile() || found.size > maxJsonBytes) return undefined;
    return form.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}

function identity(settings: RunSettings): Pick<RunSummary, 'kind' | 'stage' | 'task' | 'switchStep'> {
  if (settings.kind === 'finetune') return { kind: 'finetune', task: settings.task.name };
  const { stage } = settings;
  const switchStep = stage === 2 ? mlmUntilStep(settings) : 0;
  const hasSwitch = switchStep > 0 && switchStep < settings.totalSteps;
  return { kind: 'pretrain', stage, ...(hasSwitch && { switchStep }) };
}

/** The page of the studio that the finished model is for. */
function opens(settings: RunSettings): RunSummary['opens'] {
  if (settings.kind === 'pretrain') return settings.stage === 2 ? 'write' : undefined;
  return { generation: 'write', classification: 'understand' }[settings.task.kind] as RunSummary['opens'];
}

function shown(settings: RunSettings): RunSummary['settings'] {
  return Object.fromEntries(
    shownSettings.flatMap((name): [string, string | number | boolean][] => {
      const value: unknown = settings[name];
      // Where the folders of this machine lie is nobody's business.
      if (paths.has(name))
        return typeof value === 'string' ? [[name, value.split('/').slice(-2).join('/')]] : [];
      return ['string', 'number', 'boolean'].includes(typeof value) ? [[name, value as string]] : [];
    }),
  );
}
