// Made-up rows in the official layout of every built-in task.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { layoutOf } from '../layouts.js';
import type { SplitName } from '../split-files.js';
import type { FinetuneTask } from '../task.js';

const line = (row: unknown): string => `${JSON.stringify(row)}\n`;
const repeated = <Row>(count: number, row: (index: number) => Row): Row[] =>
  Array.from({ length: count }, (_, index) => row(index));

const pair = (labels: readonly unknown[]) => (index: number) => ({
  id: index,
  sentence1: '春江潮水',
  sentence2: index % 2 ? '连海平' : '江',
  label: labels[index % labels.length],
});

/** Rows with labels by task; tests without labels have the same without `label` or `answer`. */
const rows: Record<string, (index: number) => Record<string, unknown>> = {
  afqmc: pair(['0', '1']),
  tnews: (index) => ({
    label: ['100', '116'][index % 2],
    label_desc: 'news_story',
    sentence: `春江${index}`,
    keywords: '潮水',
    id: index,
  }),
  iflytek: (index) => ({
    label: String((index * 59) % 119),
    label_des: '打车',
    sentence: '海上明月',
    id: index,
  }),
  cmnli: pair(['neutral', 'entailment', 'contradiction', '-']),
  ocnli: pair(['neutral', 'entailment', '-', 'contradiction']),
  cluewsc2020: (index) => ({
    target: { span2_index: 4, span1_index: 0, span1_text: '春江', span2_text: '海' },
    idx: index,
    id: index,
    label: index % 2 ? 'true' : 'false',
    text: '春江潮水海平',
  }),
  'fewclue-cluewsc': (index) => {
    const { id: _, ...row } = rows.cluewsc2020!(index);
    return row;
  },
  csl: (index) => ({ id: index, abst: '春江潮水连海平', keyword: ['江', '潮水'], label: String(index % 2) }),
  eprstmt: (index) => ({ id: index, sentence: '明月', label: index % 2 ? 'Positive' : 'Negative' }),
  csldcp: (index) => ({ content: '潮水', label: index % 2 ? '民族学' : '中医学/中药学', id: index }),
  bustm: pair(['0', '1']),
  'fewclue-tnews': (index) => ({ ...rows.tnews!(index), label: index % 2 ? 100 : 116 }),
  'fewclue-iflytek': (index) => ({ ...rows.iflytek!(index), label: index }),
  'fewclue-chid': (index) => ({
    id: index,
    candidates: ['春江', '潮水', '明月', '共生', '海', '江', '平'],
    content: '江#idiom#海',
    answer: index % 7,
  }),
  'dureader-qg': (index) => ({ id: index, context: '春江潮水', answer: '潮水', question: '江' }),
  kbqg: () => ({ subject: '江', predicate: '潮', object: '海', question: '春' }),
  adgen: () => ({ content: '春#江', summary: '潮水' }),
  lcsts: () => ({ text: '春江潮水', summary: '江' }),
  'csl-title': () => ({ abst: '春江潮水', title: '江' }),
};

const squad = (labelled: boolean) => ({
  version: 'v1.0',
  data: repeated(3, (index) => ({
    title: '江',
    paragraphs: [
      {
        id: `T_${index}`,
        context: '春江潮水连海平，海上明月共潮生。',
        qas: [
          {
            id: `Q_${index}`,
            question: '明月在哪？',
            ...(labelled && { answers: [{ text: '海上', answer_start: 8 }] }),
          },
        ],
      },
    ],
  })),
});

const c3 = (labelled: boolean, file: number) =>
  repeated(3, (index) => [
    ['男：春江？', '女：潮水。'],
    [
      {
        question: '什么？',
        choice: index % 2 ? ['潮水', '海'] : ['海', '江', '潮水', '月'],
        ...(labelled && { answer: '潮水' }),
      },
    ],
    `${file}-${index}`,
  ]);

/** The names under which their authors published the files of tasks that CLUE renamed. */
export const authorsFiles: Record<string, NonNullable<FinetuneTask['files']>> = {
  c3: {
    train: ['c3-m-train.json', 'c3-d-train.json'],
    dev: ['c3-m-dev.json', 'c3-d-dev.json'],
    test: ['c3-m-test.json', 'c3-d-test.json'],
  },
  cmrc2018: { train: 'cmrc2018_train.json', dev: 'cmrc2018_dev.json' },
  drcd: { train: 'DRCD_training.json', dev: 'DRCD_dev.json', test: 'DRCD_test.json' },
};

/** Files that were written: those of the splits have labels. */
export interface OfficialFiles extends Record<SplitName, string[]> {
  /** The test without labels that is predicted for the task's site, or for nobody. */
  unlabelled: string;
}

/**
 * Writes the files of a task's official folder.
 * @param names default: those that the task expects
 */
export function writeOfficialFiles(
  folder: string,
  task: FinetuneTask,
  names: FinetuneTask['files'] = task.files,
): OfficialFiles {
  mkdirSync(folder, { recursive: true });
  const { train = 'train.json', dev = 'dev.json', test = [] } = names ?? {};
  const write = (path: string, labelled: boolean, file = 0): string => {
    const layout = layoutOf(task);
    // Questions are made from given answers: tests have those too.
    if (layout === 'squad')
      writeFileSync(path, JSON.stringify(squad(labelled || task.kind === 'generation')));
    else if (layout === 'c3') writeFileSync(path, JSON.stringify(c3(labelled, file)));
    else if (layout === 'chid') {
      const candidates = ['春江', '潮水', '明月', '共生'];
      const content = ['江#idiom000001#海，#idiom000002#。'];
      writeFileSync(path, line({ groupid: 1, candidates, content }));
      const answers = { '#idiom000001#': 1, '#idiom000002#': 3 };
      if (labelled) writeFileSync(path.replace('.json', '_answer.json'), JSON.stringify(answers));
    } else {
      const make = rows[task.name] ?? rows[task.name.replace('fewclue-', '')]!;
      const made = repeated(8, make).map((row) => (labelled ? row : unlabelledRow(row, task)));
      writeFileSync(path, made.map(line).join(''));
    }
    return path;
  };
  const writeSplit = (split: string | string[]): string[] =>
    [split].flat().map((name, file) => write(join(folder, name), true, file));
  const splits = { train: writeSplit(train), dev: writeSplit(dev), test: writeSplit(test) };
  const unlabelled = join(folder, task.submission?.test?.[0] ?? 'test.json');
  // DRCD's test has its answers, and is the one that is predicted.
  return { ...splits, unlabelled: splits.test.includes(unlabelled) ? unlabelled : write(unlabelled, false) };
}

function unlabelledRow(row: Record<string, unknown>, task: FinetuneTask): Record<string, unknown> {
  if (task.kind === 'generation') return row;
  const { label: _, answer: __, idx, ...rest } = row;
  // FewCLUE's only: labelled rows are numbered in idx from 0, those for the site in id from 1.
  if (rest.id === undefined && typeof idx === 'number') rest.id = idx + 1;
  // TNEWS of FewCLUE has numbers as text in its test alone.
  return task.name === 'fewclue-tnews' ? { ...rest, id: String(rest.id) } : rest;
}
