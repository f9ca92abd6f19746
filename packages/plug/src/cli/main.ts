// Builds the program from its commands, runs it, and turns every error into a message and an exit status.
import type { Command } from 'commander';
import { createProgram, usageStatus } from './command.js';
import { registerCorpus } from './corpus.js';
import { registerDoctor } from './doctor.js';
import { registerEvaluate } from './evaluate.js';
import { registerExport } from './export.js';
import { registerFinetune } from './finetune.js';
import { registerGenerate } from './generate.js';
import { registerImport } from './import.js';
import { registerInit } from './init.js';
import { registerInspect } from './inspect.js';
import { flushOutput, printError } from './output.js';
import { registerPlan } from './plan.js';
import { registerPredict } from './predict.js';
import { registerPretrain } from './pretrain.js';
import { stopProgress } from './progress.js';
import { registerQuantize } from './quantize.js';
import { registerQuickstart } from './quickstart.js';
import { registerServe } from './serve.js';
import { registerTokenizer } from './tokenizer.js';
import { packageVersion } from './version.js';

// In the order of the pipeline, which is also the order of the help.
const registrations: readonly ((program: Command) => void)[] = [
  registerDoctor,
  registerQuickstart,
  registerTokenizer,
  registerCorpus,
  registerPlan,
  registerInit,
  registerImport,
  registerPretrain,
  registerFinetune,
  registerEvaluate,
  registerPredict,
  registerGenerate,
  registerServe,
  registerQuantize,
  registerInspect,
  registerExport,
];

/** The whole program, not yet run. */
export function buildProgram(): Command {
  const program = createProgram(packageVersion());
  for (const register of registrations) register(program);
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
    await buildProgram().parseAsync(parameters, { from: 'user' });
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
