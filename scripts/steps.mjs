// How the set-up scripts run a command: one line that says what happens, its time, and on failure the last
// lines of its output with what to try. Plain Node, as nothing is installed yet when this runs.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Root folder of the repository. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

const SHOWN_LINES = 30;
const HEARTBEAT_MS = 15_000;

/** A failure that is explained to the user as it stands, without a stack. */
export class SetupError extends Error {}

/** Progress goes to stderr: stdout belongs to the command that follows. */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

/**
 * Runs a command quietly. On failure throws a SetupError with the last lines of its output and the advice.
 * @param {string} title What happens, for people: "Install the packages (npm ci)".
 * @param {string[]} command Program and arguments.
 * @param {{ advice: string, environment?: NodeJS.ProcessEnv, announceAfterMs?: number }} options
 *   announceAfterMs: a step that ends sooner says nothing (default 0: always speaks).
 */
export async function step(title, command, { advice, environment = {}, announceAfterMs = 0 }) {
  const begun = Date.now();
  const seconds = () => Math.round((Date.now() - begun) / 1000);
  let announced = announceAfterMs === 0;
  if (announced) say(`· ${title} …`);
  const announcement = setTimeout(() => {
    if (!announced) say(`· ${title} …`);
    announced = true;
  }, announceAfterMs);
  const heartbeat = setInterval(() => say(`  still at it after ${seconds()} s`), HEARTBEAT_MS);
  try {
    const { status, output } = await capture(command, environment);
    if (status !== 0) {
      const lines = output.trimEnd().split('\n').slice(-SHOWN_LINES);
      throw new SetupError(
        `${title}: failed (${command.join(' ')} → ${status}). Its last lines:\n\n` +
          `${lines.map((line) => `    ${line}`).join('\n')}\n\nTo try: ${advice}`,
      );
    }
    if (announced) say(`  done in ${seconds()} s`);
  } finally {
    clearTimeout(announcement);
    clearInterval(heartbeat);
  }
}

/** Exit status (or signal name) and the mixed output of a command. */
function capture([program, ...parameters], environment) {
  return new Promise((resolve) => {
    const child = spawn(program, parameters, {
      cwd: ROOT,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const collect = (chunk) => {
      output = (output + chunk).slice(-100_000);
    };
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    child.on('error', (error) => resolve({ status: error.code ?? 'not started', output: error.message }));
    child.on('close', (code, signal) => resolve({ status: code ?? signal, output }));
  });
}

/** How to call npm: the very npm that runs this script, when one does. */
export function npmCommand(...parameters) {
  const script = process.env.npm_execpath;
  return script?.endsWith('.js') ? [process.execPath, script, ...parameters] : ['npm', ...parameters];
}

/** Runs a script's main function; a failure that was foreseen prints as plain text, and the exit status is 1. */
export async function runScript(main) {
  try {
    await main();
  } catch (error) {
    say(error instanceof SetupError ? `\n${error.message}` : `\n${error.stack}`);
    process.exit(1);
  }
}
