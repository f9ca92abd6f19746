// The tasks of FewCLUE (Xu et al. 2021, arXiv 2107.07498). `train`, `dev` and `test` are the files with all examples
// and the public test; for one of the five small splits name its files (train_0.json, dev_0.json).
import type { ClassificationTask, FinetuneTask } from '../task.js';
import { appLabels, inferenceLabels, newsLabels, pronounMarks } from './clue.js';

const files = { train: 'train_few_all.json', dev: 'dev_few_all.json', test: 'test_public.json' };
const pair = { text: 'sentence1', textPair: 'sentence2', label: 'label', id: 'id' };

/** What the site takes: unlabelled tests, and not the public ones beside them. */
const siteFile = (name: string) => ({
  site: 'FewCLUE',
  file: `${name}_predict.json`,
  form: 'lines' as const,
  test: ['test.json'],
  // The five small training splits, and all of them together.
  parts: ['0', '1', '2', '3', '4', 'all'],
});

/** Small data takes many passes. */
const fewDefaults = { epochs: 10, maxLength: 128 };

function classification(
  name: string,
  submissionFile: string,
  own: Pick<ClassificationTask, 'columns' | 'labels'> & Partial<ClassificationTask>,
): ClassificationTask {
  return {
    name: `fewclue-${name}`,
    submission: siteFile(submissionFile),
    kind: 'classification',
    metric: 'accuracy',
    files,
    defaults: fewDefaults,
    ...own,
  };
}

/** Fields of science, 67 of them. */
const disciplines = [
  ...['中医学/中药学', '中国语言文学', '交通运输工程', '体育学', '作物学', '信息与通信工程', '光学工程'],
  ...[
    '公共卫生与预防医学',
    '公共管理',
    '兵器科学与技术',
    '军事学',
    '农业工程',
    '农业资源利用',
    '农林经济管理',
  ],
  ...[
    '冶金工程',
    '力学',
    '动力工程及工程热物理',
    '化学/化学工程与技术',
    '历史学',
    '口腔医学',
    '哲学',
    '园艺学',
  ],
  ...['图书馆、情报与档案管理', '土木工程', '地球物理学', '地理学', '地质学/地质资源与地质工程'],
  ...[
    '基础医学/临床医学',
    '大气科学',
    '天文学',
    '工商管理',
    '应用经济学',
    '建筑学',
    '心理学',
    '控制科学与工程',
  ],
  ...[
    '政治学',
    '教育学',
    '数学',
    '新闻传播学',
    '机械工程',
    '材料科学与工程',
    '林学/林业工程',
    '核科学与技术',
  ],
  ...['植物保护', '民族学', '水产', '水利工程', '法学', '测绘科学与技术', '海洋科学', '物理学'],
  ...['环境科学与工程', '理论经济学', '生物学/生物科学与工程', '电子科学与技术', '电气工程', '畜牧学/兽医学'],
  ...[
    '石油与天然气工程',
    '矿业工程',
    '社会学',
    '纺织科学与工程',
    '航空宇航科学与技术',
    '船舶与海洋工程',
    '艺术学',
  ],
  ...['药学', '计算机科学与技术', '食品科学与工程'],
];

export const fewClueTasks: readonly FinetuneTask[] = [
  classification('eprstmt', 'eprstmt', {
    columns: { text: 'sentence', label: 'label', id: 'id' },
    labels: ['Positive', 'Negative'],
  }),
  classification('csldcp', 'csldcp', {
    columns: { text: 'content', label: 'label', id: 'id' },
    labels: disciplines,
  }),
  classification('bustm', 'bustm', { columns: pair, labels: ['0', '1'] }),
  classification('ocnli', 'ocnlif', { columns: pair, labels: inferenceLabels, dropLabels: ['-'] }),
  classification('tnews', 'tnewsf', {
    columns: { text: 'sentence', label: 'label', id: 'id' },
    labels: newsLabels,
  }),
  classification('iflytek', 'iflytekf', {
    columns: { text: 'sentence', label: 'label', id: 'id' },
    labels: appLabels,
  }),
  classification('csl', 'cslf', {
    columns: { text: '{keyword}', textPair: 'abst', label: 'label', id: 'id' },
    labels: ['0', '1'],
    defaults: { epochs: 10, maxLength: 256 },
  }),
  classification('cluewsc', 'cluewscf', {
    // The test file for the site has ids from 1; the labelled files have `idx`, which the site never sees.
    columns: { text: 'text', label: 'label', id: 'id' },
    marks: pronounMarks,
    labels: ['true', 'false'],
    defaults: { epochs: 10, maxLength: 256 },
  }),
  {
    name: 'fewclue-chid',
    submission: { ...siteFile('chidf'), key: 'answer' },
    kind: 'choice',
    layout: 'rows',
    columns: { text: 'content', candidates: 'candidates', answer: 'answer', id: 'id' },
    place: '#idiom#',
    metric: 'accuracy',
    files,
    defaults: fewDefaults,
  },
];
