// What a model is: its configuration and tensors, its card, and its vocabulary. All from its files, by the server itself,
// so that the answers come while the model is busy or not loaded.
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { inspectFolder, resolveModelFolder, type StoredTensor } from '../../checkpoint/index.js';
import type { PlugConfig } from '../../model/index.js';
import { inferenceMemory, type ModelPart, placeOfParameter, plannedParameters } from '../../plan/index.js';
import { loadTokenizer, type Tokenizer } from '../../text/index.js';
import { listed, type ServerContext } from '../context.js';
import { readModelCard } from '../model-card.js';
import type { ServedModel } from '../model-pool.js';

const tokenizeSchema = z.strictObject({
  model: z.string().optional().describe('a name of /v1/models; the first one if it is left out'),
  input: z
    .union([z.string(), z.array(z.string()).min(1).max(256)])
    .describe('texts to be cut into tokens; [MASK] and the like are taken as they are spelled'),
});

const tokenizedSchema = z.object({
  model: z.string(),
  vocabSize: z.int(),
  data: z.array(
    z.object({
      index: z.int(),
      tokens: z.array(z.object({ id: z.int(), token: z.string() })),
      /** Tokens that the vocabulary does not have. */
      numUnknown: z.int(),
    }),
  ),
});

const named = z.object({ name: z.string() });

export function describeRoutes(app: FastifyInstance, context: ServerContext): void {
  const tokenizers = new WeakMap<ServedModel, Tokenizer>();
  const tokenizerOf = (model: ServedModel): Tokenizer => {
    const tokenizer = tokenizers.get(model) ?? loadTokenizer(resolveModelFolder(model.folder));
    tokenizers.set(model, tokenizer);
    return tokenizer;
  };

  const parameters = { schema: { params: named, tags: ['PLUG'] } };
  app.get('/v1/models/:name/parameters', parameters, (request) => {
    const model = context.model((request.params as z.output<typeof named>).name);
    const {
      folder: _,
      precision = 'plain',
      tensors,
      ...inspection
    } = inspectFolder(resolveModelFolder(model.folder));
    return {
      model: model.name,
      stored: precision,
      ...inspection,
      heldBytes: heldBytes(model, inspection.config),
      tensors: placed(tensors, inspection.config),
    };
  });

  app.get('/v1/models/:name/card', { schema: { params: named, tags: ['PLUG'] } }, (request) => {
    const model = context.model((request.params as z.output<typeof named>).name);
    return { model: model.name, ...readModelCard(model.folder) };
  });

  const schema = { body: tokenizeSchema, response: { 200: tokenizedSchema }, tags: ['PLUG'] };
  app.post('/v1/tokenize', { schema }, (request) => {
    const { model: name, input } = request.body as z.output<typeof tokenizeSchema>;
    const texts = listed(input);
    context.checkInputs(texts, 'input');
    const model = context.model(name);
    const tokenizer = tokenizerOf(model);
    const data = texts.map((text, index) => {
      const ids = [...tokenizer.encode(text, { splitSpecialTokens: true })];
      return {
        index,
        tokens: ids.map((id) => ({ id, token: tokenizer.idToToken(id) })),
        numUnknown: ids.filter((id) => id === tokenizer.special.unk).length,
      };
    });
    return { model: model.name, vocabSize: tokenizer.vocabSize, data };
  });
}

interface PlacedTensor extends StoredTensor {
  part: ModelPart;
  layer: number | undefined;
  /** Parameters that it stands for; 0 for what is stored beside one, as scales and tied copies are. */
  parameters: number;
}

function placed(tensors: readonly StoredTensor[], config: PlugConfig): PlacedTensor[] {
  const counts = new Map(plannedParameters(config).map(({ name, rankCount }) => [name, rankCount]));
  return tensors.map((tensor) => {
    // Packed weights are several tensors: name_values, name_scales.
    const parameter = tensor.name.replace(/\.weight_.*$/, '.weight');
    const parameters = counts.get(parameter) ?? 0;
    counts.delete(parameter);
    return { ...tensor, ...placeOfParameter(tensor.name), parameters };
  });
}

/** Bytes of the weights as the model's process holds them. */
function heldBytes({ info: { precision } }: ServedModel, config: PlugConfig): number {
  const mesh = { data: 1, tensor: 1 };
  const memory = inferenceMemory(config, { precision, batch: 1, sourceLength: 1, targetLength: 1, mesh });
  return memory.weights + memory.outputEmbedding + memory.embeddings + memory.vectors;
}
