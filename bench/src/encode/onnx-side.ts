// The ONNX Runtime side of the encoding benchmark: onnxruntime-node over a model that `export_onnx.py` wrote. Texts go in
// batches padded to their longest, with a mask.
import { createRequire } from 'node:module';
import { givenCase } from '../case.js';
import { answer } from '../harness/side.js';
import { countBatches, type EncodeCase } from './case.js';

/** What is used of onnxruntime-node, which is no dependency: `npm run bench:setup` installs it. */
interface Runtime {
  InferenceSession: { create(path: string, options: object): Promise<Session> };
  Tensor: new (type: 'int64', data: BigInt64Array, shape: number[]) => object;
}

interface Session {
  run(inputs: Record<string, object>): Promise<Record<string, { data: Float32Array }>>;
}

const runtime = createRequire(new URL('../../peers/node/package.json', import.meta.url))(
  'onnxruntime-node',
) as Runtime;
const given = givenCase<EncodeCase>();
const [modelPath, order] = process.argv.slice(3) as [string, string];
const session = await runtime.InferenceSession.create(modelPath, {
  intraOpNumThreads: given.threads,
  interOpNumThreads: 1,
  graphOptimizationLevel: 'all',
});

async function classified(): Promise<number[]> {
  const logits = new Array<number>(3 * given.texts.length);
  const lengths = given.texts.map((text) => text.length);
  for (const indices of countBatches(lengths, given.batch, order === 'sorted')) {
    const longest = Math.max(...indices.map((index) => lengths[index]!));
    const [ids, mask] = [0, 1].map(() => new BigInt64Array(indices.length * longest)) as [
      BigInt64Array,
      BigInt64Array,
    ];
    for (const [row, index] of indices.entries())
      for (const [column, id] of given.texts[index]!.entries()) {
        ids[row * longest + column] = BigInt(id);
        mask[row * longest + column] = 1n;
      }
    const shape = [indices.length, longest];
    const outputs = await session.run({
      ids: new runtime.Tensor('int64', ids, shape),
      mask: new runtime.Tensor('int64', mask, shape),
    });
    for (const [row, index] of indices.entries())
      for (let label = 0; label < 3; label++)
        logits[3 * index + label] = outputs.logits!.data[3 * row + label]!;
  }
  return logits;
}

await answer({
  async encode() {
    const started = performance.now();
    const logits = await classified();
    return { seconds: (performance.now() - started) / 1000, logits };
  },
});
