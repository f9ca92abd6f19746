// What the sides of a comparison are given: a folder with the initial weights under their published names, and a file
// of inputs for each row. Peers read the same files.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  newParameters,
  type PlugConfig,
  PlugModel,
  saveModel,
  type Tokenizer,
  tokenizerFromVocabulary,
} from './openplug.js';
import { special } from './shapes.js';

/** What every case holds besides its inputs. */
export interface GivenModel {
  /** Model folder: `config.json`, `model.safetensors`, `vocab.txt`. A side may keep files of its own beside it. */
  model: string;
  /** All cores, on all sides. */
  threads: number;
}

/** The seed of weights and inputs. */
export const caseSeed = 1;

/** A vocabulary of single Chinese characters with the special tokens in front. */
function madeTokenizer(vocabSize: number): Tokenizer {
  const tokens = Object.keys(special).map((name) => `[${name.toUpperCase()}]`);
  // The 20,902 characters of the first Unicode version, then those of Extension A.
  const codePoint = (index: number): number => (index < 20_902 ? 0x4e00 + index : 0x3400 + index - 20_902);
  for (let index = 0; tokens.length < vocabSize; index++) tokens.push(String.fromCodePoint(codePoint(index)));
  return tokenizerFromVocabulary(tokens);
}

/** A model on disk, gone at the end of the block with the cases written beside it. */
export class StoredModel implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'openplug-bench-'));
  #numCases = 0;

  constructor(config: PlugConfig) {
    try {
      using model = new PlugModel(config, newParameters(caseSeed));
      saveModel(this.folder, model);
      madeTokenizer(config.originalVocabSize).save(this.folder);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Writes the inputs of a row. @returns the path of the case */
  storeCase(inputs: object): string {
    const given: GivenModel = { model: this.folder, threads: availableParallelism() };
    const path = join(this.folder, `case-${this.#numCases++}.json`);
    writeFileSync(path, JSON.stringify({ ...given, ...inputs }));
    return path;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The case that this process was started with. */
export function givenCase<Inputs>(): GivenModel & Inputs {
  return JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as GivenModel & Inputs;
}
