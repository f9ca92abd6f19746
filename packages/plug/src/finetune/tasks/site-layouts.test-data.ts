// What the sites say their files look like (CLUE 1.1's rules for submissions, FewCLUE's examples), written down apart
// from the tasks' declarations.
import assert from 'node:assert/strict';

/** One file of a site. */
interface SiteFile {
  /** A line for each row of the test, or one object from ids to answers. */
  form: 'lines' | 'map';
  key?: 'label' | 'answer';
  isAnswer(value: unknown): boolean;
}

const among =
  (...labels: string[]) =>
  (value: unknown) =>
    typeof value === 'string' && labels.includes(value);
const labelled = (...labels: string[]): SiteFile => ({
  form: 'lines',
  key: 'label',
  isAnswer: among(...labels),
});
const indexBelow = (end: number) => (value: unknown) =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < end;
const digits = (end: number): string[] => Array.from({ length: end }, (_, index) => String(index));

const news = '100 101 102 103 104 106 107 108 109 110 112 113 114 115 116'.split(' ');
const inference = ['entailment', 'neutral', 'contradiction'];
const isText = (value: unknown): boolean => typeof value === 'string';

/** By the name of the file in the zip. */
export const siteFiles: Readonly<Record<'CLUE' | 'FewCLUE', Readonly<Record<string, SiteFile>>>> = {
  CLUE: {
    'afqmc_predict.json': labelled('0', '1'),
    'tnews11_predict.json': labelled(...news),
    'iflytek_predict.json': labelled(...digits(119)),
    'cmnli_predict.json': labelled(...inference),
    'ocnli_50k_predict.json': labelled(...inference),
    'cluewsc11_predict.json': labelled('true', 'false'),
    'csl_predict.json': labelled('0', '1'),
    'cmrc2018_predict.json': { form: 'map', isAnswer: isText },
    'chid11_predict.json': { form: 'map', isAnswer: indexBelow(10) },
    'c311_predict.json': { form: 'lines', key: 'label', isAnswer: indexBelow(4) },
  },
  FewCLUE: {
    'eprstmt_predict.json': labelled('Positive', 'Negative'),
    // Names of disciplines in Chinese, several with a stroke between two.
    'csldcp_predict.json': {
      form: 'lines',
      key: 'label',
      isAnswer: (value) => typeof value === 'string' && /^[\p{Script=Han}/、]+$/u.test(value),
    },
    'tnewsf_predict.json': labelled(...news),
    'iflytekf_predict.json': labelled(...digits(119)),
    'ocnlif_predict.json': labelled(...inference),
    'bustm_predict.json': labelled('0', '1'),
    'chidf_predict.json': { form: 'lines', key: 'answer', isAnswer: indexBelow(7) },
    'cslf_predict.json': labelled('0', '1'),
    'cluewscf_predict.json': labelled('true', 'false'),
  },
};

/** Fails where a file is not as its site wants it, for a test with these ids in this order. */
export function assertSiteFile(file: SiteFile, content: string, ids: readonly (string | number)[]): void {
  if (file.form === 'map') {
    const answers = JSON.parse(content) as Record<string, unknown>;
    assert.deepEqual(Object.keys(answers), ids.map(String));
    for (const answer of Object.values(answers)) assert.ok(file.isAnswer(answer), `${answer}`);
    return;
  }
  const rows = content
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    rows.map(({ id }) => id),
    ids,
    'in the order of the test',
  );
  for (const row of rows) {
    assert.deepEqual(Object.keys(row), ['id', file.key]);
    assert.ok(file.isAnswer(row[file.key!]), JSON.stringify(row));
  }
}
