import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StoredTensor } from './model-api.js';
import { groupTensors, kindOf } from './parameter-groups.js';

function tensor(name: string, part: StoredTensor['part'], layer?: number): StoredTensor {
  return {
    name,
    part,
    ...(layer !== undefined && { layer }),
    dtype: 'float32',
    shape: [2],
    bytes: 8,
    parameters: 2,
  };
}

test('tensors are grouped by layer, in the order of the model, each layer in parts', () => {
  const groups = groupTensors([
    tensor('decoder.decoder.layer.10.cross_attention.query.weight', 'decoder', 10),
    tensor('decoder.decoder.layer.2.post_attention_layernorm.bias', 'decoder', 2),
    tensor('decoder.decoder.final_layernorm.weight', 'decoder'),
    tensor('bert.encoder.layer.0.attention.self.query_key_value.weight_values', 'encoder', 0),
    tensor('bert.encoder.layer.0.intermediate.dense.weight', 'encoder', 0),
    tensor('bert.embeddings.word_embeddings.weight', 'embeddings'),
    tensor('cls.predictions.bias', 'maskedLmHead'),
  ]);
  assert.deepEqual(
    groups.map(({ key }) => key),
    ['embeddings', 'encoder.0', 'maskedLmHead', 'decoder.2', 'decoder.10', 'decoder'],
  );
  assert.deepEqual(
    groups[1]!.kinds.map(({ kind, bytes: size }) => [kind, size]),
    [
      ['attention', 8],
      ['feedForward', 8],
    ],
  );
  assert.equal(kindOf(tensor('bert.encoder.layer.1.attention.LayerNorm.weight', 'encoder', 1)), 'norm');
  assert.equal(groups[3]!.kinds[0]!.kind, 'norm');
});
