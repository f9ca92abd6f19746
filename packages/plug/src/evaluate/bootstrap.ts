// Confidence intervals by resampling the examples (Efron 1979, "Bootstrap methods: another look at the jackknife"),
// percentile form.
import { ConfigError } from '../errors.js';
import { keyedRandom } from '../random.js';

/** An interval that covers the true value with some probability. */
export interface Interval {
  low: number;
  high: number;
}

export interface BootstrapOptions {
  /** Samples drawn. Default 2000. */
  samples?: number;
  /** Probability of the interval. Default 0.95. */
  level?: number;
  /** Default 1. */
  seed?: number;
}

const key = 0xb007;

/**
 * Interval of a statistic of some examples.
 * @param size number of examples
 * @param statistic of the examples with these indices, with repetitions
 * @throws ConfigError without examples, or for options out of range
 */
export function bootstrapInterval(
  size: number,
  statistic: (indices: Int32Array) => number,
  { samples = 2000, level = 0.95, seed = 1 }: BootstrapOptions = {},
): Interval {
  if (size < 1) throw new ConfigError('An interval needs at least one example, got none.');
  if (!(level > 0 && level < 1) || samples < 2)
    throw new ConfigError(
      `A bootstrap needs 2 samples or more and a level between 0 and 1, got ${samples} and ${level}.`,
    );
  const random = keyedRandom(seed, key);
  const indices = new Int32Array(size);
  const values = Float64Array.from({ length: samples }, () => {
    for (let at = 0; at < size; at++) indices[at] = random.integer(0, size - 1);
    return statistic(indices);
  }).sort();
  const tail = (1 - level) / 2;
  return { low: quantile(values, tail), high: quantile(values, 1 - tail) };
}

/** Interval of a mean. */
export function meanInterval(values: ArrayLike<number>, options?: BootstrapOptions): Interval {
  return bootstrapInterval(
    values.length,
    (indices) => indices.reduce((sum, index) => sum + values[index]!, 0) / indices.length,
    options,
  );
}

/**
 * Interval of the first system's accuracy minus the second's: the examples are drawn once for both, so what makes an
 * example hard for either does not widen it. It holds 0 where the two may be equally good.
 * @throws ConfigError when the lists differ in length or are empty
 */
export function pairedInterval(
  first: ArrayLike<number>,
  second: ArrayLike<number>,
  labels: ArrayLike<number>,
  options?: BootstrapOptions,
): Interval {
  const numExamples = labels.length;
  if (first.length !== numExamples || second.length !== numExamples)
    throw new ConfigError(
      `Paired answers must be one an example: got ${first.length} and ${second.length} for ${numExamples} labels.`,
    );
  const right = (answers: ArrayLike<number>, at: number): number => (answers[at] === labels[at] ? 1 : 0);
  return meanInterval(
    Float64Array.from({ length: numExamples }, (_, at) => right(first, at) - right(second, at)),
    options,
  );
}

/** Linear between order statistics, as numpy's default. */
function quantile(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (place - below) * (sorted[above]! - sorted[below]!);
}
