// The post-LN encoder (BERT, Devlin et al. 2019, arXiv 1810.04805) against loops over plain numbers: the reference
// folders of the parity check are pre-LN only.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { PlugModel } from './index.js';
import {
  assertClose,
  outputsOf,
  randomText,
  smallConfig,
  smallModel,
  type TextPair,
} from './small-models.test-support.js';

const { hiddenSize, numAttentionHeads, layernormEpsilon, numHiddenLayers } = smallConfig;
const headSize = hiddenSize / numAttentionHeads;
const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
const plus = (a: readonly number[], b: readonly number[]): number[] => a.map((x, index) => x + b[index]!);

/** erf by a series without cancellation: 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!! */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let total = x;
  for (let n = 1; n < 200; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    total += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}

const gelu = (x: number): number => (x * (1 + erf(x / Math.SQRT2))) / 2;

/** The model's parameters as functions on one token's numbers. */
function partsOf(model: PlugModel) {
  const values = (name: string): number[] => model.parameters.get(name)!.toArray();
  return {
    row(name: string, index: number): number[] {
      return values(`${name}.weight`).slice(index * hiddenSize, (index + 1) * hiddenSize);
    },
    dense(name: string, x: readonly number[]): number[] {
      const weight = values(`${name}.weight`);
      return values(`${name}.bias`).map(
        (bias, out) => bias + sum(x.map((value, index) => value * weight[out * x.length + index]!)),
      );
    },
    norm(name: string, x: readonly number[]): number[] {
      const mean = sum(x) / x.length;
      const deviation = Math.sqrt(sum(x.map((value) => (value - mean) ** 2)) / x.length + layernormEpsilon);
      const [weight, bias] = [values(`${name}.weight`), values(`${name}.bias`)];
      return x.map((value, index) => ((value - mean) / deviation) * weight[index]! + bias[index]!);
    },
  };
}

/** softmax(q·k / √D)·v for each head; each token's projection is [queries | keys | values]. */
function attend(projected: readonly number[][], token: number): number[] {
  const part = (of: number, which: number, head: number): number[] =>
    projected[of]!.slice(which * hiddenSize + head * headSize, which * hiddenSize + (head + 1) * headSize);
  return Array.from({ length: numAttentionHeads }, (_, head) => {
    const query = part(token, 0, head);
    const weights = projected.map((_, other) => {
      const key = part(other, 1, head);
      return Math.exp(sum(query.map((value, index) => value * key[index]!)) / Math.sqrt(headSize));
    });
    return Array.from(
      { length: headSize },
      (_, index) => sum(weights.map((weight, other) => weight * part(other, 2, head)[index]!)) / sum(weights),
    );
  }).flat();
}

function plainEncoder(model: PlugModel, { source, types }: TextPair): number[][] {
  const { row, dense, norm } = partsOf(model);
  const embeddings = 'bert.embeddings';
  let states = source.map((id, position) =>
    norm(
      `${embeddings}.LayerNorm`,
      plus(
        plus(row(`${embeddings}.word_embeddings`, id), row(`${embeddings}.position_embeddings`, position)),
        row(`${embeddings}.token_type_embeddings`, types[position]!),
      ),
    ),
  );
  for (let index = 0; index < numHiddenLayers; index++) {
    const layer = `bert.encoder.layer.${index}`;
    const projected = states.map((x) => dense(`${layer}.attention.self.query_key_value`, x));
    states = states.map((x, token) => {
      const attended = dense(`${layer}.attention.output.dense`, attend(projected, token));
      const middle = norm(`${layer}.attention.output.LayerNorm`, plus(x, attended));
      const fed = dense(`${layer}.output.dense`, dense(`${layer}.intermediate.dense`, middle).map(gelu));
      return norm(`${layer}.output.LayerNorm`, plus(middle, fed));
    });
  }
  return states;
}

it('the post-LN encoder equals plain loops', () => {
  using model = smallModel({ preLn: false });
  const pairs = [1, 5, 9].map((length) => ({
    source: randomText(length, length),
    types: Array.from({ length }, (_, at) => at % 3),
    target: [1],
  }));
  const { encoded, sentence } = outputsOf(model, pairs, 'float64');
  const { dense } = partsOf(model);
  for (const [row, pair] of pairs.entries()) {
    const wanted = plainEncoder(model, pair);
    assertClose(encoded[row]!, wanted.flat(), 1e-12, `text ${row}`);
    assertClose(
      sentence[row]!,
      dense('cls.seq_relationship', wanted[0]!),
      1e-12,
      `sentence head, text ${row}`,
    );
  }
  assert.ok(encoded.flat().some((value) => Math.abs(value) > 1));
});
