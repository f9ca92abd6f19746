// The tiny BERT of test-data/bert-tiny, and copies of it that are changed in some way.
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openSafetensors, scope, type Tensor, writeSafetensors } from '@openplug/torch';
import type { TensorSource } from '../tensor-source.js';

export const bertTiny = fileURLToPath(new URL('../../../test-data/bert-tiny', import.meta.url));

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'plug-hugging-face-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface Edits {
  config?: (config: Record<string, unknown>) => void;
  tensors?: (tensors: Map<string, Tensor>) => void;
}

let copies = 0;

/** A copy of the tiny BERT under `parent`, with safetensors weights, after `edits`. */
export function editedBert(parent: string, edits: Edits): string {
  const folder = join(parent, `bert-${copies++}`);
  mkdirSync(folder);
  for (const name of ['vocab.txt', 'tokenizer_config.json'])
    copyFileSync(join(bertTiny, name), join(folder, name));
  const config = JSON.parse(readFileSync(join(bertTiny, 'config.json'), 'utf8')) as Record<string, unknown>;
  edits.config?.(config);
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  scope(() => {
    const file = openSafetensors(join(bertTiny, 'model.safetensors'));
    const tensors = new Map(file.names().map((name) => [name, file.tensor(name)]));
    edits.tensors?.(tensors);
    writeSafetensors(join(folder, 'model.safetensors'), tensors, { format: 'pt' });
    file.close();
  });
  return folder;
}

/** Every tensor's dtype, shape and bytes, by name. */
export function contentsOf(source: TensorSource): Map<string, string> {
  return new Map(
    source
      .names()
      .sort()
      .map((name) => {
        using tensor = source.tensor(name);
        const values = tensor.toTypedArray();
        const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
        return [name, `${tensor.dtype} [${tensor.shape}] ${bytes.toString('base64')}`];
      }),
  );
}
