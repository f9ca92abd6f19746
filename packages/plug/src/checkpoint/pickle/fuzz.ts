// Fuzzes the reader of torch.save files:
//   node packages/plug/dist/checkpoint/pickle/fuzz.js --minutes 10 --seed 1 [--findings FOLDER] [--corpus FOLDER]
// Anything but a value or an error of ours, more than two seconds of processor time or 400 MB of new memory is a
// finding and is saved. Inputs run in a child process, so that a crash or a hang costs one input and not the run; inputs
// that went a new way are changed further and, with --corpus, kept.
import { fork } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { makeInput, openBytes } from './fuzzing/outcome.js';
import { seedFiles, seedPickles } from './fuzzing/seeds.js';

const mostSeconds = 2;
const mostNewBytes = 400e6;
/** A child that does not reach its next input within this time hangs. */
const hangSeconds = 20;
/** Inputs between two reports of the child. */
const reportEvery = 1000;
/** Inputs that are remembered for further changes, and their largest size. */
const mostGrown = 3000;
const largestGrown = 16_384;

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    findings: { type: 'string', default: join(tmpdir(), 'plug-pickle-findings') },
    corpus: { type: 'string' },
    first: { type: 'string' }, // set for the child: the number of its first input
  },
});
const seed = Number(options.seed);
const current = join(options.findings, `current-${seed}.bin`);
mkdirSync(options.findings, { recursive: true });
if (options.first !== undefined) runChild(Number(options.first));
else await runParent();

/** What a child tells, at times and when it ends. */
interface Report {
  next: number;
  inputs: number;
  findings: number;
  signatures: number;
}

async function runParent(): Promise<void> {
  const start = Date.now();
  const end = start + Number(options.minutes) * 60_000;
  let next = 0;
  let inputs = 0;
  let findings = 0;
  let signatures = 0;
  while (Date.now() < end) {
    const { crashed, ...report } = await superviseChild(next, (end - Date.now()) / 60_000);
    inputs += report.inputs;
    findings += report.findings;
    signatures = Math.max(signatures, report.signatures);
    next = report.next;
    if (crashed === undefined) continue;
    findings += 1;
    const name = join(options.findings, `crash-${seed}-${next}.bin`);
    if (existsSync(current)) renameSync(current, name);
    console.log(`FINDING ${crashed}: ${name}`);
    next += reportEvery; // so far at most it has come since it last told
  }
  const seconds = Math.round((Date.now() - start) / 1000);
  console.log(JSON.stringify({ seed, seconds, inputs, signatures, findings }));
  process.exitCode = findings > 0 ? 1 : 0;
}

async function superviseChild(first: number, minutes: number): Promise<Report & { crashed?: string }> {
  const child = fork(fileURLToPath(import.meta.url), [
    ...['--seed', `${seed}`, '--first', `${first}`, '--minutes', `${minutes}`],
    ...['--findings', options.findings, ...(options.corpus ? ['--corpus', options.corpus] : [])],
  ]);
  let report: Report = { next: first, inputs: 0, findings: 0, signatures: 0 };
  let ended = false;
  let hung = false;
  child.on('message', (message) => {
    report = message as Report;
  });
  const exit = new Promise<string | undefined>((resolve) => {
    child.on('exit', (code, signal) => {
      ended = true;
      resolve(code === 0 ? undefined : `exit ${signal ?? code}`);
    });
  });
  const started = Date.now();
  while (!ended) {
    await Promise.race([exit, sleep(1000)]);
    const last = existsSync(current) ? statSync(current).mtimeMs : started;
    if (!ended && Date.now() - Math.max(last, started) > hangSeconds * 1000) {
      hung = true;
      child.kill('SIGKILL');
      break;
    }
  }
  const crashed = await exit;
  if (hung) return { ...report, crashed: 'hang' };
  return crashed ? { ...report, crashed } : report;
}

function runChild(first: number): void {
  const end = Date.now() + Number(options.minutes) * 60_000;
  const pickles = seedPickles();
  const files = seedFiles();
  const grown: Buffer[] = [];
  const seen = new Set<string>();
  let findings = 0;
  let number = first;
  const report = (): void => {
    const told: Report = { next: number, inputs: number - first, findings, signatures: seen.size };
    process.send?.(told);
  };
  let memory = process.memoryUsage.rss();
  for (const file of files) {
    const { signature, fault } = openBytes(file);
    if (fault !== undefined || signature !== 'value')
      throw new Error(`A valid file is refused: ${fault ?? signature}`);
  }
  if (options.corpus) mkdirSync(options.corpus, { recursive: true });
  while (Date.now() < end) {
    const { kind, bytes } = makeInput(seed, number, pickles, files, grown);
    writeFileSync(current, bytes);
    const before = process.cpuUsage();
    const { signature, fault } = openBytes(bytes);
    const { user, system } = process.cpuUsage(before);
    const now = process.memoryUsage.rss();
    const problem =
      fault ??
      ((user + system) / 1e6 > mostSeconds
        ? `${(user + system) / 1e6} s`
        : now - memory > mostNewBytes
          ? `${(now - memory) / 1e6} MB more`
          : undefined);
    memory = now;
    if (problem !== undefined) {
      findings += 1;
      const name = join(options.findings, `${kind}-${seed}-${number}.bin`);
      writeFileSync(name, bytes);
      console.log(`FINDING ${name}: ${problem}`);
    }
    if (!seen.has(signature) && seen.size < mostGrown) {
      seen.add(signature);
      if (bytes.length <= largestGrown) grown.push(bytes);
      if (options.corpus && bytes.length <= largestGrown)
        writeFileSync(
          join(options.corpus, `${signature === 'value' ? 'value' : 'refused'}-${seed}-${number}.bin`),
          bytes,
        );
    }
    number += 1;
    if (number % reportEvery === 0) report();
  }
  report();
}
