// Generation tasks that PLUG and PALM were measured on. KBQG, LCSTS and CSL titles have no official file of JSON: their
// columns are those in which they are commonly shared.
import type { FinetuneTask, GenerationTask } from '../task.js';

function generation(
  name: string,
  columns: GenerationTask['columns'],
  own: Partial<GenerationTask> = {},
): GenerationTask {
  return { name, kind: 'generation', columns, metric: 'loss', ...own };
}

export const generationTasks: readonly FinetuneTask[] = [
  // A question from a passage and the answer that it is to have (Tang et al. 2021, arXiv 2004.11142).
  generation(
    'dureader-robust',
    { source: '{answer}。{context}', target: 'question', id: 'id' },
    { layout: 'squad', files: { train: 'train.json', dev: 'dev.json' }, defaults: { maxTargetLength: 64 } },
  ),
  generation(
    'dureader-qg',
    { source: '{answer}。{context}', target: 'question', id: 'id' },
    { defaults: { maxTargetLength: 64 } },
  ),
  // A question from a triple of a knowledge base.
  generation(
    'kbqg',
    { source: '{subject}，{predicate}，{object}', target: 'question' },
    { defaults: { maxLength: 128, maxTargetLength: 64 } },
  ),
  // Advertisements from attributes (Shao et al. 2019, arXiv 1908.06605).
  generation('adgen', { source: 'content', target: 'summary' }, { defaults: { maxLength: 128 } }),
  // Headlines of posts (Hu et al. 2015, arXiv 1506.05865).
  generation(
    'lcsts',
    { source: 'text', target: 'summary' },
    { defaults: { maxLength: 256, maxTargetLength: 64 } },
  ),
  generation('csl-title', { source: 'abst', target: 'title' }, { defaults: { maxTargetLength: 64 } }),
];
