// Tells the layouts of this folder apart by their config.json.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonObject } from './config-file.js';
import { isPalmConfig } from './palm-config.js';

/**
 * What a folder seems to hold; undefined when it is neither, such as a model folder of our own.
 * @throws ConfigError when there is a config.json that cannot be read
 */
export function huggingFaceKind(folder: string): 'bert' | 'palm' | undefined {
  const path = join(folder, 'config.json');
  if (!existsSync(path)) return undefined;
  const json = readJsonObject(path);
  if (isPalmConfig(json)) return 'palm';
  if ('pre_ln' in json || json.model_type === 'plug') return undefined;
  // Another type than BERT is refused by name when it is opened.
  return typeof json.model_type === 'string' || 'layer_norm_eps' in json ? 'bert' : undefined;
}
