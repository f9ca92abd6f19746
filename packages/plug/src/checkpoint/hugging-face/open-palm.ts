// PALM 2.0 and ChatPLUG: a BERT that encodes, and a decoder of another make.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError } from '../../errors.js';
import type { OpenedModel } from '../tensor-source.js';
import { findPrefixes } from './bert-layout.js';
import { gatherBert } from './bert-parts.js';
import { GatheredTensors, parametersFor } from './gathered.js';
import { withVocabulary } from './open-bert.js';
import { readPalmConfig } from './palm-config.js';
import { palmBuffers, palmNames, palmTied } from './palm-layout.js';
import { openHuggingFaceWeights } from './weights.js';

const anchor = 'decoder.transformer_layers.0.layer_norm_1.weight';

/**
 * Opens a published PALM 2.0 or ChatPLUG: config.json, weights, and a folder with the encoder's config.json and
 * vocab.txt. It becomes an encoder-decoder that writes and can be fine-tuned. A masked-LM head, which such files do not
 * have, starts anew.
 * @throws ConfigError naming a field that asks for something else
 * @throws CheckpointError naming the tensor that is missing, misshapen or unknown
 */
export function openPalm(folder: string): OpenedModel {
  const weights = openHuggingFaceWeights(folder);
  try {
    const prefixes = findPrefixes({
      names: () => weights.names().filter((name) => !name.startsWith('translator.')),
    });
    const decoders = weights.names().filter((name) => name === anchor || name.endsWith(`.${anchor}`));
    if (!prefixes || decoders.length !== 1)
      throw new CheckpointError(
        `${weights.path} holds no PALM: one "…embeddings.word_embeddings.weight" and one "…${anchor}" are needed.`,
      );
    const root = decoders[0]!.slice(0, -anchor.length);
    const palm = readPalmConfig(folder, weights, prefixes);
    const vocabularyFolder = [palm.encoderFolder, folder].find((place) =>
      existsSync(join(place, 'vocab.txt')),
    );
    const { config, notes } = withVocabulary(palm.config, vocabularyFolder ?? folder);

    const parameters = parametersFor(config, weights);
    const isDecoders = ({ name }: { name: string }): boolean => name.startsWith('decoder.');
    const gathered = new GatheredTensors(weights);
    for (const name of weights.names()) if (palmBuffers.test(name)) gathered.leaveOut(name);
    const encoderNotes = gatherBert(
      gathered,
      weights,
      { ...prefixes, heads: root },
      parameters.filter((parameter) => !isDecoders(parameter)),
    );
    for (const parameter of parameters.filter(isDecoders))
      gathered.stack(
        parameter,
        palmNames(parameter.name).map((name) => root + name),
      );
    gathered.tied(root + palmTied.copy, root + palmTied.original);
    const [unknown] = gathered.unused();
    if (unknown !== undefined)
      throw new CheckpointError(
        `${weights.path}: tensor "${unknown}" belongs to no part of the PALM that config.json describes.`,
      );
    return {
      kind: `PALM 2.0 or ChatPLUG, ${config.numHiddenLayers} + ${config.decHiddenLayers} layers of ${config.hiddenSize}`,
      config,
      weights: gathered.source(),
      // Without its tokenizer_config.json: published code always lower-cases.
      filesBeside: vocabularyFolder === undefined ? [] : [join(vocabularyFolder, 'vocab.txt')],
      notes: [...palm.notes, ...notes, ...encoderNotes],
      [Symbol.dispose]: () => weights[Symbol.dispose](),
    };
  } catch (error) {
    weights[Symbol.dispose]();
    throw error;
  }
}
