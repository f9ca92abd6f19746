// The frame of every command: options from its settings schema, --config, --json and --debug, examples in the
// help, interrupts, and the exit status. A command file says only what is its own.
import { Command, CommanderError } from 'commander';
import { type Origin, type ResolvedSettings, resolveSettings, type SettingsSchema } from '../config/index.js';
import { INTERRUPTED, isAbort, withInterrupt } from './interrupt.js';
import { addSettingsOptions } from './options.js';
import { EXIT, printResult } from './output.js';
import { stopProgress } from './progress.js';

/** What a command's `run` is given. */
export interface CommandContext<Schema extends SettingsSchema> {
  readonly settings: ResolvedSettings<Schema>['settings'];
  readonly origins: Record<string, Origin>;
  /** Settings with origins, as `printSettings` and `settingsRecord` take them. */
  readonly resolved: ResolvedSettings<Schema>;
  /** The words that are not flags. */
  readonly words: readonly string[];
  /** Aborted by Ctrl-C when the command is `interruptible`; never otherwise. */
  readonly signal: AbortSignal;
  /** True when stdout belongs to one JSON object: stream nothing else to it. */
  readonly json: boolean;
}

/** One command, or one subcommand of a group. */
export interface CommandDefinition<Schema extends SettingsSchema, Result> {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** More for the command's own help. */
  readonly description?: string;
  /** Words that are not flags, as the help shows them: name ("<folder>", "[text...]") and explanation. */
  readonly words?: readonly { readonly name: string; readonly description: string }[];
  /** Flat strict schema; use z.strictObject({}) for none. */
  readonly schema: Schema;
  /** Command lines that work as they stand, each with what it does. */
  readonly examples: readonly (readonly [commandLine: string, effect: string])[];
  /** Long jobs: Ctrl-C aborts `signal` first, and the command saves and returns. */
  readonly interruptible?: boolean;
  /** Does the work and returns the result, an object that JSON can hold. */
  run(context: CommandContext<Schema>): Promise<Result> | Result;
  /** The result for people; an empty text prints nothing. */
  render(result: Result): string;
  /** Exit status of a result that is not a success, for example of a failed check (default 0). */
  exitStatus?(result: Result): number;
}

/** Adds a command to the program or to a group. */
export function defineCommand<Schema extends SettingsSchema, Result>(
  parent: Command,
  definition: CommandDefinition<Schema, Result>,
): void {
  const command = parent.command(definition.name).summary(definition.summary);
  command.description([definition.summary, definition.description].filter(Boolean).join('\n\n'));
  for (const { name, description } of definition.words ?? []) command.argument(name, description);
  addSettingsOptions(command, definition.schema);
  const prefix = variablePrefix(parent, definition.name);
  command.option(
    '--config <file>',
    `JSON file of settings (keys as in the flags, in camelCase); variables ${prefix}… override it, and flags those`,
  );
  command.option('--json', 'print exactly one JSON object on stdout');
  command.option('--debug', 'show the stack of an error');
  const examples = definition.examples.map(([line, effect]) => `  $ ${line}\n      ${effect}`);
  command.addHelpText('after', `\nExamples:\n${examples.join('\n')}`);
  command.action(async () => {
    const {
      config,
      json = false,
      debug: _,
      ...flags
    } = command.opts<Record<string, unknown> & CommonFlags>();
    const environment = { prefix, variables: process.env };
    const resolved = resolveSettings(definition.schema, { file: config, environment, flags });
    const job = (signal: AbortSignal) =>
      definition.run({ ...resolved, resolved, words: command.args, signal, json });
    const { result, interrupted } = await runJob(job, definition.interruptible ?? false);
    if (result !== undefined) printResult(result, { json, text: () => definition.render(result) });
    process.exitCode =
      interrupted || result === undefined ? INTERRUPTED : (definition.exitStatus?.(result) ?? EXIT.ok);
  });
}

/** Of `plug corpus build`: `OPENPLUG_CORPUS_BUILD_`. */
function variablePrefix(parent: Command, name: string): string {
  const path = parent.parent ? [parent.name(), name] : [name];
  return `OPENPLUG_${path.map((word) => `${word.replaceAll('-', '_')}_`).join('')}`.toUpperCase();
}

/** A command that only holds subcommands, as `plug corpus`. Returns it, to define those on. */
export function defineGroup(parent: Command, name: string, summary: string): Command {
  return parent.command(name).summary(summary).description(summary).helpCommand(false);
}

/** Makes the empty program: strict, suggesting, and throwing instead of exiting. */
export function createProgram(version: string): Command {
  return new Command('plug')
    .description('PLUG, a Chinese encoder-decoder language model: pre-train, fine-tune, evaluate, generate.')
    .version(version, '--version', 'print the version')
    .helpOption('--help', 'show this help')
    .helpCommand(false)
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .showSuggestionAfterError(true)
    .showHelpAfterError('(--help shows what is accepted)')
    .exitOverride();
}

/** The exit status of an error that the command-line parser raised; undefined for other errors. */
export function usageStatus(error: unknown): number | undefined {
  if (!(error instanceof CommanderError)) return undefined;
  return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
}

interface CommonFlags {
  config?: string;
  json?: boolean;
  debug?: boolean;
}

async function runJob<Result>(
  job: (signal: AbortSignal) => Promise<Result> | Result,
  interruptible: boolean,
): Promise<{ result: Result | undefined; interrupted: boolean }> {
  try {
    // Without a handler of ours Ctrl-C ends the process at once, even in the middle of a long computation.
    if (!interruptible) return { result: await job(new AbortController().signal), interrupted: false };
    return await withInterrupt(async (signal) => {
      try {
        return { result: await job(signal), interrupted: signal.aborted };
      } catch (error) {
        if (signal.aborted && isAbort(error)) return { result: undefined, interrupted: true };
        throw error;
      }
    });
  } finally {
    stopProgress();
  }
}
