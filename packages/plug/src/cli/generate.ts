// `plug generate`: writes text after one or many prompts.
import { readFileSync } from 'node:fs';
import { setNumThreads } from '@openplug/torch';
import type { Command } from 'commander';
import { z } from 'zod';
import {
  describeStreaming,
  loadModel,
  readStoredPrecision,
  resolveModelFolder,
  shippedModelFolder,
} from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import {
  type Finish,
  type GeneratedChunk,
  type GeneratedText,
  type GenerateOptions,
  type GenerationSettings,
  generate,
  generateStream,
  generationFields,
} from '../generate/index.js';
import type { PlugModel } from '../model/index.js';
import { loadTokenizer, type Tokenizer } from '../text/index.js';
import { defineCommand } from './command.js';
import { checkProfilePath, withProfile } from './profile.js';

const schema = z.strictObject({
  model: z
    .string()
    .optional()
    .describe(
      'model folder, or the folder of a run that has made a model; without: the small one of classical poems that comes along',
    ),
  prompt: z
    .array(z.string())
    .min(1)
    .optional()
    .describe('texts to continue; an empty one is allowed. Without: lines of standard input'),
  promptFile: z
    .string()
    .optional()
    .describe('file with one prompt a line, empty lines are skipped; - is standard input'),
  stream: z
    .boolean()
    .optional()
    .describe(
      'print text while it is written, one text after another; to stderr with --json. On by itself for one text on a terminal',
    ),
  ...generationFields,
  batchSize: z.int().min(1).default(16).describe('texts written at a time'),
  tokenizer: z
    .string()
    .optional()
    .describe("folder with vocab.txt, or a vocab.txt, in place of the model folder's"),
  precision: z
    .enum(['auto', 'float32', 'bfloat16', 'int8', 'int4'])
    .default('auto')
    .describe(
      'how the weights of matrix products are kept: float32 as they are; bfloat16 in half the memory, with 8 bits of precision; int8 in a quarter, rounded to 255 steps, as are activations; int4 in an eighth, 15 steps for each 64 inputs; auto as they are stored by plug quantize, else float32',
    ),
  profile: z
    .string()
    .optional()
    .describe(
      'write a Chrome trace of the writing to this file, and the ten most expensive operators to stderr',
    ),
  threads: z
    .int()
    .min(1)
    .max(4096)
    .optional()
    .describe("threads of one operation, in place of libtorch's choice"),
});

interface Written {
  prompt: string;
  texts: readonly GeneratedText[];
  notes: readonly string[];
}

interface Writer {
  readonly model: PlugModel;
  readonly tokenizer: Tokenizer;
  readonly settings: GenerationSettings & { seed: number; numCandidates: number; beams: number };
}

export function registerGenerate(program: Command): void {
  defineCommand(program, {
    name: 'generate',
    summary: 'continue texts with a trained model',
    description:
      'Samples as published (temperature 0.9, top-k 20), or searches with --beams. Texts longer than --refresh-tokens move the window of the encoder along. The weights are packed for inference in --precision.',
    schema,
    examples: [
      ['plug generate --prompt 春江潮水连海平，', 'a poem, by the model that comes along'],
      ['plug generate --model runs/quickstart --prompt 春江潮水連海平', 'the continuation, as it is written'],
      [
        'plug generate --model runs/quickstart --prompt 春江潮水連海平 --json --num-candidates 3 --seed 7',
        'one JSON object',
      ],
      ['plug generate --model runs/quickstart --beams 5 < prompts.txt', 'best continuation of each line'],
      [
        'plug generate --model runs/quickstart --prompt 春江潮水連海平 --precision int8 --profile trace.json',
        'faster, and where the time goes',
      ],
    ],
    async run({ settings: given, json }) {
      const {
        model: path,
        prompt,
        promptFile,
        stream,
        batchSize,
        tokenizer: vocabulary,
        precision,
        profile,
        threads,
        ...settings
      } = given;
      checkProfilePath(profile);
      const prompts = readPrompts(prompt, promptFile);
      const folder = path === undefined ? shippedModelFolder() : resolveModelFolder(path);
      const tokenizer = loadTokenizer(vocabulary ?? folder);
      if (threads !== undefined) setNumThreads(threads);
      const stored = readStoredPrecision(folder);
      const streaming = stored && describeStreaming(folder);
      if (streaming) process.stderr.write(`${streaming}\n`);
      using model = loadModel(folder, {
        precision: precision === 'auto' ? (stored ?? 'float32') : precision,
      });
      const isOneText = prompts.length * settings.numCandidates === 1;
      const wantsStream = stream ?? (!json && isOneText && process.stdout.isTTY === true);
      // Beam search knows its text only at the end.
      const isStreamed = wantsStream && settings.beams === 1;
      const started = performance.now();
      const writer = { model, tokenizer, settings };
      const results = await withProfile(profile, () =>
        isStreamed
          ? writeStreaming(writer, prompts, json ? process.stderr : process.stdout)
          : writeBatches(writer, prompts, batchSize),
      );
      const seconds = (performance.now() - started) / 1000;
      const tokens = results
        .flatMap(({ texts }) => texts)
        .reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
      return {
        model: folder,
        precision: model.precision,
        results,
        tokens,
        seconds,
        tokensPerSecond: tokens / seconds,
        isStreamed,
      };
    },
    render: ({ results, isStreamed }) => (isStreamed ? '' : asLines(results)),
  });
}

function readPrompts(prompt: readonly string[] | undefined, file: string | undefined): readonly string[] {
  if (prompt && file !== undefined) throw new ConfigError('Give --prompt or --prompt-file, not both.');
  if (prompt) return prompt;
  if (file === undefined && process.stdin.isTTY)
    throw new ConfigError('No prompt: give --prompt TEXT, --prompt-file FILE, or lines on standard input.');
  const source = file === undefined || file === '-' ? 0 : file;
  let text: string;
  try {
    text = readFileSync(source, 'utf8');
  } catch (error) {
    throw new ConfigError(`The prompts in ${file} cannot be read: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  const prompts = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '');
  if (prompts.length === 0)
    throw new ConfigError(
      `${source === 0 ? 'Standard input' : file} holds no prompt: expected one on each line. For an empty prompt give --prompt "".`,
    );
  return prompts;
}

/** Tells notes on stderr as soon as they are known, each once. */
function noteTeller(): (note: string, prompt?: number) => void {
  const told = new Set<string>();
  return (note, prompt) => {
    const line = prompt === undefined ? note : `prompt ${prompt + 1}: ${note}`;
    if (!told.has(line)) process.stderr.write(`note: ${line}\n`);
    told.add(line);
  };
}

async function writeBatches(
  { model, tokenizer, settings }: Writer,
  prompts: readonly string[],
  batchSize: number,
): Promise<Written[]> {
  const { numCandidates, beams } = settings;
  const numTogether = Math.max(1, Math.floor(batchSize / Math.max(numCandidates, beams)));
  const results: Written[] = [];
  const tell = noteTeller();
  for (let first = 0; first < prompts.length; first += numTogether) {
    const batch = prompts.slice(first, first + numTogether);
    const seed = (settings.seed + first * numCandidates) % 2 ** 32;
    const onNote: GenerateOptions['onNote'] = (note, at) => tell(note, at === undefined ? at : first + at);
    const written = await generate(model, tokenizer, batch, { ...settings, seed }, { onNote });
    results.push(...written.map((generation, at) => ({ prompt: batch[at]!, ...generation })));
  }
  return results;
}

/** One text after another, so that the pieces of one are not mixed with those of the next. */
async function writeStreaming(
  { model, tokenizer, settings }: Writer,
  prompts: readonly string[],
  output: NodeJS.WritableStream,
): Promise<Written[]> {
  const results: Written[] = [];
  const tell = noteTeller();
  for (const [index, prompt] of prompts.entries()) {
    const notes = new Set<string>();
    const onNote = (note: string, at?: number): void => {
      notes.add(note);
      tell(note, at === undefined ? at : index);
    };
    const texts: GeneratedText[] = [];
    for (let candidate = 0; candidate < settings.numCandidates; candidate++) {
      const seed = (settings.seed + index * settings.numCandidates + candidate) % 2 ** 32;
      const one = { ...settings, seed, numCandidates: 1 };
      texts.push(
        await streamed(generateStream(model, tokenizer, prompt, one, { onNote }), seed, (piece) =>
          output.write(piece),
        ),
      );
      output.write('\n');
    }
    results.push({ prompt, texts, notes: [...notes] });
  }
  return results;
}

async function streamed(
  chunks: AsyncIterable<GeneratedChunk>,
  seed: number,
  show: (piece: string) => void,
): Promise<GeneratedText> {
  const tokenIds: number[] = [];
  const whole = { text: '', tokenIds, finish: 'length' as Finish, logProbability: 0, seed };
  for await (const { text, tokenId, finish, logProbability } of chunks) {
    show(text);
    whole.text += text;
    whole.logProbability += logProbability;
    if (finish !== 'end') tokenIds.push(tokenId);
    if (finish) whole.finish = finish;
  }
  return whole;
}

/** One text a line; with several prompts, the prompt and a tab come first. */
function asLines(results: readonly Written[]): string {
  const isOne = results.length === 1;
  const lines = results.flatMap(({ prompt, texts }) =>
    texts.map(({ text }) => (isOne ? text : `${prompt}\t${text}`)),
  );
  return `${lines.join('\n')}\n`;
}
