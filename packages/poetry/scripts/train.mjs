// Trains the model of this package from nothing: data, vocabulary, both stages of pre-training, fine-tuning on
// finishing a poem, weights in 8 bits. Ctrl-C stops it; the same command goes on.
//
//     node packages/poetry/scripts/train.mjs [FOLDER] [plug flags, --threads 1 for example]
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { heldOutFraction, writeData } from './data.mjs';
import { recipe } from './recipe.mjs';

const [folder = 'runs/poetry', ...flags] = process.argv.slice(2);
const at = (name) => join(folder, name);
const command = fileURLToPath(new URL('../../plug/bin/plug.js', import.meta.url));

function plug(name, settings, extra = []) {
  const config = at(`${name.replaceAll(' ', '-')}-${settings.out.split('/').at(-1)}.json`);
  writeFileSync(config, JSON.stringify(settings, null, 2));
  const { status } = spawnSync(
    process.execPath,
    [command, ...name.split(' '), '--config', config, ...extra],
    {
      stdio: 'inherit',
    },
  );
  if (status !== 0) process.exit(status ?? 1);
}

if (!existsSync(at('data/corpus.jsonl'))) console.log('Texts:', writeData(at('data'), recipe.collections));
const corpus = [at('data/corpus.jsonl')];
const [tokenizer, tokens] = [at('vocabulary'), at('corpus')];
if (!existsSync(tokenizer)) plug('tokenizer train', { corpus, out: tokenizer, ...recipe.vocabulary });
if (!existsSync(tokens))
  plug('corpus build', { corpus, idField: 'id', heldOutFraction, tokenizer, out: tokens });

plug('pretrain', { stage: 1, corpus: tokens, tokenizer, out: at('stage1'), ...recipe.stage1 }, flags);
plug(
  'pretrain',
  { stage: 2, corpus: tokens, tokenizer, init: at('stage1'), out: at('stage2'), ...recipe.stage2 },
  flags,
);
writeFileSync(
  at('poem.json'),
  JSON.stringify({
    name: 'poem',
    kind: 'generation',
    columns: { source: 'source', target: 'target' },
    metric: 'loss',
  }),
);
plug(
  'finetune',
  {
    task: at('poem.json'),
    model: at('stage2'),
    data: [at('data/train.jsonl'), at('data/dev.jsonl')],
    out: at('poem'),
    ...recipe.finetune,
  },
  flags,
);
if (!existsSync(at('model')))
  plug('quantize', { model: at('poem'), out: at('model'), precision: recipe.precision });
console.log(`The model is in ${at('model')}.`);
