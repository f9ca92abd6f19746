// Prompt vectors: words where they are words, exact gradients, frozen models, and what refuses them.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { backward, noGrad, scope, type Tensor } from '@openplug/torch';
import { ShapeError } from '../errors.js';
import {
  indexTensor,
  lmLoss,
  PlugModel,
  promptIds,
  promptLayers,
  promptParameter,
  requireNoPrompt,
} from './index.js';
import {
  assertClose,
  randomParameters,
  randomText,
  smallConfig,
  smallModel,
  sourceBatch,
  targetBatch,
} from './small-models.test-support.js';

const promptTokens = 3;
const changes = { promptTokens, hiddenDropoutProb: 0.2, attentionProbsDropoutProb: 0.2 };
const options = { computeDType: 'float64' } as const;
const cls = 2;

const texts = [5, 8].map((length) => ({
  text: randomText(length, length),
  target: randomText(9, length - 2),
}));
const pairsWith = (prompt: readonly number[]) =>
  texts.map(({ text, target }) => {
    const source = [cls, ...prompt, ...text];
    return { source, types: source.map(() => 0), target };
  });

function lossOf(model: PlugModel, prompt: readonly number[], dropoutSeed?: number): Tensor {
  const given = { ...options, ...(dropoutSeed !== undefined && { dropoutSeed }) };
  const pairs = pairsWith(prompt);
  const [source, target] = [sourceBatch(pairs), targetBatch(pairs)];
  const decoded = model.decode(target, model.encode(source, given), source.layout, given);
  return lmLoss(model, decoded, indexTensor(randomText(3, target.layout.numTokens)), given);
}

describe('prompt vectors', () => {
  it('are read as words are, in the places of their ids', () => {
    using model = smallModel(changes);
    const words = [7, 11, 4];
    const vectors = model.parameters.get(promptParameter)!;
    const table = model.parameters.get('bert.embeddings.word_embeddings.weight')!;
    scope(() => noGrad(() => vectors.copy_(table.indexSelect(0, indexTensor(words)))));
    const encoded = (prompt: readonly number[]) =>
      scope(() => noGrad(() => model.encode(sourceBatch(pairsWith(prompt)), options).toArray()));
    assert.deepEqual(promptIds(model.config), [-1, -2, -3]);
    assertClose(encoded(promptIds(model.config)), encoded(words), 1e-12, 'prompt');
    assert.notDeepEqual(encoded([-2, -1, -3]), encoded(words));
  });

  it('have exact gradients, and do not touch the words that they stand for', () => {
    using model = smallModel(changes);
    const prompt = promptIds(model.config);
    for (const dropoutSeed of [undefined, 5]) {
      scope(() => backward(lossOf(model, prompt, dropoutSeed)));
      for (const name of [promptParameter, 'bert.embeddings.word_embeddings.weight']) {
        const parameter = model.parameters.get(name)!;
        const exact = scope(() => parameter.grad!.toArray());
        const places =
          name === promptParameter
            ? [...exact.keys()].filter((at) => at % 5 === 0)
            : [0, 1, cls * smallConfig.hiddenSize, texts[0]!.text[0]! * smallConfig.hiddenSize];
        for (const at of places) {
          const shifted = (by: number): number =>
            scope(() => {
              parameter.detach().reshape(-1).narrow(0, at, 1).add_(by);
              return noGrad(() => lossOf(model, prompt, dropoutSeed).item());
            });
          const numeric = (shifted(1e-5) - shifted(-2e-5)) / 2e-5;
          shifted(1e-5);
          assert.ok(Math.abs(numeric - exact[at]!) < 1e-8, `${name}[${at}]: ${exact[at]} for ${numeric}`);
        }
      }
      for (const parameter of model.parameters.values()) parameter.grad = undefined;
    }
  });

  it('are all that is trained of a frozen model', () => {
    const config = { ...smallConfig, ...changes };
    using whole = new PlugModel(config, randomParameters(1, 'float64'));
    using frozen = new PlugModel(config, randomParameters(1, 'float64'), promptLayers);
    const prompt = promptIds(config);
    const gradient = (model: PlugModel) => {
      scope(() => backward(lossOf(model, prompt)));
      return scope(() => model.parameters.get(promptParameter)!.grad!.toArray());
    };
    assertClose(gradient(frozen), gradient(whole), 1e-12, 'prompt');
    const trained = [...frozen.parameters].filter(([, parameter]) => parameter.requiresGrad);
    assert.deepEqual(
      trained.map(([name]) => name),
      [promptParameter],
    );
  });

  it('are refused by models that have fewer, and by layouts without a place for them', () => {
    using model = smallModel({ promptTokens: 2 });
    using none = smallModel();
    const encode = (of: PlugModel) => scope(() => of.encode(sourceBatch(pairsWith([-1, -2, -3])), options));
    assert.throws(() => encode(model), /has the id -3: .* of which the model has 2/);
    assert.throws(() => encode(none), ShapeError);
    assert.throws(() => requireNoPrompt(model.config, 'the layout'), /after 2 trained prompt vectors/);
    requireNoPrompt(none.config, 'the layout');
  });
});
