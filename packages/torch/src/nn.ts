// Functions that layers are made of, with half-precision and dropout handled in one place.
import { aten } from './aten.js';
import { empty } from './create.js';
import type { DType } from './native.js';
import { callOperator, type Tensor } from './tensor.js';

export {
  groupSize,
  type PackedShape,
  type PackedWeight,
  type Precision,
  packedFrom,
  packedLinear,
  packedShapes,
  packLinear,
  panelWidth,
  unpackLinear,
} from './packed-weight.js';

/**
 * x·Wᵀ + b in the dtype of `x`: parameters of another dtype (fp32 masters under bf16 compute) are cast, and
 * their gradients cast back, by autograd.
 * @param x [..., in]
 * @param weight [out, in]
 * @param bias [out]
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  return aten.linear(x, weight.to(x.dtype), bias?.to(x.dtype));
}

/** gelu(x + bias), exact erf form, in one pass; `bias` [E] is cast to the dtype of `x`. */
export function biasGelu(x: Tensor, bias: Tensor): Tensor {
  return callOperator('openplug::gelu_bias', x, bias.to(x.dtype)) as Tensor;
}

/**
 * Layer normalisation over the last dimension (Ba et al. 2016, arXiv 1607.06450), biased variance, eps inside the
 * root. Computed in fp32, or in float64 when `weight` is; weight and bias get gradients of that precision.
 * @param x [..., E]
 * @param weight [E]
 * @param bias [E]
 * @param outDType of the result: a half-precision one spares the next matrix product its cast. Default: weight's
 */
export function layerNorm(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  eps: number,
  outDType: DType = weight.dtype,
): Tensor {
  const wide: DType = weight.dtype === 'float64' ? 'float64' : 'float32';
  const stored = (dtype: DType): DType => (wide === 'float32' && dtype === 'bfloat16' ? dtype : wide);
  const input = x.to(stored(x.dtype));
  const [w, b] = [weight.to(wide), bias.to(wide)];
  const output = callOperator('openplug::layer_norm', input, w, b, eps, stored(outDType)) as Tensor;
  return output.to(outDType);
}

/** Rows of `weight` [V, E] for integer `ids`. @throws NativeError when an id is out of range. */
export function embedding(weight: Tensor, ids: Tensor): Tensor {
  return aten.embedding(weight, ids);
}

/**
 * Where a dropout mask comes from. The mask is a function of these two and the position alone (Philox, Salmon et
 * al. 2011), so it needs no stored state and a recomputed forward pass draws the same one.
 */
export interface DropoutKey {
  /** Integer below 2^53: the run and the step. */
  seed: number;
  /** Integer below 2^53: the place in the network. Places are 2^32 apart. */
  offset: number;
}

/** Zeroes elements with probability `p` and scales the others by 1/(1 − p); `p` = 0 gives `x` itself. */
export function dropout(x: Tensor, p: number, key: DropoutKey): Tensor {
  return p === 0 ? x : (callOperator('openplug::dropout', x, p, key.seed, key.offset) as Tensor);
}

/** residual + dropout(x), in the dtype of `residual`. */
export function residualDropout(residual: Tensor, x: Tensor, p: number, key: DropoutKey): Tensor {
  return callOperator('openplug::residual_dropout', residual, x, p, key.seed, key.offset) as Tensor;
}

/** Settings of one attention call over packed rows. */
export interface PackedAttentionOptions {
  /** Query rows of each text, int64 [B]; they sum to N, or to less: rows past the last text are filler. */
  lengths: Tensor;
  /** What is attended to, if not the queries' own text: keys and values [Ns, 2E] and their rows, int64 [B]. */
  memory?: { keysValues: Tensor; lengths: Tensor };
  /** How many leading keys of each text may be attended to, int64 [B]. Default: all. */
  visible?: Tensor;
  numHeads: number;
  /** Factor on the scores. */
  scale: number;
  /** Key j is visible to query i only if j ≤ i. Default false. */
  causal?: boolean;
  /** Dropout on the probabilities, rounded to 1/65536. Default 0. */
  dropoutP?: number;
  /** Needed when `dropoutP` > 0. */
  key?: DropoutKey;
}

/**
 * Attention of each text of a packed batch to itself or to its memory, without padding: softmax(q·kᵀ·scale)·v with
 * dropout on the probabilities, softmax in fp32; memory grows with T, not with T·S (FlashAttention-2, Dao 2023, arXiv
 * 2307.08691). A text that shows no key attends uniformly. Filler rows are zero. A mask depends on its place (text,
 * head, query, key) and key alone, not on the other texts' lengths.
 * @param queries [N, E] with `memory`; without, the fused queries, keys and values [N, 3E]. float32, float64, bfloat16
 * @returns [N, E]
 * @throws NativeError when shapes, dtypes or lengths do not fit together
 */
export function packedAttention(queries: Tensor, options: PackedAttentionOptions): Tensor {
  const { lengths, memory, visible, numHeads, scale, causal = false, dropoutP = 0 } = options;
  const { seed, offset } = options.key ?? { seed: 0, offset: 0 };
  return callOperator(
    'openplug::packed_attention',
    queries,
    memory?.keysValues,
    lengths,
    memory?.lengths,
    visible,
    numHeads,
    scale,
    causal,
    dropoutP,
    seed,
    offset,
  ) as Tensor;
}

/**
 * Keys and values that single tokens attend to: `keys` [R, H, ⌈L/16⌉, D, 16], `values` [R, H, L, D]. Of each row a prefix
 * is filled. Their dtype is that of the queries, or bfloat16 under float32 queries; sums are float32 (float64).
 */
export interface KeptTokens {
  keys: Tensor;
  values: Tensor;
}

/** Room for `length` tokens in each row, nothing in it yet. */
export function emptyKeptTokens(
  [numRows, numHeads, length, headSize]: readonly [number, number, number, number],
  dtype: DType,
): KeptTokens {
  const numGroups = Math.ceil(length / keptGroup);
  return {
    keys: empty([numRows, numHeads, numGroups, headSize, keptGroup], dtype),
    values: empty([numRows, numHeads, length, headSize], dtype),
  };
}

/** Tokens whose keys stand side by side. */
export const keptGroup = 16;

/**
 * Keys | values of whole texts in packed rows [N, 2·H·D], to be attended to by single tokens. Places after a text are zero.
 * @param lengths tokens of each text, int64 [R]; they sum to N or less
 * @param length of every row of the result, that of the longest text or more
 * @param dtype of the result: that of `keysValues`, or bfloat16 if that is float32
 */
export function keepTexts(
  keysValues: Tensor,
  lengths: Tensor,
  length: number,
  numHeads: number,
  dtype: DType = keysValues.dtype,
): KeptTokens {
  const kept = callOperator('openplug::keep_texts', keysValues, lengths, length, numHeads, dtype) as Tensor[];
  return { keys: kept[0]!, values: kept[1]! };
}

/**
 * One new token of each row attends to its own text's kept keys and values, which it joins: softmax(q·kᵀ·scale)·v.
 * @param projected queries | keys | values of the new tokens [B, 3·H·D]
 * @param kept R = B; changed in place
 * @param positions place of each row's new token, int64 [B]
 * @returns [B, H·D], in the dtype of `projected`
 */
export function selfAttentionStep(
  projected: Tensor,
  { keys, values }: KeptTokens,
  positions: Tensor,
  scale: number,
): Tensor {
  return callOperator('openplug::self_attention_step', projected, keys, values, positions, scale) as Tensor;
}

/** The source that tokens attend to in `crossAttentionStep`. */
export interface StepMemory extends KeptTokens {
  /** Leading keys of each of these rows that may be seen, int64 [R]. */
  visible: Tensor;
  /** Which of these rows belongs to each row of queries, int64 [B]. */
  sources: Tensor;
  /** Factor on the scores. */
  scale: number;
}

/** One token of each row attends to a source: queries [B, H·D] → [B, H·D]. */
export function crossAttentionStep(
  query: Tensor,
  { keys, values, visible, sources, scale }: StepMemory,
): Tensor {
  return callOperator(
    'openplug::cross_attention_step',
    query,
    keys,
    values,
    visible,
    sources,
    scale,
  ) as Tensor;
}

/**
 * The most probable tokens of each row, and what turns logits to log-probabilities.
 * @param logits [B, V]
 * @param numReal logits from here on are never candidates, but count in the normalizer
 * @returns the `count` largest logits [B, count] and their ids, int32, largest first (of equals the smaller id first),
 *   and the log-sum-exp of each row [B]
 */
export function candidates(
  logits: Tensor,
  numReal: number,
  count: number,
): { logits: Tensor; ids: Tensor; normalizers: Tensor } {
  const [top, ids, normalizers] = callOperator('openplug::candidates', logits, numReal, count) as Tensor[];
  return { logits: top!, ids: ids!, normalizers: normalizers! };
}

/**
 * Mean of −log softmax(logits)[label] over rows, in one pass with its gradient; computed and returned in fp32, in
 * float64 for float64 logits. A logit of −∞ is a class without probability; no rows at all give NaN.
 * @param logits [M, V]
 * @param labels int64 [M]; rows labelled −100 do not count, but cost as much as others: leave most of them out
 * @throws NativeError naming the row when a label is no class
 */
export function crossEntropy(logits: Tensor, labels: Tensor): Tensor {
  const storage = logits.dtype === 'float16' ? logits.to('float32') : logits;
  return callOperator('openplug::cross_entropy', storage, labels) as Tensor;
}
