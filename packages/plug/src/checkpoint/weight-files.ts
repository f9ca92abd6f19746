// The weights of a model folder: `model.safetensors`, or several files with an index that says which tensor is where,
// as Hugging Face lays them out. The index also holds a checksum of each file.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs';
import { totalmem } from 'node:os';
import { basename, join } from 'node:path';
import { openSafetensors, type SafetensorsFile } from '@openplug/torch';
import { z } from 'zod';
import { CheckpointError } from '../errors.js';
import type { TensorSource } from './tensor-source.js';

export const weightsFile = 'model.safetensors';
export const indexFile = `${weightsFile}.index.json`;

const indexSchema = z.object({
  metadata: z
    .looseObject({
      total_size: z.number().optional(),
      /** SHA-256 by file; files that other programs wrote have none. */
      checksums: z.record(z.string(), z.string().regex(/^[0-9a-f]{64}$/)).optional(),
    })
    .optional(),
  weight_map: z.record(z.string(), z.string()),
});
export type WeightIndex = z.output<typeof indexSchema>;

/** The index of a folder's weights; undefined when there is none. @throws CheckpointError when it is malformed */
export function readWeightIndex(folder: string): WeightIndex | undefined {
  const path = join(folder, indexFile);
  if (!existsSync(path)) return undefined;
  try {
    return indexSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    throw new CheckpointError(`${path} is not an index of tensors: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** The files that hold a folder's weights, by name. @throws CheckpointError when there are none */
export function weightFiles(folder: string): string[] {
  const index = readWeightIndex(folder);
  if (!index) {
    if (!existsSync(join(folder, weightsFile)))
      throw new CheckpointError(
        `${folder} has no weights: neither ${weightsFile} nor ${indexFile} is there.`,
      );
    return [weightsFile];
  }
  const names = [...new Set(Object.values(index.weight_map))];
  for (const name of names) {
    if (name !== basename(name) || !name.endsWith('.safetensors'))
      throw new CheckpointError(
        `${join(folder, indexFile)} names the file ${JSON.stringify(name)}; only *.safetensors in the same folder can be.`,
      );
    if (!existsSync(join(folder, name)))
      throw new CheckpointError(`${join(folder, name)} is missing; ${indexFile} says that it holds tensors.`);
  }
  return names;
}

/**
 * Opens a folder's weights; only headers are read.
 * @throws CheckpointError when a file is missing or malformed, or does not hold what the index says
 */
export function openWeights(folder: string): TensorSource {
  const index = readWeightIndex(folder);
  const files: SafetensorsFile[] = [];
  try {
    const owner = new Map<string, SafetensorsFile>();
    for (const name of weightFiles(folder)) {
      const file = openSafetensors(join(folder, name));
      files.push(file);
      for (const tensor of file.names()) {
        if (index && index.weight_map[tensor] !== name)
          throw new CheckpointError(
            `${file.path} holds "${tensor}", but ${indexFile} ${index.weight_map[tensor] ? `has it in ${index.weight_map[tensor]}` : 'does not list it'}.`,
          );
        owner.set(tensor, file);
      }
    }
    const absent = Object.entries(index?.weight_map ?? {}).find(([name]) => !owner.has(name));
    if (absent)
      throw new CheckpointError(
        `${join(folder, absent[1])}: tensor "${absent[0]}" is missing; ${indexFile} lists it.`,
      );
    return joined(index ? folder : join(folder, weightsFile), files, owner);
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

function joined(
  path: string,
  files: readonly SafetensorsFile[],
  owner: ReadonlyMap<string, SafetensorsFile>,
): TensorSource {
  const holding = (name: string): SafetensorsFile => owner.get(name) ?? files[0]!; // which says that it has no such tensor
  return {
    path,
    names: () => [...owner.keys()],
    has: (name) => owner.has(name),
    info: (name) => holding(name).info(name),
    tensor: (name) => holding(name).tensor(name),
    [Symbol.dispose]() {
      for (const file of files) file.close();
    },
  };
}

/**
 * What to expect of a folder whose packed weights are used where they lie and do not fit memory; undefined when they do.
 * @param memoryBytes of this machine
 */
export function describeStreaming(folder: string, memoryBytes: number = totalmem()): string | undefined {
  const bytes = weightFiles(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
  // A part is needed for what is computed, and by the system.
  if (bytes < 0.9 * memoryBytes) return undefined;
  const gigabytes = (value: number): string => `${(value / 1e9).toFixed(1)} GB`;
  return (
    `The weights take ${gigabytes(bytes)} and this machine has ${gigabytes(memoryBytes)} of memory: layers are read from disk ` +
    `for each prompt, at least ${Math.ceil(bytes / 2e9)} s at 2 GB/s. \`plug quantize --precision int4\` would take a quarter of bfloat16.`
  );
}

/** What `verifyChecksums` found. */
export interface Verification {
  /** Files whose checksum was compared. */
  readonly verified: readonly string[];
  /** Files of which none is known. */
  readonly unknown: readonly string[];
}

/**
 * Reads all weights and compares their checksums.
 * @throws CheckpointError naming the first file that differs
 */
export async function verifyChecksums(
  folder: string,
  onBytes: (count: number) => void = () => {},
  signal?: AbortSignal,
): Promise<Verification> {
  const checksums = readWeightIndex(folder)?.metadata?.checksums ?? {};
  const [verified, unknown]: [string[], string[]] = [[], []];
  for (const name of weightFiles(folder)) {
    const expected = checksums[name];
    if (!expected) {
      unknown.push(name);
      continue;
    }
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(join(folder, name), { highWaterMark: 1 << 20, signal })) {
      hash.update(chunk as Buffer);
      onBytes((chunk as Buffer).length);
    }
    const actual = hash.digest('hex');
    if (actual !== expected)
      throw new CheckpointError(
        `${join(folder, name)} is damaged: its SHA-256 is ${actual}, ${indexFile} has ${expected}. Copy or make it again.`,
      );
    verified.push(name);
  }
  return { verified, unknown };
}
