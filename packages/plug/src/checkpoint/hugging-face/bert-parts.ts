// The parts of a BERT in a file: its encoder, which must be whole, and the heads of its pre-training, which may be absent.
import type { ParameterInfo } from '../../model/index.js';
import type { TensorSource } from '../tensor-source.js';
import { type BertPrefixes, bertNames, nameInFile } from './bert-layout.js';
import type { GatheredTensors } from './gathered.js';

/** Parts that a file may lack: those that go with a pre-training task. */
const optionalParts = {
  'bert.pooler.': 'the pooler (which OpenPLUG does not use)',
  'cls.predictions.': 'the masked-LM head',
  'cls.seq_relationship.': 'the head of the sentence relation',
};

/** Tensors that are no parameters. */
const buffers = /(^|\.)embeddings\.(position_ids|token_type_ids)$/;

/**
 * Adds the parameters of an encoder, `parameters`, to `gathered`.
 * @returns notes on what starts anew
 */
export function gatherBert(
  gathered: GatheredTensors,
  weights: TensorSource,
  prefixes: BertPrefixes,
  parameters: readonly ParameterInfo[],
): string[] {
  const actual = (name: string): string => nameInFile(weights, prefixes, name);
  const namesOf = ({ name }: ParameterInfo): string[] => bertNames(name).map(actual);
  for (const name of weights.names().filter((tensor) => buffers.test(tensor))) gathered.leaveOut(name);
  const wordEmbedding = 'bert.embeddings.word_embeddings.weight';
  const biasCopy = actual('cls.predictions.decoder.bias');
  const notes: string[] = [];
  const partOf = (name: string) => Object.entries(optionalParts).find(([prefix]) => name.startsWith(prefix));

  for (const parameter of parameters)
    if (!partOf(parameter.name)) gathered.stack(parameter, namesOf(parameter));
  for (const [prefix, description] of Object.entries(optionalParts)) {
    const part = parameters.filter(({ name }) => name.startsWith(prefix));
    const isThere = part.some((parameter) => namesOf(parameter).some((name) => weights.has(name)));
    const hasTwoClasses =
      prefix === 'cls.seq_relationship.' && isThere && isNextSentenceHead(weights, actual);
    for (const parameter of part) {
      const [name] = namesOf(parameter);
      if (!isThere || hasTwoClasses) gathered.startAnew(parameter, wordEmbedding);
      else gathered.stack(parameter, [weights.has(name!) || !isMaskedLmBias(parameter) ? name! : biasCopy]);
      if (hasTwoClasses) gathered.leaveOut(name!);
    }
    if (hasTwoClasses)
      notes.push(
        `${capitalised(description)} starts anew: the file has BERT's two classes of a pooled state, not StructBERT's three.`,
      );
    else if (isThere && prefix === 'cls.seq_relationship.')
      notes.push("The sentence head's three classes are taken as StructBERT's, of the first token's state.");
    else if (!isThere) notes.push(`${capitalised(description)} is not in the file and starts anew.`);
  }
  gathered.tied(actual('cls.predictions.decoder.weight'), actual(wordEmbedding));
  if (weights.has(actual('cls.predictions.bias'))) gathered.tied(biasCopy, actual('cls.predictions.bias'));
  return notes;
}

function isMaskedLmBias({ name }: ParameterInfo): boolean {
  return name === 'cls.predictions.bias';
}

function isNextSentenceHead(weights: TensorSource, actual: (name: string) => string): boolean {
  return ['weight', 'bias'].every((kind) => {
    const name = actual(`cls.seq_relationship.${kind}`);
    return weights.has(name) && weights.info(name).shape[0] === 2;
  });
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
