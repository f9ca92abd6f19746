// Spawns the real program: flags, exit statuses, and what goes to stdout and to stderr.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { buildProgram } from './main.js';

const program = fileURLToPath(new URL('../../bin/plug.js', import.meta.url));

function plug(parameters: string[], input = '') {
  return spawnSync(process.execPath, [program, ...parameters], { encoding: 'utf8', input });
}

/** The one JSON object on stdout; fails when there is anything else. */
function onlyJson(stdout: string): Record<string, unknown> {
  assert.equal(stdout.trimEnd().split('\n').length, 1, `one line expected on stdout, got: ${stdout}`);
  const value: unknown = JSON.parse(stdout);
  assert.ok(typeof value === 'object' && value !== null && !Array.isArray(value));
  return value as Record<string, unknown>;
}

describe('plug, the program', () => {
  it('suggests the nearest command and the nearest flag, with status 2', () => {
    const command = plug(['docter']);
    assert.equal(command.status, 2);
    assert.match(command.stderr, /unknown command 'docter'[\s\S]*Did you mean doctor\?/);
    assert.equal(command.stdout, '');
    const flag = plug(['tokenizer', 'train', '--vocab-siz', '9']);
    assert.equal(flag.status, 2);
    assert.match(flag.stderr, /unknown option '--vocab-siz'[\s\S]*Did you mean --vocab-size\?/);
  });

  it('refuses surplus words and missing values with status 2', () => {
    assert.equal(plug(['doctor', 'now']).status, 2);
    assert.match(plug(['tokenizer', 'train', '--out']).stderr, /--out.* argument missing/);
  });

  it('explains wrong settings without a stack, and with one under --debug', () => {
    const wrong = ['tokenizer', 'train', '--poetry', 'shijing', '--out', 'unused', '--vocab-size', '2'];
    const plain = plug(wrong);
    assert.equal(plain.status, 2);
    assert.match(plain.stderr, /vocabSize: got 2 \(from --vocab-size\), expected integer ≥ 6/);
    assert.doesNotMatch(plain.stderr, /^\s+at /m);
    assert.match(plug([...wrong, '--debug']).stderr, /^\s+at /m);
  });

  it('prints one JSON object also for errors', () => {
    const usage = plug(['doctor', '--jsom', '--json']);
    assert.equal(usage.status, 2);
    assert.equal((onlyJson(usage.stdout).error as { code: string }).code, 'USAGE');
    const missing = plug(['corpus', 'info', '/nowhere', '--json']);
    assert.equal(missing.status, 1);
    assert.equal((onlyJson(missing.stdout).error as { code: string }).code, 'CORPUS');
  });

  it('shows help with examples for every command', async () => {
    const leaves = (command: Command): Command[] =>
      command.commands.length > 0 ? command.commands.flatMap(leaves) : [command];
    const commands = leaves(await buildProgram());
    assert.ok(commands.length >= 6);
    for (const command of commands) {
      let help = '';
      command.configureOutput({
        writeOut: (text) => {
          help += text;
        },
      });
      command.outputHelp();
      const group = command.parent?.parent ? `${command.parent.name()} ` : '';
      assert.match(help, new RegExp(`Examples:\\n  \\$ plug ${group}${command.name()}`));
    }
    const spawned = plug(['corpus', 'build', '--help']);
    assert.equal(spawned.status, 0);
    assert.match(spawned.stdout, /--held-out-fraction <number>[\s\S]*Examples:/);
    assert.equal(spawned.stderr, '');
    assert.match(plug(['--version']).stdout, /^\d+\.\d+\.\d+\n$/);
  });

  it('reports on the machine', () => {
    const result = plug(['doctor', '--json']);
    const report = onlyJson(result.stdout) as {
      ok: boolean;
      node: string;
      tensors?: { torchVersion: string };
    };
    assert.equal(result.status, report.ok ? 0 : 1);
    assert.equal(report.node, process.versions.node);
    if (report.ok) assert.match(report.tensors?.torchVersion ?? '', /^\d+\.\d+/);
  });

  it('says that the addon is not built, and what to run', () => {
    const environment = { ...process.env, OPENPLUG_TORCH_ADDON: '/nowhere/addon.node' };
    const result = spawnSync(process.execPath, [program, 'doctor'], { encoding: 'utf8', env: environment });
    assert.equal(result.status, 1);
    assert.match(
      result.stdout + result.stderr,
      /addon is not built: \/nowhere\/addon\.node[\s\S]*npm run setup/,
    );
    assert.doesNotMatch(result.stderr, /^\s+at /m);
  });

  it('is silent when the reader of its output goes away', async () => {
    const child = spawn(process.execPath, [program, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let errors = '';
    child.stderr.on('data', (chunk) => {
      errors += chunk;
    });
    await once(child, 'close');
    assert.equal(errors, '');
  });
});

describe('plug tokenizer and plug corpus', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'openplug-cli-'));
    const poems = [
      '春江潮水連海平，海上明月共潮生。',
      '灩灩隨波千萬里，何處春江無月明！',
      '江流宛轉遶芳甸，月照花林皆似霰。',
    ];
    writeFileSync(join(folder, 'a.txt'), poems.join('\n\n'));
    const lines = poems.map((text, number) => JSON.stringify({ name: `poem ${number}`, body: text }));
    writeFileSync(join(folder, 'b.jsonl'), lines.join('\n'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('goes from text to a vocabulary, ids, a corpus and back to text', () => {
    const vocabulary = join(folder, 'vocabulary');
    const train = [
      'tokenizer',
      'train',
      '--corpus',
      join(folder, 'a.txt'),
      '--min-frequency',
      '1',
      '--out',
      vocabulary,
    ];
    const trained = onlyJson(plug([...train, '--json']).stdout);
    assert.equal(trained.documents, 3);
    assert.ok(Number(trained.vocabSize) > 30);
    assert.equal(plug(train).status, 2, 'an existing vocabulary is not replaced unasked');

    const encode = ['tokenizer', 'encode', '--tokenizer', vocabulary];
    const encoded = onlyJson(plug([...encode, '春江花月', '--json']).stdout) as {
      ids: number[];
      tokens: string[];
    };
    assert.deepEqual(encoded.tokens, ['春', '江', '花', '月']);
    assert.equal(
      plug(encode, '春江花月').stdout,
      `${encoded.ids.join(' ')}\n`,
      'standard input gives the same',
    );
    const decode = ['tokenizer', 'decode', '--tokenizer', vocabulary];
    assert.equal(plug([...decode, ...encoded.ids.map(String)]).stdout, '春江花月\n');
    assert.equal(plug([...decode, encoded.ids.join(',')]).stdout, '春江花月\n');
    assert.equal(plug([...decode, 'x']).status, 2);

    const corpus = join(folder, 'corpus');
    const sources = ['--corpus', join(folder, 'a.txt'), join(folder, 'b.jsonl'), '--text-field', 'body'];
    const shared = ['--tokenizer', vocabulary, '--held-out-fraction', '0'];
    const built = plug(['corpus', 'build', ...sources, ...shared, '--out', corpus, '--json']);
    assert.equal(built.status, 0, built.stderr);
    const summary = onlyJson(built.stdout) as { train: { documents: number } };
    assert.equal(summary.train.documents, 6);
    const info = [
      'corpus',
      'info',
      corpus,
      '--tokenizer',
      vocabulary,
      '--document',
      '1',
      '--verify',
      '--json',
    ];
    const shown = onlyJson(plug(info).stdout) as { document: { sentences: string[] } };
    assert.equal(shown.document.sentences.join(''), '灩灩隨波千萬里，何處春江無月明！');
  });

  it('reads settings from a file, and refuses a misspelt one', () => {
    const config = join(folder, 'train.json');
    const settings = { corpus: [join(folder, 'a.txt')], minFrequency: 1, out: join(folder, 'other') };
    writeFileSync(config, JSON.stringify({ ...settings, vocabsize: 50 }));
    const wrong = plug(['tokenizer', 'train', '--config', config]);
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /Unknown setting "vocabsize" in .*Did you mean "vocabSize"\?/);
    writeFileSync(config, JSON.stringify({ ...settings, vocabSize: 50 }));
    const right = plug(['tokenizer', 'train', '--config', config, '--vocab-size', '12', '--json']);
    assert.equal(onlyJson(right.stdout).vocabSize, 12);
  });

  it('says what to do when no text is given or a file is missing', () => {
    const none = plug(['tokenizer', 'train', '--out', join(folder, 'none')]);
    assert.equal(none.status, 2);
    assert.match(none.stderr, /--corpus|--poetry/);
    const missing = plug([
      'tokenizer',
      'train',
      '--corpus',
      join(folder, 'gone.txt'),
      '--out',
      join(folder, 'none'),
    ]);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /gone\.txt/);
    assert.doesNotMatch(missing.stderr, /^\s+at /m);
  });
});
