import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { describeFields, formatSettings, nearestName, resolveSettings, settingsRecord } from './index.js';

const schema = z.strictObject({
  corpus: z.array(z.string()).min(1).describe('files of text'),
  learningRate: z.number().positive().max(1).default(1e-3).describe('peak learning rate'),
  seed: z.int().min(0).default(1),
  size: z.enum(['nano', 'tiny', 'base']).default('nano'),
  bfloat16: z.boolean().default(true),
  maxSteps: z.int().min(1).nullable().default(null),
  sourceRange: z.tuple([z.int().min(1), z.int().min(1)]).default([32, 512]),
  note: z.string().optional(),
});

function refusal(run: () => unknown): string {
  let message = '';
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.code, 'CONFIG');
    message = error.message;
    return true;
  });
  return message;
}

describe('resolveSettings', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'openplug-settings-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  const file = (content: unknown) => {
    const path = join(folder, 'run.json');
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    return path;
  };

  it('lets flags win over variables, these over the file, and that over the default, and records each origin', () => {
    const pool = {
      learningRate: fc.constantFrom(0.1, 0.2, 0.3),
      seed: fc.integer({ min: 0, max: 1e6 }),
      size: fc.constantFrom('nano', 'tiny', 'base'),
      bfloat16: fc.boolean(),
      maxSteps: fc.option(fc.integer({ min: 1, max: 1e6 })),
    };
    const given = fc.record(pool, { requiredKeys: [] });
    fc.assert(
      fc.property(given, given, given, fc.boolean(), (inFile, inEnvironment, asFlags, asText) => {
        const text = (value: unknown) => (value === null ? 'none' : String(value));
        const flags = asText
          ? Object.fromEntries(Object.entries(asFlags).map(([key, value]) => [key, text(value)]))
          : asFlags;
        const variables = Object.fromEntries(
          Object.entries(inEnvironment).map(([key, value]) => [
            `X_${key.replace(/[A-Z]/g, '_$&').toUpperCase()}`,
            text(value),
          ]),
        );
        const environment = { prefix: 'X_', variables: { ...variables, OTHER: '1', X_NOTE: '' } };
        const resolved = resolveSettings(schema, {
          file: file({ corpus: ['a'], ...inFile }),
          environment,
          flags,
        });
        const defaults = { learningRate: 1e-3, seed: 1, size: 'nano', bfloat16: true, maxSteps: null };
        for (const key of Object.keys(pool) as (keyof typeof pool)[]) {
          const origin =
            key in asFlags
              ? 'flag'
              : key in inEnvironment
                ? 'environment'
                : key in inFile
                  ? 'file'
                  : 'default';
          assert.equal(resolved.origins[key], origin);
          const expected = { flag: asFlags, environment: inEnvironment, file: inFile, default: defaults }[
            origin
          ][key];
          assert.equal(resolved.settings[key], expected);
        }
        assert.equal(resolved.origins.corpus, 'file');
        assert.equal(resolved.origins.note, 'default');
      }),
      { numRuns: 200 },
    );
  });

  it('reads lists, tuples and numbers in exponent form from flags', () => {
    const flags = { corpus: ['詩.txt', '詞.txt'], sourceRange: ['4', '64'], learningRate: '5e-4' };
    const { settings } = resolveSettings(schema, { flags });
    assert.deepEqual(settings.corpus, ['詩.txt', '詞.txt']);
    assert.deepEqual(settings.sourceRange, [4, 64]);
    assert.equal(settings.learningRate, 5e-4);
    assert.deepEqual(resolveSettings(schema, { flags: { corpus: '詩.txt' } }).settings.corpus, ['詩.txt']);
  });

  it('reads lists and the file itself from the environment, and refuses variables that nothing reads', () => {
    const resolve = (variables: Record<string, string>) =>
      resolveSettings(schema, { environment: { prefix: 'OPENPLUG_TEST_', variables } });
    const { settings, origins } = resolve({
      OPENPLUG_TEST_CONFIG: file({ seed: 7, maxSteps: 3 }),
      OPENPLUG_TEST_CORPUS: '詩.txt,詞.txt',
      OPENPLUG_TEST_MAX_STEPS: 'none',
    });
    assert.deepEqual(settings.corpus, ['詩.txt', '詞.txt']);
    assert.deepEqual([settings.seed, settings.maxSteps], [7, null]);
    assert.deepEqual([origins.seed, origins.maxSteps], ['file', 'environment']);
    assert.match(
      refusal(() => resolve({ OPENPLUG_TEST_CORPUS: 'a', OPENPLUG_TEST_MAXSTEP: '1' })),
      /Unknown variable OPENPLUG_TEST_MAXSTEP .*Did you mean OPENPLUG_TEST_MAX_STEPS\?/,
    );
    assert.match(
      refusal(() => resolve({ OPENPLUG_TEST_CORPUS: 'a', OPENPLUG_TEST_SEED: '-1' })),
      /seed: got -1 \(from OPENPLUG_TEST_SEED\), expected integer ≥ 0/,
    );
  });

  it('reads back what it saved with a run', () => {
    const first = resolveSettings(schema, { flags: { corpus: ['a'], seed: '7' } });
    const second = resolveSettings(schema, { file: file(settingsRecord(first)) });
    assert.deepEqual(second.settings, first.settings);
    assert.equal(second.origins.seed, 'file');
  });

  it('names the nearest setting for an unknown one', () => {
    for (const [wrong, right] of [
      ['learningrate', 'learningRate'],
      ['learning-rate', 'learningRate'],
      ['learnigRate', 'learningRate'],
      ['corpsu', 'corpus'],
      ['max_steps', 'maxSteps'],
    ] as const) {
      const message = refusal(() => resolveSettings(schema, { file: file({ corpus: ['a'], [wrong]: 1 }) }));
      assert.match(message, new RegExp(`"${wrong}" in .*run\\.json.*Did you mean "${right}"`));
    }
    assert.match(
      refusal(() => resolveSettings(schema, { flags: { zzzzzzzz: 1 } })),
      /Known settings: corpus, learningRate/,
    );
    assert.equal(nearestName('x', ['seed', 'size']), undefined);
  });

  it('suggests the right key after one random slip', () => {
    const keys = describeFields(schema).map((field) => field.key);
    const long = keys.filter((key) => key.length > 5);
    fc.assert(
      fc.property(fc.constantFrom(...long), fc.nat(), fc.constantFrom('x', ''), (key, position, letter) => {
        const at = position % key.length;
        const wrong = key.slice(0, at) + letter + key.slice(at + 1);
        assert.equal(nearestName(wrong, keys), key);
      }),
    );
  });

  it('says key, value, expectation and origin of every value that does not fit', () => {
    const path = file({ corpus: [], seed: 1.5 });
    const flags = { learningRate: '2', size: 'tinny', maxSteps: 'abc' };
    const message = refusal(() => resolveSettings(schema, { file: path, flags }));
    assert.match(message, /learningRate: got 2 \(from --learning-rate\), expected number > 0 and ≤ 1\./);
    assert.match(message, /size: got "tinny" \(from --size\), expected one of nano, tiny, base\./);
    assert.match(message, /seed: got 1\.5 \(in .*run\.json\), expected integer ≥ 0\./);
    assert.match(message, /maxSteps: got "abc" \(from --max-steps\), expected integer ≥ 1, or none\./);
    assert.match(message, /corpus: got \[\] \(in .*\), expected list of at least 1, text each\./);
  });

  it('says how to give a required setting', () => {
    assert.match(
      refusal(() => resolveSettings(schema, {})),
      /corpus is required: give --corpus or "corpus" in a --config file/,
    );
  });

  it('refuses files that are absent, no JSON, or no object', () => {
    assert.match(
      refusal(() => resolveSettings(schema, { file: join(folder, 'none.json') })),
      /none\.json: no such file/,
    );
    assert.match(
      refusal(() => resolveSettings(schema, { file: file('{"seed": }') })),
      /not valid JSON/,
    );
    assert.match(
      refusal(() => resolveSettings(schema, { file: file('[1]') })),
      /must hold one JSON object.*got \[1\]/,
    );
  });

  it('keeps the words of a rule over several settings', () => {
    const ruled = z
      .strictObject({ low: z.int().default(1), high: z.int().default(2) })
      .refine(({ low, high }) => low <= high, { path: ['low'], message: 'low may not be above high' });
    assert.match(
      refusal(() => resolveSettings(ruled, { flags: { low: '9' } })),
      /low: got 9 \(from --low\), low may not be above high/,
    );
  });
});

describe('describeFields', () => {
  it('makes flags, defaults and bounds from the schema', () => {
    const field = describeFields(schema).find(({ key }) => key === 'learningRate');
    assert.equal(field?.flag, '--learning-rate');
    assert.equal(field?.defaultValue, 1e-3);
    assert.equal(field?.expected, 'number > 0 and ≤ 1');
    assert.equal(field?.description, 'peak learning rate');
    assert.equal(field?.required, false);
  });

  it('refuses schemas that would ignore unknown keys, and nested ones', () => {
    assert.throws(() => describeFields(z.object({ seed: z.int() })), /strictObject/);
    assert.throws(() => describeFields(z.strictObject({ inner: z.strictObject({}) })), /settings are flat/);
  });
});

describe('formatSettings', () => {
  it('aligns the columns of full-width values', () => {
    const resolved = resolveSettings(schema, { flags: { corpus: ['全唐詩.txt'], note: 'b' } });
    const lines = formatSettings(schema, resolved).split('\n');
    assert.equal(lines.length, 1 + describeFields(schema).length);
    const corpus = lines.find((line) => line.startsWith('corpus')) ?? '';
    const seed = lines.find((line) => line.startsWith('seed')) ?? '';
    // Three characters of the first are two columns wide, so its origin starts three positions earlier.
    assert.equal(corpus.indexOf('flag') + 3, seed.indexOf('default'));
  });
});
