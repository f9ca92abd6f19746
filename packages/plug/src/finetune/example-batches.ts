// Examples in batches of similar lengths under a token budget: shuffled anew each epoch for training, in a fixed
// order for scoring.
import {
  type BatchStream,
  batchStream,
  type SampleLength,
  type SampleLengths,
} from '../pretrain/samples/index.js';
import { keyedRandom } from '../random.js';

const orderKey = 0x6101;

/** Batches whose examples are sorted by length together: more would make the batches of every epoch alike. */
const batchesPerWindow = 8;

export interface ExampleBatchSettings {
  seed: number;
  /** Tokens (source + target) in a batch at most. */
  tokensPerBatch: number;
}

/** Training batches with a position, and where epochs end. */
export interface ExampleStream extends Pick<BatchStream, 'position' | 'seek'> {
  /** Indices of the next batch's examples. */
  nextBatch(): number[];
}

/**
 * @param lengths of the examples
 * @throws ConfigError when the budget cannot hold the longest example
 */
export function exampleStream(
  lengths: readonly SampleLength[],
  settings: ExampleBatchSettings,
): ExampleStream {
  const { exampleAt, stream } = open(lengths, settings);
  return {
    get position() {
      return stream.position;
    },
    seek: (position) => stream.seek(position),
    nextBatch: () => stream.nextBatch().map(exampleAt),
  };
}

/** Batches given out by the end of each of the first `epochs` epochs. */
export function epochEnds(
  lengths: readonly SampleLength[],
  settings: ExampleBatchSettings,
  epochs: number,
): number[] {
  const { stream } = open(lengths, settings);
  const ends: number[] = [];
  while (ends.length < epochs) {
    stream.nextBatch();
    if (stream.epoch > ends.length) ends.push(stream.position.batches);
  }
  return ends;
}

function open(
  lengths: readonly SampleLength[],
  settings: ExampleBatchSettings,
): { stream: BatchStream; exampleAt: (index: number) => number } {
  const size = lengths.length;
  const totalTokens = lengths.reduce((sum, length) => sum + tokensOf(length), 0);
  const perBatch = settings.tokensPerBatch / (totalTokens / size);
  const orders = new Map<number, Int32Array>();
  const exampleAt = (index: number): number => {
    const epoch = Math.floor(index / size);
    let order = orders.get(epoch);
    if (!order) {
      order = keyedRandom(settings.seed, orderKey, epoch).shuffle(
        Int32Array.from({ length: size }, (_, i) => i),
      );
      orders.clear(); // a window never spans two epochs
      orders.set(epoch, order);
    }
    return order[index % size]!;
  };
  const samples = samplesOf(lengths, (index) => lengths[exampleAt(index)]!);
  const window = Math.max(1, Math.round(batchesPerWindow * perBatch));
  return { stream: batchStream(samples, { ...settings, window }), exampleAt };
}

/** Every example once, longest with longest; a batch holds at least one example however long. */
export function scoringBatches(lengths: readonly SampleLength[], tokensPerBatch: number): number[][] {
  if (lengths.length === 0) return [];
  const samples = samplesOf(lengths, (index) => lengths[index % lengths.length]!);
  const budget = Math.max(tokensPerBatch, samples.maxSampleTokens);
  const stream = batchStream(samples, { seed: 0, tokensPerBatch: budget, window: lengths.length });
  const batches: number[][] = [];
  while (stream.epoch === 0) batches.push(stream.nextBatch());
  return batches;
}

function samplesOf(
  lengths: readonly SampleLength[],
  lengthOf: (index: number) => SampleLength,
): SampleLengths {
  const maxSampleTokens = lengths.reduce((longest, length) => Math.max(longest, tokensOf(length)), 0);
  return { samplesPerEpoch: lengths.length, maxSampleTokens, lengthOf };
}

function tokensOf({ source, target }: SampleLength): number {
  return source + target;
}
