// Model folders that are written tensor by tensor, plain and packed, and what reads them.
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { liveTensorBytes, liveTensorCount, noGrad, scope } from '@openplug/torch';
import { CheckpointError, ConfigError } from '../errors.js';
import {
  listParameters,
  newParameters,
  PlugModel,
  packedLayers,
  packTexts,
  plugConfigOfSize,
  textBatch,
} from '../model/index.js';
import {
  describeStreaming,
  loadModel,
  newModel,
  openModelFolder,
  openWeights,
  readStoredPrecision,
  saveModel,
  storedPrecisions,
  verifyChecksums,
  writeModelFolder,
} from './index.js';

const parent = mkdtempSync(join(tmpdir(), 'plug-write-folder-'));
after(() => rmSync(parent, { recursive: true }));
const config = plugConfigOfSize('nano', 300, { maxPositionEmbeddings: 16, initializerRange: 0.1 });
const model = newModel(config, 5);
const isCheckpointError = (pattern: RegExp) => (error: Error) =>
  error instanceof CheckpointError && pattern.test(error.message);

/** Hidden states and MLM logits of one text. */
function outputs(tested: PlugModel): number[] {
  return noGrad(() =>
    scope(() => {
      const batch = textBatch(packTexts([[1, 2, 3, 4, 299, 7]]));
      const encoded = tested.encode(batch, tested.inference);
      return [
        ...encoded.toArray().flat(),
        ...tested.mlmLogits(encoded, tested.inference).toArray().flat(),
      ] as number[];
    }),
  );
}

describe('a plain model folder', () => {
  it('holds what the model holds, in one file or in many', async () => {
    for (const [name, maxFileBytes] of [
      ['one', 1e9],
      ['many', 100_000],
    ] as const) {
      const folder = join(parent, name);
      const seen: number[] = [];
      const { files, bytes } = await writeModelFolder(
        folder,
        model,
        { dtype: 'float32' },
        {
          maxFileBytes,
          onProgress: (written, total) => seen.push(written / total),
        },
      );
      assert.equal(files.length > 3, name === 'many');
      assert.equal(seen.at(-1), 1);
      const sizes = files.map((file) => readFileSync(join(folder, file)).length);
      assert.ok(sizes.reduce((sum, size) => sum + size, 0) - bytes < 20_000);
      using expected = new PlugModel(config, newParameters(5));
      using loaded = loadModel(folder);
      scope(() => {
        for (const [parameter, value] of expected.parameters)
          assert.deepEqual(loaded.parameters.get(parameter)!.toArray(), value.toArray(), parameter);
      });
      assert.equal((await verifyChecksums(folder)).verified.length, files.length);
      saveModel(folder, loaded); // one file without an index
      assert.deepEqual((await verifyChecksums(folder)).unknown, ['model.safetensors']);
      loadModel(folder)[Symbol.dispose]();
    }
  });

  it('is rounded to the dtype that was asked for', async () => {
    const folder = join(parent, 'half');
    await writeModelFolder(folder, model, { dtype: 'float16' });
    using weights = openWeights(folder);
    scope(() => {
      for (const name of weights.names()) {
        assert.equal(weights.info(name).dtype, 'float16');
        const rounded = model.weights.tensor(name).to('float16').toArray();
        assert.deepEqual(weights.tensor(name).toArray(), rounded, name);
      }
    });
    assert.equal(weights.names().length, listParameters(config).length);
  });
});

describe('a packed model folder', () => {
  for (const precision of storedPrecisions) {
    const folder = join(parent, precision);

    it(`in ${precision} computes where it lies what the model computes that is packed while it is loaded`, async () => {
      await writeModelFolder(folder, model, { precision }, { maxFileBytes: 50_000 });
      assert.equal(readStoredPrecision(folder), precision);
      const before = liveTensorCount();
      {
        using stored = loadModel(folder, { precision });
        assert.equal(stored.precision, precision);
        using packed = new PlugModel(config, newParameters(5), packedLayers(precision));
        const [got, wanted] = [outputs(stored), outputs(packed)];
        // Tables are rounded to bfloat16, and the output embedding may have more bits than the other weights.
        const largest = Math.max(...wanted.map(Math.abs));
        const worst = Math.max(...got.map((value, index) => Math.abs(value - wanted[index]!)));
        assert.ok(worst < 0.05 * largest, `${worst} of ${largest}`);
      }
      assert.equal(liveTensorCount(), before);
    });

    it(`in ${precision} takes no memory of its own but for biases and norms`, () => {
      using stored = loadModel(folder, { precision });
      const small = [...stored.parameters].filter(([name]) => !/embeddings\.weight$/.test(name));
      const bytes = small.reduce((total, [, { numel }]) => total + 4 * numel, 0);
      assert.equal(liveTensorBytes(), bytes);
    });
  }

  it('says what to expect when it does not fit memory', () => {
    const folder = join(parent, 'int8');
    const bytes = readdirSync(folder)
      .filter((name) => name.endsWith('.safetensors'))
      .reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    assert.equal(describeStreaming(folder, 2 * bytes), undefined);
    assert.match(
      describeStreaming(folder, bytes)!,
      /layers are read from disk for each prompt, at least 1 s/,
    );
  });

  it('cannot be trained, converted again, or computed with otherwise', () => {
    const folder = join(parent, 'int8');
    assert.throws(() => loadModel(folder), {
      name: 'ConfigError',
      message: /packed for inference in int8; .* trained/,
    });
    assert.throws(() => loadModel(folder, { precision: 'bfloat16' }), /computed with in bfloat16/);
    assert.throws(
      () => openModelFolder(folder),
      (error) => error instanceof ConfigError && /int8 already/.test(error.message),
    );
  });

  it('names a tensor that is missing or has another shape', async () => {
    const folder = join(parent, 'contradicted');
    await writeModelFolder(folder, model, { precision: 'int8' });
    const path = join(folder, 'config.json');
    const json = JSON.parse(readFileSync(path, 'utf8'));
    for (const [change, pattern] of [
      [{ num_hidden_layers: 3 }, /"bert\.encoder\.layer\.2\.\S+" \(shape .*\) is missing/],
      [{ num_hidden_layers: 1 }, /belong to no part .* "bert\.encoder\.layer\.1\./],
      [
        { intermediate_size: 64 },
        /"bert\.encoder\.layer\.0\.intermediate\.dense\.weight_packed" has shape \[4,16,64\], expected \[1,16,64\]/,
      ],
    ] as const) {
      writeFileSync(path, JSON.stringify({ ...json, ...change }));
      assert.throws(() => loadModel(folder, { precision: 'int8' }), isCheckpointError(pattern));
    }
  });
});

describe('faults', () => {
  const folder = join(parent, 'many-again');
  const fresh = async (): Promise<void> => {
    rmSync(folder, { recursive: true, force: true });
    await writeModelFolder(folder, model, { dtype: 'float32' }, { maxFileBytes: 200_000 });
  };

  it('does not overwrite a folder, and cleans up what an earlier attempt left', async () => {
    await fresh();
    await assert.rejects(
      writeModelFolder(folder, model, { dtype: 'float32' }),
      isCheckpointError(/is not empty/),
    );
    const out = join(parent, 'after-a-kill');
    mkdirSync(`${out}.unfinished`);
    writeFileSync(join(`${out}.unfinished`, 'model.safetensors'), 'half');
    await writeModelFolder(out, model, { dtype: 'float32' });
    assert.equal(existsSync(`${out}.unfinished`), false);
    loadModel(out)[Symbol.dispose]();
  });

  it('leaves nothing when it is interrupted or a tensor cannot be read', async () => {
    const out = join(parent, 'interrupted');
    const controller = new AbortController();
    const interrupted = writeModelFolder(
      out,
      model,
      { dtype: 'float32' },
      {
        signal: controller.signal,
        onProgress: () => controller.abort(),
      },
    );
    await assert.rejects(interrupted, { name: 'AbortError' });
    const damaged = {
      ...model,
      weights: {
        ...model.weights,
        tensor: (name: string) => {
          if (name.startsWith('decoder.')) throw new CheckpointError(`cannot read ${name}`);
          return model.weights.tensor(name);
        },
      },
    };
    const before = liveTensorCount();
    await assert.rejects(
      writeModelFolder(out, damaged, { precision: 'int8' }),
      isCheckpointError(/cannot read decoder/),
    );
    assert.equal(liveTensorCount(), before);
    assert.deepEqual([existsSync(out), existsSync(`${out}.unfinished`)], [false, false]);
  });

  it('refuses a source that does not hold exactly the parameters', async () => {
    const out = join(parent, 'refused');
    const without = (hidden: string) => ({
      ...model,
      weights: { ...model.weights, has: (name: string) => name !== hidden && model.weights.has(name) },
    });
    await assert.rejects(
      writeModelFolder(out, without('cls.predictions.bias'), { dtype: 'float32' }),
      isCheckpointError(/"cls.predictions.bias" \(shape \[384\]\) is missing/),
    );
    const more = {
      ...model,
      weights: { ...model.weights, names: () => [...model.weights.names(), 'odd.weight'] },
    };
    await assert.rejects(
      writeModelFolder(out, more, { dtype: 'float32' }),
      isCheckpointError(/"odd.weight" belongs to no part/),
    );
    const small = { ...model, config: { ...config, intermediateSize: 128 } };
    await assert.rejects(
      writeModelFolder(out, small, { dtype: 'float32' }),
      isCheckpointError(
        /"bert\.encoder\.layer\.0\.intermediate\.dense\.weight" has shape \[256,64\], expected \[128,64\]/,
      ),
    );
    assert.equal(existsSync(out), false);
  });

  it('names the file and tensor when files are missing, cut, changed, or contradict the index', async () => {
    const cases: [(files: string[]) => void, RegExp][] = [
      [(files) => rmSync(files[1]!), /model-00002-of-\d+\.safetensors is missing/],
      [
        (files) => truncateSync(files[1]!, 1000),
        /model-00002-of-\d+\.safetensors is not a valid safetensors file: .*truncated/,
      ],
      [
        (files) => {
          renameSync(files[0]!, `${files[0]}.x`);
          renameSync(files[1]!, files[0]!);
          renameSync(`${files[0]}.x`, files[1]!);
        },
        /model-00001-of-\d+\.safetensors holds "\S+", but model\.safetensors\.index\.json has it in model-00002/,
      ],
    ];
    for (const [damage, pattern] of cases) {
      await fresh();
      const files = readdirSync(folder)
        .filter((name) => name.endsWith('.safetensors'))
        .sort();
      damage(files.map((name) => join(folder, name)));
      assert.throws(() => loadModel(folder), isCheckpointError(pattern));
    }
    const index = join(folder, 'model.safetensors.index.json');
    await fresh();
    writeFileSync(index, '{"weight_map":{"a":"../../etc/passwd"}}');
    assert.throws(() => loadModel(folder), isCheckpointError(/names the file "..\/..\/etc\/passwd"/));
    writeFileSync(index, '{"weight_map":[]}');
    assert.throws(() => loadModel(folder), isCheckpointError(/is not an index of tensors/));
  });

  it('finds a flipped bit by the checksum', async () => {
    await fresh();
    const path = join(folder, readdirSync(folder).find((name) => name.startsWith('model-00003'))!);
    const bytes = readFileSync(path);
    bytes[bytes.length - 5]! ^= 4;
    writeFileSync(path, bytes);
    loadModel(folder)[Symbol.dispose](); // the numbers are read, unseen
    await assert.rejects(
      verifyChecksums(folder),
      isCheckpointError(/model-00003\S+ is damaged: its SHA-256 is/),
    );
  });
});
