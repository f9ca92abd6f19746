// The order in which samples become batches: a stream whose whole state is a small position object, the same
// whatever builds or consumes it.
import { ConfigError } from '../../errors.js';
import { keyedRandom } from '../../random.js';
import { streamKey } from './random-streams.js';
import { checkInteger } from './settings-checks.js';

/** Tokens of a sample on each side, special tokens included; stage 1 has no target (0). */
export interface SampleLength {
  source: number;
  target: number;
}

/** What batching needs of a sampler. */
export interface SampleLengths {
  readonly samplesPerEpoch: number;
  /** Tokens (source + target) of a sample at most. */
  readonly maxSampleTokens: number;
  lengthOf(index: number): SampleLength;
}

/** Where the next batch begins; plain integers, to be saved as JSON. */
export interface BatchPosition {
  /** First sample of the current window, counted through all epochs. */
  windowStart: number;
  /** Batches of this window that were given out. */
  batchInWindow: number;
  /** Batches and samples given out since the start, for schedules and reports. */
  batches: number;
  samples: number;
}

export interface BatchSettings {
  seed: number;
  /** Tokens (source + target) in a batch at most. */
  tokensPerBatch: number;
  /** Samples that are sorted by length together. Default 1024. */
  window?: number;
}

export interface BatchStream {
  /** A copy of the position; `seek` to it continues exactly here. */
  readonly position: BatchPosition;
  /** The epoch (from 0) of the next batch. A batch never mixes two epochs. */
  readonly epoch: number;
  /** Sample indices of the next batch. The stream has no end. */
  nextBatch(): number[];
  /** @throws ConfigError if the position cannot come from a stream with these settings. */
  seek(position: BatchPosition): void;
}

/**
 * Cuts each epoch into windows of consecutive samples, makes batches of similar lengths inside a window, and
 * gives them out in a seeded order. Each sample comes exactly once an epoch.
 *
 * Batches have a token budget and not a fixed number of samples: texts are packed without padding, so tokens
 * are what time, memory and the amount of learning signal depend on, and lengths differ by a factor of 16.
 *
 * @throws ConfigError if the budget cannot hold the longest sample, or a setting is out of range.
 */
export function batchStream(samples: SampleLengths, settings: BatchSettings): BatchStream {
  const { seed, tokensPerBatch, window = 1024 } = settings;
  const { samplesPerEpoch, maxSampleTokens } = samples;
  checkInteger('window', window, 1);
  checkInteger('tokensPerBatch', tokensPerBatch, 1);
  if (tokensPerBatch < maxSampleTokens) {
    throw new ConfigError(
      `tokensPerBatch is ${tokensPerBatch}, but one sample can have ${maxSampleTokens} tokens: raise ` +
        'tokensPerBatch or shorten the samples.',
    );
  }

  const windowEnd = (start: number): number =>
    Math.min(start + window, (Math.floor(start / samplesPerEpoch) + 1) * samplesPerEpoch);
  const batchesOf = (start: number): number[][] => {
    const batches = cutIntoBatches(samples, start, windowEnd(start), tokensPerBatch);
    return keyedRandom(seed, streamKey.batchOrder, start).shuffle(batches);
  };

  let position: BatchPosition = { windowStart: 0, batchInWindow: 0, batches: 0, samples: 0 };
  let current: { start: number; batches: number[][] } | undefined;
  const currentBatches = (): number[][] => {
    if (current?.start !== position.windowStart) {
      current = { start: position.windowStart, batches: batchesOf(position.windowStart) };
    }
    return current.batches;
  };

  return {
    get position() {
      return { ...position };
    },
    get epoch() {
      return Math.floor(position.windowStart / samplesPerEpoch);
    },
    nextBatch() {
      const batches = currentBatches();
      const batch = batches[position.batchInWindow]!;
      position.batches++;
      position.samples += batch.length;
      position.batchInWindow++;
      if (position.batchInWindow === batches.length) {
        position.windowStart = windowEnd(position.windowStart);
        position.batchInWindow = 0;
      }
      return [...batch];
    },
    seek(wanted) {
      for (const [name, value] of Object.entries(wanted)) checkInteger(`position.${name}`, value, 0);
      const { windowStart, batchInWindow, batches, samples } = wanted;
      const aligned = (windowStart % samplesPerEpoch) % window === 0;
      if (!aligned || batchInWindow >= batchesOf(windowStart).length) {
        throw new ConfigError(
          `The data position (windowStart ${windowStart}, batchInWindow ${batchInWindow}) does not exist with ` +
            `window ${window}, tokensPerBatch ${tokensPerBatch} and ${samplesPerEpoch} samples an epoch: the ` +
            'corpus or these settings changed since it was saved. Resume with those of the run.',
        );
      }
      position = { windowStart, batchInWindow, batches, samples };
    },
  };
}

/**
 * Similar lengths on both sides: the samples are sorted by source length and cut into bands, about the square
 * root of the number of batches, and each band is sorted by target length. Batches are then filled in this
 * order, evenly, so that the last of a window is not a small rest.
 */
function cutIntoBatches(
  samples: SampleLengths,
  start: number,
  end: number,
  tokensPerBatch: number,
): number[][] {
  const rows: { index: number; source: number; target: number }[] = [];
  let totalTokens = 0;
  let longest = 0;
  let anyTarget = false;
  for (let index = start; index < end; index++) {
    const { source, target } = samples.lengthOf(index);
    rows.push({ index, source, target });
    totalTokens += source + target;
    longest = Math.max(longest, source + target);
    anyTarget ||= target > 0;
  }
  rows.sort((a, b) => a.source - b.source || a.index - b.index);
  // Half a sample below the budget: what a batch overshoots its even share by when the cuts fall between samples.
  const numBatches = Math.ceil(totalTokens / (tokensPerBatch - longest / 2));
  if (anyTarget) {
    const bandSize = Math.ceil(rows.length / Math.round(Math.sqrt(numBatches)));
    for (let from = 0; from < rows.length; from += bandSize) {
      const band = rows.slice(from, from + bandSize).sort((a, b) => a.target - b.target || a.index - b.index);
      rows.splice(from, band.length, ...band);
    }
  }
  const share = totalTokens / numBatches;
  const batches: number[][] = [];
  let batch: number[] = [];
  let batchTokens = 0;
  let tokensBefore = 0;
  for (const { index, source, target } of rows) {
    const tokens = source + target;
    const full = batchTokens + tokens > tokensPerBatch;
    const even = tokensBefore + tokens / 2 > share * (batches.length + 1);
    if (batch.length > 0 && (full || even)) {
      batches.push(batch);
      batch = [];
      batchTokens = 0;
    }
    batch.push(index);
    batchTokens += tokens;
    tokensBefore += tokens;
  }
  batches.push(batch);
  return batches;
}
