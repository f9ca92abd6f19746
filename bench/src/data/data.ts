// Whether data starves training: the time to draw and pack one batch of stage 2 against that of one training step, of
// the same number of tokens, on the same machine.
import { caseSeed, StoredModel } from '../case.js';
import { type BenchOptions, report, selected, spreadOf, takeTurns } from '../harness/harness.js';
import { ourSide } from '../harness/side.js';
import {
  batchStream,
  createStage2Sampler,
  keyedRandom,
  packStage2,
  type TokenDocument,
  tokenCorpusFromDocuments,
} from '../openplug.js';
import {
  computeDTypes,
  type Shape,
  type ShapeName,
  shapeNames,
  shapes,
  special,
  trainingBatch,
} from '../shapes.js';
import type { TrainCase } from '../train/case.js';

const defaultRounds = 7;
const numDocuments = 2000;
const batchesPerTurn = 20;

/** Documents of random tokens, 100 to 2,000 of them, in sentences of 20. */
function documents(shape: Shape): TokenDocument[] {
  return Array.from({ length: numDocuments }, (_, index) => {
    const random = keyedRandom(caseSeed, index);
    const length = random.integer(100, 2000);
    const id = (): number => random.integer(special.mask + 1, shape.config.originalVocabSize - 1);
    return {
      tokens: Uint16Array.from({ length }, id),
      sentenceStarts: Uint32Array.from({ length: Math.ceil(length / 20) }, (_, sentence) => 20 * sentence),
    };
  });
}

/** Milliseconds for a batch and for a step, and their share. */
export async function benchData(options: BenchOptions): Promise<void> {
  const name: ShapeName = selected('shape', shapeNames, options.shape, ['reference'])[0]!;
  const dtype = selected('dtype', computeDTypes, options.dtype, ['bfloat16'])[0]!;
  const shape: Shape = shapes[name];
  const rounds = options.rounds ?? defaultRounds;
  const maxLength = shape.sourceLength;
  const vocabulary = { vocabSize: shape.config.originalVocabSize, special };
  const sampler = createStage2Sampler(tokenCorpusFromDocuments(documents(shape)), vocabulary, {
    seed: caseSeed,
    minLength: Math.min(32, maxLength >> 1),
    maxLength,
  });
  const tokensPerBatch = shape.batch * (shape.sourceLength + shape.targetLength);
  const stream = batchStream(sampler, { seed: caseSeed, tokensPerBatch });
  const build = async (): Promise<number> => {
    const started = performance.now();
    for (let batch = 0; batch < batchesPerTurn; batch++)
      packStage2(stream.nextBatch().map((index) => sampler.sample(index)));
    return (performance.now() - started) / batchesPerTurn;
  };
  using stored = new StoredModel(shape.config);
  const given: TrainCase = {
    precision: dtype,
    learningRate: 1e-3,
    weightDecay: 0.01,
    clipGradNorm: 1,
    batch: trainingBatch(shape, caseSeed),
  };
  await using side = ourSide('train/side.js', stored.storeCase(given));
  const ms = await takeTurns(rounds, {
    data: build,
    step: async () => 1000 * (await side.number({ do: 'steps', count: 1 }, 'seconds')),
  });
  const [data, step] = [spreadOf(ms.data), spreadOf(ms.step)];
  const share = data.median / step.median;
  const rows = [
    ['shape', 'dtype', 'tokens', 'batch ms', 'step ms', 'data / step'],
    [
      name,
      dtype,
      `${tokensPerBatch}`,
      data.median.toFixed(2),
      step.median.toFixed(0),
      `${(100 * share).toFixed(2)} %`,
    ],
  ];
  report(options, rows, { bench: 'data', rounds, shape: name, dtype, tokensPerBatch, data, step, share });
}
