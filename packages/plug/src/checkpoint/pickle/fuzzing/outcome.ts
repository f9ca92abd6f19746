// What opening one input gave, and whether that is allowed: a value, or an error of ours.

import { OpenPlugError } from '../../../errors.js';
import { keyedRandom } from '../../../random.js';
import { memorySource } from '../byte-source.js';
import { openTorchBytes } from '../torch-checkpoint.js';
import { torchZip } from './assemble.js';
import { hostileFiles } from './hostile.js';
import { mutateBytes, mutateOpcodes } from './mutate.js';
import type { Seed } from './seeds.js';

export interface Outcome {
  /** "value", or the error's text without its numbers and names: inputs of one signature went one way. */
  readonly signature: string;
  /** Set when this is a fault of the reader. */
  readonly fault?: string;
}

/** Tensors that are read of each file. */
const tensorsRead = 30;

/** Opens bytes as a file of torch.save and reads its tensors. */
export function openBytes(bytes: Uint8Array): Outcome {
  try {
    using checkpoint = openTorchBytes(memorySource('input', bytes), { verify: true });
    for (const name of checkpoint.names().slice(0, tensorsRead)) {
      const { shape } = checkpoint.info(name);
      using tensor = checkpoint.tensor(name);
      if (tensor.shape.join() !== shape.join())
        return { signature: 'shape', fault: `${name} has another shape` };
    }
    return { signature: 'value' };
  } catch (error) {
    const { message, stack } = error as Error;
    const signature = message.replace(/"(\\.|[^"\\])*"/g, '"…"').replace(/0x[0-9a-f]+|-?\d+/g, 'N');
    return error instanceof OpenPlugError ? { signature } : { signature, fault: stack ?? String(error) };
  }
}

/** The input that belongs to a seed and a number. `grown` are inputs that went a new way before. */
export function makeInput(
  seed: number,
  number: number,
  pickles: readonly Seed[],
  files: readonly Buffer[],
  grown: readonly Buffer[],
): { kind: string; bytes: Buffer } {
  const random = keyedRandom(seed, number);
  const pick = <Item>(items: readonly Item[]): Item => items[random.integer(0, items.length - 1)]!;
  const kind = random.integer(0, 99);
  if (kind < 35) {
    const { pickle, storages } = pick(pickles);
    return {
      kind: 'opcodes',
      bytes: torchZip(mutateOpcodes(pickle, random, pick(pickles).pickle), storages),
    };
  }
  if (kind < 50) {
    const { pickle, storages } = pick(pickles);
    return { kind: 'pickle', bytes: torchZip(mutateBytes(pickle, random, pick(pickles).pickle), storages) };
  }
  if (kind < 75) return { kind: 'file', bytes: mutateBytes(pick(files), random, pick(files)) };
  if (kind < 98 && grown.length > 0)
    return { kind: 'grown', bytes: mutateBytes(pick(grown), random, pick(files)) };
  const name = pick(Object.keys(hostileFiles));
  return { kind: name, bytes: hostileFiles[name]!(random) };
}
