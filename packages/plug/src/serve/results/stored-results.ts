// Finds what the runs below a folder have scored: `result.json` of plug finetune, `evaluations/NAME.json` of plug
// evaluate, and `trials.json`, which makes one result of several runs.
import { readdir } from 'node:fs/promises';
import { basename, isAbsolute, join, resolve } from 'node:path';
import type { z } from 'zod';
import { spreadOf } from '../../finetune/index.js';
import { foldersBelow, insidePath, JsonFiles } from './files.js';
import {
  type ListedResult,
  type ResultAnswer,
  type StoredScores,
  type StoredTask,
  storedEvaluation,
  storedResult,
  storedSettings,
  storedTrials,
} from './schemas.js';

/** A result with what only its own page needs. */
export interface FoundResult {
  listed: ListedResult;
  task: StoredTask;
  confusion?: number[][] | undefined;
  settings: ResultAnswer['settings'];
  /** Where its wrong predictions are; undefined where there are none. */
  errorsPath: string | undefined;
}

export interface FoundResults {
  results: FoundResult[];
  problems: { file: string; message: string }[];
}

/** Evaluations of one run that are looked at. */
const maxEvaluations = 200;

export class ResultsFolder {
  readonly #root: string;
  readonly #files: JsonFiles;

  constructor(root: string) {
    this.#root = resolve(root);
    this.#files = new JsonFiles(this.#root);
  }

  /** All results as the files are now, the newest first. */
  async find(): Promise<FoundResults> {
    const found: FoundResults = { results: [], problems: [] };
    const ways = await foldersBelow(this.#root);
    for (const way of ways) await this.#addRun(way, found);
    for (const way of ways) await this.#addTrials(way, found);
    found.results.sort((a, b) => (a.listed.finishedAt < b.listed.finishedAt ? 1 : -1));
    return found;
  }

  async #addRun(way: string, found: FoundResults): Promise<void> {
    const result = await this.#read(join(way, 'result.json'), storedResult, found);
    const settings = result && (await this.#read(join(way, 'settings.json'), storedSettings, found));
    const bySplit = new Map<string, FoundResult>();
    if (result && settings) {
      const { task, ...given } = settings.value;
      for (const split of ['dev', 'test'] as const) {
        const scores = result.value[split];
        const made = { task, scores, settings: given, modifiedMs: result.modifiedMs };
        if (scores) bySplit.set(split, await this.#resultOf(way, split, { ...made, scores }));
      }
    }
    for (const name of await this.#evaluationNames(way)) {
      const file = join(way, 'evaluations', `${name}.json`);
      const evaluation = await this.#read(file, storedEvaluation, found);
      if (!evaluation) continue;
      const { value, modifiedMs } = evaluation;
      // An evaluation of the model that the run has made started from what the run did.
      const own = value.shots === undefined ? settings?.value : undefined;
      const about = own ?? { model: value.model, fromScratch: false, loraRank: 0, headOnly: false };
      const data = { data: value.files.map((path) => basename(path)).join(', ') };
      const made = { ...value, settings: { ...about, ...data }, modifiedMs };
      bySplit.set(name, await this.#resultOf(way, name, made));
    }
    found.results.push(...bySplit.values());
  }

  async #resultOf(
    way: string,
    split: string,
    made: {
      task: StoredTask;
      scores: StoredScores;
      written?: z.output<typeof storedEvaluation>['written'];
      shots?: number | undefined;
      settings: Record<string, unknown> & ListedResult['start'];
      modifiedMs: number;
    },
  ): Promise<FoundResult> {
    const { task, scores, written, shots, settings } = made;
    const { confusion, interval, numExamples, truncated, ...figures } = scores;
    const { numWritten, ...textFigures } = written ?? {};
    const { fromScratch, loraRank, headOnly } = settings;
    const model = shortPath(settings.model);
    const errors = join(this.#root, way, 'errors', `${split}.jsonl`);
    const errorsPath = shots === undefined ? await insidePath(this.#root, errors) : undefined;
    return {
      task,
      confusion,
      errorsPath,
      settings: { ...plainSettings(settings), model },
      listed: {
        id: way === '' ? split : `${way}/${split}`,
        run: way === '' ? basename(this.#root) : way,
        split,
        task,
        start: { model, fromScratch, loraRank, headOnly },
        figures: { ...figures, ...textFigures },
        interval,
        numExamples,
        truncated,
        numWritten,
        shots,
        hasErrors: errorsPath !== undefined,
        finishedAt: new Date(made.modifiedMs).toISOString(),
      },
    };
  }

  async #addTrials(way: string, found: FoundResults): Promise<void> {
    const file = await this.#read(join(way, 'trials.json'), storedTrials, found);
    if (!file) return;
    const { trials, best } = file.value;
    const runs = trials.map(({ out, settings }) => {
      const name = basename(out);
      return { run: way === '' ? name : `${way}/${name}`, settings };
    });
    const kind = runs.every(({ settings }) => Object.keys(settings).join() === 'seed') ? 'seeds' : 'search';
    for (const split of ['dev', 'test']) {
      const members = runs.flatMap(({ run, settings }, index) => {
        const result = found.results.find(({ listed }) => listed.id === `${run}/${split}`);
        return result ? [{ result, settings, isBest: index === best }] : [];
      });
      const chosen = members.find(({ isBest }) => isBest) ?? members[0];
      if (!chosen) continue;
      const { listed } = chosen.result;
      const id = way === '' ? split : `${way}/${split}`;
      const first = firstFigure(listed);
      for (const { result } of members) result.listed.partOf = id;
      const means =
        kind === 'seeds' ? meansOf(members.map(({ result }) => result.listed.figures)) : undefined;
      const spread = spreadOf(members.flatMap(({ result }) => result.listed.figures[first] ?? []));
      const { interval, partOf: _, ...rest } = listed;
      found.results.push({
        ...chosen.result,
        confusion: undefined,
        errorsPath: undefined,
        listed: {
          ...rest,
          ...(kind === 'search' && { interval }),
          id,
          run: way === '' ? basename(this.#root) : way,
          figures: means ?? listed.figures,
          hasErrors: false,
          trials: {
            kind,
            standardDeviation: kind === 'seeds' && members.length > 1 ? spread?.standardDeviation : undefined,
            best: listed.id,
            members: members.map(({ result, settings }) => ({
              id: result.listed.id,
              value: result.listed.figures[first],
              settings: Object.entries(settings)
                .map(([name, value]) => `${name} ${value}`)
                .join(', '),
            })),
          },
        },
      });
    }
  }

  /** Undefined where there is no file; one that cannot be used is a problem that is told. */
  async #read<Schema extends z.ZodType>(
    way: string,
    schema: Schema,
    found: FoundResults,
  ): Promise<{ value: z.output<Schema>; modifiedMs: number } | undefined> {
    try {
      const file = await this.#files.read(way);
      if (!file) return undefined;
      const checked = schema.safeParse(file.json);
      if (checked.success) return { value: checked.data, modifiedMs: file.modifiedMs };
      const [issue] = checked.error.issues;
      found.problems.push({ file: way, message: `${issue?.path.join('.')}: ${issue?.message}` });
    } catch (error) {
      found.problems.push({ file: way, message: (error as Error).message });
    }
    return undefined;
  }

  async #evaluationNames(way: string): Promise<string[]> {
    const folder = await insidePath(this.#root, join(this.#root, way, 'evaluations'));
    if (folder === undefined) return [];
    const names = await readdir(folder).catch(() => []);
    return names
      .flatMap((name) => (name.endsWith('.json') ? [name.slice(0, -'.json'.length)] : []))
      .sort()
      .slice(0, maxEvaluations);
  }
}

/** The figure that stands for a result. */
export function firstFigure({ task: { kind } }: ListedResult): 'accuracy' | 'f1' | 'bitsPerCharacter' {
  if (kind === 'span') return 'f1';
  return kind === 'generation' ? 'bitsPerCharacter' : 'accuracy';
}

/** Of every figure that all have; standard errors of single runs say nothing of a mean. */
function meansOf(all: readonly ListedResult['figures'][]): ListedResult['figures'] {
  const names = Object.keys(all[0] ?? {}) as (keyof ListedResult['figures'])[];
  const means = names.flatMap((name) => {
    const values = all.flatMap((figures) => figures[name] ?? []);
    if (name === 'standardError' || values.length < all.length) return [];
    return [[name, values.reduce((sum, value) => sum + value, 0) / values.length] as const];
  });
  return Object.fromEntries(means);
}

/** The end of a path: where a machine keeps its models is nobody's business. */
function shortPath(path: string): string {
  const parts = path.replace(/\/model$/, '').split('/');
  return isAbsolute(path) ? parts.slice(-2).join('/') : parts.join('/');
}

/** What can be shown on one line, without the places of files. */
function plainSettings(settings: Record<string, unknown>): ResultAnswer['settings'] {
  const hidden = new Set(['kind', 'out', 'examples']);
  const entries = Object.entries(settings).filter(([name]) => !hidden.has(name));
  return Object.fromEntries(
    entries.flatMap(([name, value]) =>
      ['string', 'number', 'boolean'].includes(typeof value)
        ? [[name, value as string | number | boolean]]
        : [],
    ),
  );
}
