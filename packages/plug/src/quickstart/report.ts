// The report: a table for the terminal, report.md with loss curves beside it as SVG, and report.json.
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import type { LossCurve } from '../evaluate/charts.js';
import { type Accuracy, comparePaired, markdownTable, terminalTable } from '../evaluate/index.js';
import { RunFolder } from '../train/index.js';
import type { TaskBaselines } from './baselines.js';
import { ngramOrder } from './baselines.js';
import type { LanguageModelResult } from './language-model.js';
import type { PoetryCorpus } from './poems.js';
import type { WrittenPoem } from './poems-written.js';
import { type QuickstartSettings, shortRun } from './settings.js';
import type { GenerationTaskScores, TaskResult, UnderstandingScores } from './training.js';

/** Everything that the quickstart found. */
export interface QuickstartReport {
  settings: QuickstartSettings;
  poems: PoetryCorpus;
  numParameters: number;
  seconds: number;
  stages: {
    stage1: { steps: number; scores: Record<string, number> };
    stage2: { steps: number; beforeSwitch: Record<string, number>; scores: Record<string, number> };
  };
  languageModel: LanguageModelResult;
  understanding: TaskResult<UnderstandingScores>;
  generation: TaskResult<GenerationTaskScores>;
  baselines: { follows: TaskBaselines & { predictions: number[] }; lowerLine: TaskBaselines };
  written: WrittenPoem[];
  /** Right labels of the understanding task's test, in the order of the predictions. */
  followsLabels: number[];
}

interface Comparison {
  what: string;
  ours: string;
  against: string;
  theirs: string;
  better: boolean;
}

const columns = [
  { header: 'test' },
  { header: 'PLUG', align: 'right' },
  { header: 'compared with' },
  { header: '', align: 'right' },
  { header: 'better?' },
] as const;

/** Every comparison that the report makes, held or not. */
export function comparisons(report: QuickstartReport): Comparison[] {
  const { languageModel: lm, understanding, generation, baselines } = report;
  const rows: Comparison[] = [
    {
      what: `held-out bits per character (${lm.numCharacters} characters)`,
      ours: lm.bitsPerCharacter.toFixed(3),
      against: `${ngramOrder}-gram, modified Kneser–Ney, same text`,
      theirs: lm.ngramBitsPerCharacter.toFixed(3),
      better: lm.bitsPerCharacter < lm.ngramBitsPerCharacter,
    },
  ];
  const add = (what: string, ours: Accuracy, others: [string, Accuracy][]): void => {
    for (const [against, theirs] of others)
      rows.push({
        what: `${what} (${ours.numExamples})`,
        ours: percent(ours),
        against,
        theirs: percent(theirs),
        better: ours.accuracy > theirs.accuracy,
      });
  };
  add('accuracy: does this line follow', understanding.pretrained.test, [
    ['majority class', baselines.follows.majority],
    ['character bigrams, linear', baselines.follows.bigram],
    ['same network, no pre-training', understanding.fromScratch.test],
  ]);
  add('accuracy: the right lower line of four', generation.pretrained.choice as Accuracy, [
    ['majority answer', baselines.lowerLine.majority],
    ['character bigrams, linear', baselines.lowerLine.bigram],
    ['same network, no pre-training', generation.fromScratch.choice as Accuracy],
  ]);
  rows.push({
    what: 'bits per character of the lower line',
    ours: generation.pretrained.test.bitsPerCharacter.toFixed(3),
    against: 'same network, no pre-training',
    theirs: generation.fromScratch.test.bitsPerCharacter.toFixed(3),
    better: generation.pretrained.test.bitsPerCharacter < generation.fromScratch.test.bitsPerCharacter,
  });
  return rows;
}

function percent({ accuracy, standardError }: Accuracy): string {
  return `${(100 * accuracy).toFixed(1)} ± ${(100 * standardError).toFixed(1)} %`;
}

const cells = (rows: Comparison[]): string[][] =>
  rows.map(({ what, ours, against, theirs, better }) => [what, ours, against, theirs, better ? 'yes' : 'NO']);

/** The report for the terminal. */
export function terminalReport(report: QuickstartReport): string {
  const { written, settings } = report;
  const poems = written.map(({ prompt, text }) => `  ${prompt}${text}`);
  return [
    facts(report),
    '',
    terminalTable([...columns], cells(comparisons(report))),
    '',
    'Written by the model (beginnings are given):',
    ...poems,
    '',
    `Report with loss curves: ${join(settings.out, 'report.md')}`,
    `Let it write: npx plug generate --model ${settings.out} --prompt "春江潮水連海平"`,
    `Serve it:     npx plug serve --model ${settings.out}`,
  ].join('\n');
}

function facts(report: QuickstartReport): string {
  const { poems, numParameters, seconds, settings, stages } = report;
  return (
    `PLUG ${settings.size} (${(numParameters / 1e6).toFixed(1)}M parameters) after ${(seconds / 60).toFixed(1)} min: ` +
    `${poems.numPoems} Tang poems in ${poems.numDocuments} documents, ${poems.summary.train.tokens} training tokens, ` +
    `vocabulary ${poems.vocabSize}; stage 1 ${stages.stage1.steps} steps, stage 2 ${stages.stage2.steps} steps ` +
    `with ${shortRun.minSideLength} to ${shortRun.maxSideLength} tokens on each side (published: 32 to 512) and dropout ${shortRun.dropout} (published: 0.1).`
  );
}

/** Writes report.md, report.json and the two curves into the quickstart's folder. */
export async function writeReport(report: QuickstartReport): Promise<void> {
  const { out } = report.settings;
  const { understanding, stages, languageModel, written } = report;
  const { lossCurveSvg } = await import('../evaluate/charts.js'); // half of the time that a command takes to start
  for (const stage of [1, 2] as const)
    writeFileAtomic.sync(
      join(out, `stage${stage}-loss.svg`),
      lossCurveSvg(stageCurve(out, stage, stages.stage2.steps)),
    );
  const paired = comparePaired(
    understanding.pretrained.predictions,
    understanding.fromScratch.predictions,
    report.followsLabels,
  );
  const scores = (values: Record<string, number>): string =>
    Object.entries(values)
      .map(([name, value]) => `${name} ${value.toFixed(4)}`)
      .join(', ');
  const text = `# Quickstart report

${facts(report)}

${markdownTable([...columns], cells(comparisons(report)))}

Accuracies are ± one standard error. Test couplets are from poems that no training saw. On "does this line follow",
pre-training changes accuracy by ${(100 * paired.difference).toFixed(1)} ± ${(100 * paired.standardError).toFixed(1)} points (McNemar p = ${paired.pValue.toPrecision(2)}).

## Pre-training

- Stage 1, held out: ${scores(stages.stage1.scores)}
- Stage 2, held out, right before the masked LM is dropped: ${scores(stages.stage2.beforeSwitch)}
- Stage 2, held out, at the end: ${scores(stages.stage2.scores)}
- ${languageModel.numSkippedDocuments} held-out documents are too short to cut into source and continuation.

![Losses of stage 1](stage1-loss.svg)
![Losses of stage 2](stage2-loss.svg)

## Written by the model

${written.map(({ prompt, text }) => `> **${prompt}**${text}`).join('\n>\n')}
`;
  writeFileAtomic.sync(join(out, 'report.md'), text);
  writeFileAtomic.sync(
    join(out, 'report.json'),
    `${JSON.stringify({ ...report, comparisons: comparisons(report) }, null, 2)}\n`,
  );
}

function stageCurve(out: string, stage: 1 | 2, stage2Steps: number): LossCurve {
  const lines = new RunFolder(join(out, `stage${stage}`)).metrics();
  const of = (kind: string, name: string): [number, number][] =>
    lines.flatMap((line) =>
      line.kind === kind && typeof line[name] === 'number'
        ? [[line.step, line[name]] as [number, number]]
        : [],
    );
  const names = stage === 1 ? ['mlmLoss', 'sentenceLoss'] : ['lmLoss', 'mlmLoss'];
  const heldOut = stage === 1 ? 'mlmLoss' : 'lmLoss';
  return {
    title: `Stage ${stage}`,
    series: [
      ...names.map((name) => ({ name, points: of('train', name) })),
      { name: `${heldOut}, held out`, points: of('evaluate', heldOut) },
    ],
    xLabel: 'step',
    yLabel: 'nats per token',
    ...(stage === 2 && { markers: [{ x: Math.floor(0.9 * stage2Steps), label: 'masked LM dropped' }] }),
  };
}
