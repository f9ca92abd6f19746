// Text to pre-train models for `npm run results` on: what may be copied and passed on, and the texts of the tasks'
// training and unlabelled parts. All of it is read from clones, at the commit that is named.

export interface TextSource {
  name: string;
  /** On GitHub. */
  repository: string;
  commit: string;
  licence: string;
  /** Paths of the Markdown files. */
  files: RegExp;
}

export const textSources: readonly TextSource[] = [
  {
    name: 'laws',
    repository: 'LawRefBook/Laws',
    commit: '2f4c5c23716267af9dbebbbbd6cbbf732b101981',
    licence: 'none needed: laws are exempt from copyright (Copyright Law of China, article 5)',
    files: /^(?!DLC\/|案例\/|司法解释\/|行政法规\/|README|法律法规模版).*\.md$/,
  },
  {
    name: 'lctt',
    repository: 'LCTT/TranslateProject',
    commit: '4948360714403ebcefc3abff80dcc69ad706bf5d',
    licence: 'Apache-2.0',
    files: /^published\/.*\.md$/,
  },
  {
    name: 'tidb',
    repository: 'pingcap/docs-cn',
    commit: 'ae9ab0fd89873986fabc4c8873d77d46ba76f066',
    licence: 'CC BY-SA 3.0',
    files: /^(?!releases\/).*\.md$/,
  },
  {
    name: 'oi',
    repository: 'OI-wiki/OI-wiki',
    commit: '76fa67c1ef16613519ec6c1a4c58857eba8b2a96',
    licence: 'CC BY-SA 4.0',
    files: /^docs\/.*\.md$/,
  },
  {
    name: 'java',
    repository: 'Snailclimb/JavaGuide',
    commit: 'fd4c37ab8f58a3c5520535d401adaf1adf72ed85',
    licence: 'Apache-2.0',
    files: /^docs\/.*\.md$/,
  },
  {
    name: 'd2l',
    repository: 'd2l-ai/d2l-zh',
    commit: 'e6b18ccea71451a55fcd861d7b96fddf2587b09a',
    licence: 'Apache-2.0',
    files: /^chapter_.*\/(?!.*_origin).*\.md$/,
  },
  {
    name: 'react',
    repository: 'reactjs/zh-hans.react.dev',
    commit: 'f6cda05526ceff44b24588e9e0c2e2106d4588d4',
    licence: 'CC BY 4.0',
    files: /^src\/content\/.*\.md$/,
  },
  {
    name: 'vue',
    repository: 'vuejs-translations/docs-zh-cn',
    commit: 'c2715ff75bae5376bc5bf212280ae76e30089fbd',
    licence: 'CC BY 4.0',
    files: /^src\/.*\.md$/,
  },
  {
    name: 'rust',
    repository: 'KaiserY/trpl-zh-cn',
    commit: '49df980589ccd5c1b8829b9be47439136dc34101',
    licence: 'MIT',
    files: /^src\/.*\.md$/,
  },
];

/** Where the unlabelled parts of the tasks are (`datasets/TASK/unlabeled.json`), of those that have one in the clone. */
export const unlabelled = {
  repository: 'CLUEbenchmark/FewCLUE',
  commit: '62a02c6',
  tasks: ['tnews', 'chid', 'eprstmt', 'bustm'],
} as const;
