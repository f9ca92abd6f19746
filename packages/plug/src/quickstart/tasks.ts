// The two tasks, made from couplets: does this lower line follow that upper one, and write the lower line.
import { splitOf } from '../corpus/index.js';
import type {
  ClassificationExample,
  ClassificationTask,
  FinetuneData,
  GenerationExample,
  GenerationTask,
  TargetChoice,
} from '../finetune/index.js';
import { keyedRandom, type RandomStream } from '../random.js';
import type { Couplet } from './poems.js';

export const followsTask: ClassificationTask = {
  name: 'follows',
  kind: 'classification',
  columns: { text: 'upper', textPair: 'lower', label: 'label' },
  labels: ['follows', 'other'],
  sentenceClasses: ['next', 'random'],
  metric: 'accuracy',
};

export const lowerLineTask: GenerationTask = {
  name: 'lower-line',
  kind: 'generation',
  columns: { source: 'upper', target: 'lower' },
  metric: 'loss',
};

/** Wrong lines offered beside the right one. */
const numDistractors = 3;

export interface TaskData {
  follows: FinetuneData<ClassificationExample>;
  lowerLine: FinetuneData<GenerationExample>;
  /** The test of the second task as a choice among four lower lines of the same length. */
  choices: TargetChoice[];
}

/** At most `limit` training couplets; dev and test are about a tenth and a third of that. */
export function makeTasks(couplets: readonly Couplet[], seed: number, limit: number): TaskData {
  const parts = { train: [] as Couplet[], dev: [] as Couplet[], test: [] as Couplet[] };
  for (const couplet of keyedRandom(seed, 1).shuffle([...couplets])) {
    // By document, so that no poem is on both sides.
    const test = splitOf(`test:${couplet.document}`, 0.3) === 'heldOut';
    const dev = !test && splitOf(`dev:${couplet.document}`, 0.1) === 'heldOut';
    parts[test ? 'test' : dev ? 'dev' : 'train'].push(couplet);
  }
  const kept = {
    train: parts.train.slice(0, limit),
    dev: parts.dev.slice(0, Math.ceil(limit / 10)),
    test: parts.test.slice(0, Math.ceil(limit / 3)),
  };
  const random = keyedRandom(seed, 2);
  const follows = (part: Couplet[]): ClassificationExample[] => {
    const pick = lineOfSameLength(part, random);
    return part.flatMap((couplet) => {
      // Each couplet once, as it is or with another's lower line, so that no upper line gives its label away.
      const label = random.integer(0, 1);
      return [{ text: couplet.upper, textPair: label === 0 ? couplet.lower : pick(couplet), label }];
    });
  };
  const lines = (part: Couplet[]): GenerationExample[] =>
    part.map(({ upper, lower }) => ({ source: upper, target: lower }));
  const pick = lineOfSameLength(kept.test, random);
  return {
    follows: { train: follows(kept.train), dev: follows(kept.dev), test: follows(kept.test) },
    lowerLine: { train: lines(kept.train), dev: lines(kept.dev), test: lines(kept.test) },
    choices: kept.test.map((couplet) => {
      const answer = random.integer(0, numDistractors);
      const candidates = Array.from({ length: numDistractors + 1 }, (_, index) =>
        index === answer ? couplet.lower : pick(couplet),
      );
      return { source: couplet.upper, candidates, answer };
    }),
  };
}

/** Draws a lower line of the same length from another document. */
function lineOfSameLength(couplets: readonly Couplet[], random: RandomStream): (couplet: Couplet) => string {
  const byLength = new Map<number, Couplet[]>();
  for (const couplet of couplets) {
    const { length } = couplet.lower;
    if (!byLength.has(length)) byLength.set(length, []);
    byLength.get(length)!.push(couplet);
  }
  return ({ lower, document }) => {
    const candidates = byLength.get(lower.length)!;
    for (let attempt = 0; attempt < 100; attempt++) {
      const other = candidates[random.integer(0, candidates.length - 1)]!;
      if (other.document !== document && other.lower !== lower) return other.lower;
    }
    return candidates.find((other) => other.lower !== lower)?.lower ?? lower;
  };
}
