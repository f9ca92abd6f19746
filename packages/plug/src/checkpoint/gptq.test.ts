// Rounding by GPTQ: what it gains on correlated inputs, what it leaves alone, and that packing keeps its numbers.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { aten, Generator, nn, scope, type Tensor, zeros } from '@openplug/torch';
import { CheckpointError } from '../errors.js';
import { gptqBytes, gptqRound } from './index.js';

// Two whole groups and a part of one; more features than a panel holds.
const [outFeatures, inFeatures, numInputs] = [70, 150, 400];

function normal(shape: number[], seed: number, std = 1): Tensor {
  const drawn = zeros(shape, 'float64');
  return aten.normal_(drawn, 0, std, new Generator(seed));
}

function plainlyRounded(weight: Tensor): Tensor {
  return nn.unpackLinear(nn.packLinear(weight, 'int4'), weight.shape[1]!);
}

/** Inputs [400, 150] of which each mixes the same few causes, and some noise of its own. */
function correlatedInputs(noise = 1): Tensor {
  const causes = normal([numInputs, 30], 1).matmul(normal([30, inFeatures], 2));
  return causes.add(normal([numInputs, inFeatures], 3, noise));
}

function hessianOf(inputs: Tensor): Tensor {
  return inputs.transpose(0, 1).matmul(inputs).mul(2);
}

describe('rounding by GPTQ', () => {
  it('changes the outputs for correlated inputs far less than plain rounding', () =>
    scope(() => {
      const [inputs, weight] = [correlatedInputs(), normal([outFeatures, inFeatures], 4, 0.05)];
      const outputError = (rounded: Tensor): number =>
        inputs
          .matmul(weight.sub(rounded.to('float64')).transpose(0, 1))
          .pow(2)
          .sum()
          .sqrt()
          .item();
      const plain = outputError(plainlyRounded(weight));
      const calibrated = outputError(gptqRound(weight, hessianOf(inputs)));
      assert.ok(calibrated < 0.6 * plain, `${calibrated} by GPTQ, ${plain} plainly`);
      // The weights themselves are further away: it is the outputs that are kept.
      const distance = (rounded: Tensor): number => weight.sub(rounded.to('float64')).pow(2).sum().item();
      assert.ok(
        distance(gptqRound(weight, hessianOf(inputs))) > distance(plainlyRounded(weight)),
        'no weight was moved on purpose',
      );
    }));

  it('gives numbers that packing keeps bit by bit, whatever the dtype of the weight', () =>
    scope(() => {
      // Closely related inputs of very different sizes: what a large one loses moves the weights of small ones by
      // many steps, also the largest of a group, and packing would find another scale for that.
      const sizes = normal([inFeatures], 10, 1.5).exp();
      const hessian = hessianOf(correlatedInputs(0.01).mul(sizes)).to('float32');
      for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
        const rounded = gptqRound(normal([outFeatures, inFeatures], 5, 0.05).to(dtype), hessian);
        assert.deepEqual([rounded.dtype, rounded.shape], ['float32', [outFeatures, inFeatures]]);
        assert.ok(aten.equal(plainlyRounded(rounded), rounded), dtype);
      }
    }));

  it('is plain rounding where inputs are not correlated, and where there were none', () =>
    scope(() => {
      const weight = normal([outFeatures, inFeatures], 6, 0.05).to('float32');
      const diagonal = aten.diag(normal([inFeatures], 7).pow(2).add(0.1));
      const plain = plainlyRounded(weight);
      assert.ok(aten.equal(gptqRound(weight, diagonal), plain), 'diagonal');
      assert.ok(aten.equal(gptqRound(weight, zeros([inFeatures, inFeatures])), plain), 'no inputs');
    }));

  it('copes with inputs that are always zero or always equal, and leaves weight and Hessian as they were', () =>
    scope(() => {
      const inputs = correlatedInputs();
      inputs.narrow(1, 10, 1).mul_(0);
      inputs.narrow(1, 21, 1).copy_(inputs.narrow(1, 20, 1));
      const [hessian, weight] = [hessianOf(inputs), normal([outFeatures, inFeatures], 8)];
      const [hessianBefore, weightBefore] = [hessian.clone(), weight.clone()];
      assert.ok(Number.isFinite(gptqRound(weight, hessian).sum().item()));
      assert.ok(aten.equal(hessian, hessianBefore) && aten.equal(weight, weightBefore));
    }));

  it('says when inputs are not finite, and what memory it takes', () =>
    scope(() => {
      const infinite = zeros([inFeatures, inFeatures]).add(Number.POSITIVE_INFINITY);
      assert.throws(
        () => gptqRound(normal([outFeatures, inFeatures], 9), infinite),
        (error: Error) => error instanceof CheckpointError && /not finite/.test(error.message),
      );
      assert.equal(gptqBytes([2, 10]), 8 * (4 * 100 + 3 * 20));
    }));
});
