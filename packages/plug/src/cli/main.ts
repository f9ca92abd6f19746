// Builds the program from its commands, runs it, and turns every error into a message and an exit status.
import type { Command } from 'commander';
import { createProgram, usageStatus } from './command.js';
import { flushOutput, printError } from './output.js';
import { stopProgress } from './progress.js';
import { packageVersion } from './version.js';

type Register = (program: Command) => void;

// In the order of the pipeline, which is also the order of the help. Each loads its code when it is needed: all of it
// takes longer to load than many a command takes to run.
const commands: Readonly<Record<string, () => Promise<Register>>> = {
  doctor: async () => (await import('./doctor.js')).registerDoctor,
  quickstart: async () => (await import('./quickstart.js')).registerQuickstart,
  tokenizer: async () => (await import('./tokenizer.js')).registerTokenizer,
  corpus: async () => (await import('./corpus.js')).registerCorpus,
  plan: async () => (await import('./plan.js')).registerPlan,
  init: async () => (await import('./init.js')).registerInit,
  import: async () => (await import('./import.js')).registerImport,
  pretrain: async () => (await import('./pretrain.js')).registerPretrain,
  finetune: async () => (await import('./finetune.js')).registerFinetune,
  evaluate: async () => (await import('./evaluate.js')).registerEvaluate,
  predict: async () => (await import('./predict.js')).registerPredict,
  generate: async () => (await import('./generate.js')).registerGenerate,
  serve: async () => (await import('./serve.js')).registerServe,
  quantize: async () => (await import('./quantize.js')).registerQuantize,
  inspect: async () => (await import('./inspect.js')).registerInspect,
  export: async () => (await import('./export.js')).registerExport,
};

/**
 * The program, not yet run.
 * @param name the first word of what will run: for a command that one alone is registered, for --version none, else all
 */
export async function buildProgram(name?: string): Promise<Command> {
  const program = createProgram(packageVersion());
  const known = name !== undefined && Object.hasOwn(commands, name);
  const needed = known ? [commands[name]!] : name === '--version' ? [] : Object.values(commands);
  for (const register of await Promise.all(needed.map((load) => load()))) register(program);
  return program;
}

/** Runs one command line (without `node` and the script) and ends the process with the command's status. */
export async function main(parameters: readonly string[]): Promise<never> {
  // `plug … | head` closes the pipe early; that is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  const status = await run(parameters);
  await flushOutput();
  process.exit(status);
}

async function run(parameters: readonly string[]): Promise<number> {
  // Asked of the bare words, as an error may come before they are parsed.
  const json = parameters.includes('--json');
  const debug = parameters.includes('--debug');
  try {
    const program = await buildProgram(parameters[0]);
    await program.parseAsync(parameters, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    const usage = usageStatus(error);
    if (usage === undefined) return printError(error, { json, debug });
    if (usage !== 0 && json) {
      const message = (error as Error).message.replace(/^error: /, '');
      process.stdout.write(`${JSON.stringify({ error: { code: 'USAGE', message } })}\n`);
    }
    return usage;
  } finally {
    stopProgress();
  }
}
