// `npm run results:text`: writes the text to pre-train on, one file of JSON lines a source, from clones of
// repositories that lie as OWNER+NAME (bare, or with a work tree) in one folder.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BenchmarkError } from '../harness/harness.js';
import { readableLines, sharing } from './clean-text.js';
import { resultFiles, resultTaskNames } from './tasks.js';
import { type TextSource, textSources, unlabelled } from './text-sources.js';

const usage = 'Usage: npm run results:text -- --clones DIR --clue DIR --out DIR';
/** Fields of the tasks' rows that hold text. */
const textFields = ['sentence', 'sentence1', 'sentence2', 'abst', 'text', 'content'];

function git(clone: string, ...words: string[]): string {
  return execFileSync('git', ['-C', clone, ...words], { encoding: 'utf8', maxBuffer: 2 ** 30 });
}

function cloneOf(clones: string, repository: string): string {
  const folder = join(clones, repository.replace('/', '+'));
  const clone = [join(folder, 'repo'), folder].find((path) => existsSync(path));
  if (clone === undefined) throw new BenchmarkError(`${folder} is not there: clone ${repository} to it.`);
  return clone;
}

function rowTexts(jsonLines: string): string[] {
  return jsonLines
    .split('\n')
    .filter((line) => line.trim() !== '')
    .flatMap((line) => {
      const row = JSON.parse(line) as Record<string, unknown>;
      return textFields.map((field) => row[field]).filter((text) => typeof text === 'string');
    })
    .map((text) => text.replaceAll('#idiom#', '').trim());
}

function pages(clones: string, { repository, commit, files }: TextSource): string[][] {
  const clone = cloneOf(clones, repository);
  return git(clone, 'ls-tree', '-r', '-z', '--name-only', commit)
    .split('\0')
    .filter((path) => files.test(path))
    .map((path) => readableLines(git(clone, 'show', `${commit}:${path}`)));
}

function main(): void {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({ options: { clones: text, clue: text, out: text } });
  const { clones, clue, out } = values;
  if (clones === undefined || clue === undefined || out === undefined) throw new BenchmarkError(usage);
  const rowsOf = (file: string): string[] => rowTexts(readFileSync(join(clue, file), 'utf8'));
  const isHeld = sharing(
    resultTaskNames.flatMap((name) => resultFiles(name).held.flatMap((file) => rowsOf(file))),
  );
  const written = new Set<string>();
  mkdirSync(out, { recursive: true });
  const write = (name: string, documents: Iterable<string[]>, licence: string): void => {
    let [count, characters, leftOut] = [0, 0, 0];
    const lines: string[] = [];
    for (const document of documents) {
      const kept = document.filter((line) => !isHeld(line));
      leftOut += document.length - kept.length;
      const text = kept.join('\n');
      if (text === '' || written.has(text)) continue;
      written.add(text);
      lines.push(`${JSON.stringify({ text })}\n`);
      count += 1;
      characters += text.length;
    }
    writeFileSync(join(out, `${name}.jsonl`), lines.join(''));
    console.log(
      `${name}: ${count} documents, ${(characters / 1e6).toFixed(2)} M characters, ${leftOut} lines left out (${licence})`,
    );
  };
  const unlabelledRows = (name: string): string[] =>
    rowTexts(
      git(
        cloneOf(clones, unlabelled.repository),
        'show',
        `${unlabelled.commit}:datasets/${name}/unlabeled.json`,
      ),
    );
  const unlabelledTasks: readonly string[] = unlabelled.tasks;
  for (const name of new Set([...resultTaskNames, ...unlabelledTasks])) {
    const labelled = resultTaskNames.includes(name) ? rowsOf(resultFiles(name).train) : [];
    const rows = [...labelled, ...(unlabelledTasks.includes(name) ? unlabelledRows(name) : [])];
    const documents = rows.map((row) => [row]);
    write(`task-${name}`, documents, 'texts of a task');
  }
  for (const source of textSources) write(source.name, pages(clones, source), source.licence);
}

main();
