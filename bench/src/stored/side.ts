// Our side of the benchmark of stored models: loading, encoding and decoding, each timed on request, and what memory
// the process has taken for it.
import { readFileSync } from 'node:fs';
import { aten, nn, noGrad, scope, setNumThreads, zeros } from '@openplug/torch';
import { givenCase } from '../case.js';
import { readRate } from '../decode/read-rate.js';
import { answer } from '../harness/side.js';
import { loadModel, type PlugModel, packTexts, readStoredPrecision, textBatch } from '../openplug.js';

const given = givenCase<object>();
setNumThreads(given.threads);
let model: PlugModel | undefined;

function seconds(work: () => void): number {
  const started = performance.now();
  noGrad(() => scope(work));
  return (performance.now() - started) / 1000;
}

const prompt = (length: number) =>
  textBatch(
    packTexts([
      Array.from({ length }, (_, index) => 5 + ((index * 7919) % (model!.config.originalVocabSize - 5))),
    ]),
  );

/** Seconds of each step, one text. */
function stepSeconds(promptLength: number, numSteps: number): number[] {
  return noGrad(() => {
    const batch = prompt(promptLength);
    using cache = scope(() => {
      const encoded = model!.encode(batch, model!.inference);
      return model!.startDecoding(encoded, batch.layout, numSteps + 1, model!.inference);
    });
    const step = (): void => scope(() => void model!.nextLogits([5], cache).argmax(-1).item());
    step(); // records the program
    return Array.from({ length: numSteps }, () => seconds(step));
  });
}

/** Operations/s of a large product with packed weights [size, size]. */
function productRate(size: number, precision: nn.Precision): number {
  return noGrad(() =>
    scope(() => {
      const x = aten.normal_(zeros([2048, size]));
      const { tensors } = nn.packLinear(aten.normal_(zeros([size, size])), precision);
      const weight = nn.packedFrom(tensors, size, precision);
      const times = Array.from({ length: 4 }, () => seconds(() => void nn.packedLinear(x, weight)));
      return (2 * 2048 * size * size) / Math.min(...times);
    }),
  );
}

/** Bytes of this process in memory: now, of them on the pages of files, and most at any time. */
function memory(): { residentBytes: number; fileBytes: number; peakBytes: number } {
  const status = readFileSync('/proc/self/status', 'utf8');
  const field = (name: string): number =>
    1024 * Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  return { residentBytes: field('VmRSS'), fileBytes: field('RssFile'), peakBytes: field('VmHWM') };
}

await answer({
  load: () => ({
    seconds: seconds(() => {
      model = loadModel(given.model, { precision: readStoredPrecision(given.model) });
    }),
  }),
  encode: ({ length }) => {
    const batch = prompt(length as number);
    return { seconds: seconds(() => void model!.encode(batch, model!.inference)) };
  },
  decode: ({ length, steps }) => ({ seconds: stepSeconds(length as number, steps as number) }),
  memory,
  readRate: () => ({ bytesPerSecond: readRate() }),
  productRate: ({ size, precision }) => ({
    operationsPerSecond: productRate(Number(size), `${precision}` as nn.Precision),
  }),
});
