// LoRA adapters on disk, in the layout of PEFT: `adapter_config.json` and `adapter_model.safetensors`. A folder with
// them is read as the model that they were trained on, merged: W + α/r · B A.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  noGrad,
  openSafetensors,
  type SafetensorsFile,
  scope,
  type Tensor,
  writeSafetensors,
} from '@openplug/torch';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { CheckpointError } from '../errors.js';
import {
  adapterPrefix,
  adapterProduct,
  isAdapter,
  type LoraSettings,
  type PlugConfig,
} from '../model/index.js';
import type { TensorSource } from './tensor-source.js';
import { openWeights } from './weight-files.js';

const configFile = 'adapter_config.json';
export const adapterWeightsFile = 'adapter_model.safetensors';

/** The fields that are used; PEFT writes more. */
const schema = z.object({
  peft_type: z.literal('LORA'),
  base_model_name_or_path: z.string().min(1),
  r: z.int().min(1),
  lora_alpha: z.number().positive(),
  target_modules: z.union([z.string(), z.array(z.string())]).nullish(),
  bias: z.literal('none').default('none'),
});

/** Whether a folder holds adapters and not a model of its own. */
export function hasAdapter(folder: string): boolean {
  return existsSync(join(folder, configFile));
}

/**
 * Writes the adapters among `parameters`.
 * @throws CheckpointError when the folder cannot be written
 */
export function saveAdapter(
  folder: string,
  { base, rank, alpha, targets, dropout = 0 }: LoraSettings,
  parameters: ReadonlyMap<string, Tensor>,
): void {
  mkdirSync(folder, { recursive: true });
  const tensors = new Map([...parameters].filter(([name]) => isAdapter(name)));
  writeSafetensors(join(folder, adapterWeightsFile), tensors, { format: 'pt' });
  const config = {
    peft_type: 'LORA',
    base_model_name_or_path: resolve(base),
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    target_modules: targets.length > 0 ? targets : 'all-linear',
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    task_type: null,
  };
  writeFileAtomic.sync(join(folder, configFile), `${JSON.stringify(config, null, 2)}\n`);
}

/**
 * The weights of a folder, with its adapters merged into those of their base when it has any. An encoder may have been
 * adapted without the decoder that its base has.
 * @throws CheckpointError when a file is missing or damaged, or the adapters do not fit the base
 */
export function openMergedWeights(folder: string, { decHiddenLayers }: PlugConfig): TensorSource {
  if (!hasAdapter(folder)) return openWeights(folder);
  const lora = readAdapterConfig(folder);
  const { base } = lora;
  if (hasAdapter(base))
    throw new CheckpointError(`${folder} adapts ${base}, which holds adapters itself. Merge those first.`);
  const weights = openWeights(base);
  try {
    const adapters = openSafetensors(join(folder, adapterWeightsFile));
    return merged(folder, weights, adapters, lora, decHiddenLayers === 0 ? 'decoder.' : undefined);
  } catch (error) {
    weights[Symbol.dispose]();
    throw error;
  }
}

function readAdapterConfig(folder: string): LoraSettings {
  const path = join(folder, configFile);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new CheckpointError(`${path} cannot be read as JSON: ${(error as Error).message}.`);
  }
  const checked = schema.safeParse(json);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    throw new CheckpointError(`${path}: ${issue?.path.join('.') || 'the whole'}: ${issue?.message}.`);
  }
  const { base_model_name_or_path: base, r, lora_alpha: alpha } = checked.data;
  if (!existsSync(base))
    throw new CheckpointError(
      `${path}: the model that was adapted, ${base}, is not there. Put it back, or correct base_model_name_or_path.`,
    );
  return { base, rank: r, alpha, targets: [] };
}

function merged(
  folder: string,
  weights: TensorSource,
  adapters: SafetensorsFile,
  lora: LoraSettings,
  leftOut: string | undefined,
): TensorSource {
  const names = weights.names().filter((name) => leftOut === undefined || !name.startsWith(leftOut));
  const partsOf = (name: string): [down: string, up: string] | undefined => {
    if (!name.endsWith('.weight')) return undefined;
    const stem = adapterPrefix + name.slice(0, -'.weight'.length);
    const parts: [string, string] = [`${stem}.lora_A.weight`, `${stem}.lora_B.weight`];
    return parts.some((part) => adapters.has(part)) ? parts : undefined;
  };
  const known = new Set(names.flatMap((name) => partsOf(name) ?? []));
  const extra = adapters.names().find((name) => !known.has(name));
  if (extra !== undefined)
    throw new CheckpointError(`${adapters.path}: "${extra}" adapts no layer of ${weights.path}.`);
  return {
    path: folder,
    names: () => names,
    has: (name) => names.includes(name),
    info: (name) => weights.info(name),
    tensor(name) {
      const parts = partsOf(name);
      if (!parts) return weights.tensor(name);
      return noGrad(() =>
        scope(() => {
          const stored = weights.tensor(name);
          const [down, up] = parts.map((part) => adapters.tensor(part)) as [Tensor, Tensor];
          const { shape } = stored;
          if (up.shape[0] !== shape[0] || down.shape[1] !== shape[1] || up.shape[1] !== down.shape[0])
            throw new CheckpointError(
              `${adapters.path}: ${parts[0]} [${down.shape}] and ${parts[1]} [${up.shape}] do not fit "${name}" [${shape}].`,
            );
          return stored.add(adapterProduct(up, down, lora).to(stored.dtype));
        }),
      );
    },
    [Symbol.dispose]() {
      weights[Symbol.dispose]();
      adapters.close();
    },
  };
}
