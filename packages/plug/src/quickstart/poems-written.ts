// Poems that the finished model writes, for the report.
import { loadModel } from '../checkpoint/index.js';
import { generate } from '../generate/index.js';
import { chooseDType } from '../pretrain/index.js';
import { loadTokenizer } from '../text/index.js';

/** Beginnings: two well-known lines, and two titles. */
const prompts = ['春江潮水連海平，', '《山中秋夜》', '《送友人》', '白日依山盡，'];

export interface WrittenPoem {
  prompt: string;
  text: string;
}

/** One sampled continuation of each prompt; the seed makes them repeatable. */
export async function writePoems(modelFolder: string, seed: number): Promise<WrittenPoem[]> {
  using model = loadModel(modelFolder);
  const tokenizer = loadTokenizer(modelFolder);
  const generations = await generate(
    model,
    tokenizer,
    prompts,
    { maxLength: 48, temperature: 0.9, topK: 20, seed },
    { forward: { computeDType: chooseDType('auto') } },
  );
  return generations.map(({ texts }, index) => ({ prompt: prompts[index]!, text: texts[0]!.text }));
}
