// The tasks of CLUE (Xu et al. 2020, arXiv 2004.05986), with columns, labels and file names as published. Names of
// submission files are those that the site's version 1.1 takes.
import type { FinetuneTask, SpanTask } from '../task.js';

/** CLUE's test files have no labels: they are for predictions. */
export const clueFiles = { train: 'train.json', dev: 'dev.json' };

const site = 'CLUE';

/** The tests that version 1.1 of the board made anew lie beside those of 1.0, `test1.0.json`. */
const renewedTest = ['test1.1.json', 'test.json'];

/** A line for each row: its id and label. */
const labelLines = (file: string, test = ['test.json']): FinetuneTask['submission'] => ({
  site,
  file: `${file}_predict.json`,
  form: 'lines',
  test,
});

export const inferenceLabels = ['entailment', 'neutral', 'contradiction'];

/** There is no 105 and no 111. */
export const newsLabels = [100, 101, 102, 103, 104, 106, 107, 108, 109, 110, 112, 113, 114, 115, 116].map(
  String,
);

/** 119 kinds of apps. */
export const appLabels = Array.from({ length: 119 }, (_, index) => String(index));

/** The pronoun and what it may stand for, marked as in CLUE's own baseline. */
export const pronounMarks = [
  { text: 'target.span1_text', at: 'target.span1_index', before: '_', after: '_' },
  { text: 'target.span2_text', at: 'target.span2_index', before: '[', after: ']' },
];

const pair = { text: 'sentence1', textPair: 'sentence2', label: 'label', id: 'id' };

/** Both have the layout of SQuAD. */
function spanTask(name: string, files: SpanTask['files'], submission: SpanTask['submission']): SpanTask {
  return {
    name,
    submission,
    kind: 'span',
    layout: 'squad',
    columns: {
      question: 'question',
      context: 'context',
      answer: 'answer',
      answerStart: 'answerStart',
      answers: 'answers',
      id: 'id',
    },
    metric: 'f1',
    files,
    defaults: { epochs: 2 },
  };
}

/** Defaults are those of CLUE's baselines: lengths that cut few texts. */
export const clueTasks: readonly FinetuneTask[] = [
  {
    name: 'afqmc',
    submission: labelLines('afqmc'),
    kind: 'classification',
    columns: pair,
    labels: ['0', '1'],
    metric: 'accuracy',
    files: clueFiles,
    defaults: { maxLength: 128 },
  },
  {
    name: 'tnews',
    submission: labelLines('tnews11', renewedTest),
    kind: 'classification',
    columns: { text: 'sentence', label: 'label', id: 'id' },
    labels: newsLabels,
    metric: 'accuracy',
    files: clueFiles,
    defaults: { maxLength: 128 },
  },
  {
    name: 'iflytek',
    submission: labelLines('iflytek'),
    kind: 'classification',
    columns: { text: 'sentence', label: 'label', id: 'id' },
    labels: appLabels,
    metric: 'accuracy',
    files: clueFiles,
    defaults: { maxLength: 256 },
  },
  {
    name: 'cmnli',
    submission: labelLines('cmnli'),
    kind: 'classification',
    columns: pair,
    labels: inferenceLabels,
    dropLabels: ['-'],
    metric: 'accuracy',
    files: clueFiles,
    defaults: { maxLength: 128 },
  },
  {
    name: 'ocnli',
    submission: labelLines('ocnli_50k'),
    kind: 'classification',
    columns: pair,
    labels: inferenceLabels,
    dropLabels: ['-'],
    metric: 'accuracy',
    files: { train: 'train.50k.json', dev: 'dev.json' },
    defaults: { maxLength: 128 },
  },
  {
    name: 'cluewsc2020',
    submission: labelLines('cluewsc11', renewedTest),
    kind: 'classification',
    columns: { text: 'text', label: 'label', id: 'id' },
    marks: pronounMarks,
    labels: ['true', 'false'],
    metric: 'accuracy',
    files: clueFiles,
    defaults: { maxLength: 256, epochs: 10 },
  },
  {
    name: 'csl',
    submission: labelLines('csl'),
    kind: 'classification',
    columns: { text: '{keyword}', textPair: 'abst', label: 'label', id: 'id' },
    labels: ['0', '1'],
    metric: 'accuracy',
    files: clueFiles,
    defaults: { maxLength: 256 },
  },
  spanTask('cmrc2018', clueFiles, {
    site,
    file: 'cmrc2018_predict.json',
    form: 'map',
    test: ['cmrc2018_test_2k.json', 'test.json'],
  }),
  // The test file of its authors has answers. Version 1.1 of the board leaves DRCD out: it is missing from none.
  spanTask(
    'drcd',
    { ...clueFiles, test: 'DRCD_test.json' },
    { file: 'drcd_predict.json', form: 'map', test: ['DRCD_test.json', 'test.json'] },
  ),
  {
    name: 'c3',
    submission: labelLines('c311', renewedTest),
    kind: 'choice',
    layout: 'c3',
    columns: {
      text: 'context',
      candidate: '{question}{candidate}',
      candidates: 'candidates',
      answer: 'answer',
      id: 'id',
    },
    metric: 'accuracy',
    // Mixed genres and dialogues, in files of their own. The tests of the authors have answers, CLUE's (test1.1.json) none.
    files: {
      train: ['m-train.json', 'd-train.json'],
      dev: ['m-dev.json', 'd-dev.json'],
      test: ['m-test.json', 'd-test.json'],
    },
  },
  {
    name: 'chid',
    submission: { site, file: 'chid11_predict.json', form: 'map', test: renewedTest },
    kind: 'choice',
    layout: 'chid',
    columns: { text: 'context', candidates: 'candidates', answer: 'answer', id: 'id' },
    place: '#idiom#',
    metric: 'accuracy',
    files: clueFiles,
    defaults: { maxLength: 128 },
  },
];
