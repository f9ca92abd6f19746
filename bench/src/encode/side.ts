// Our side of the encoding benchmark: texts to the three logits of the sentence head, packed without padding.
import { noGrad, scope, setNumThreads } from '@openplug/torch';
import { givenCase } from '../case.js';
import { answer } from '../harness/side.js';
import { loadModel, type PlugModel, packTexts, textBatch } from '../openplug.js';
import { type EncodeCase, tokenBatches } from './case.js';

/** Tokens in a batch: enough to fill matrix products, few enough for the caches. */
const tokensPerBatch = 2048;

const given = givenCase<EncodeCase>();
setNumThreads(given.threads);
const model = loadModel(given.model, { precision: given.precision });

/** Logits of all texts in their order, three for each. */
function classified(classifier: PlugModel): number[] {
  const logits = new Array<number>(3 * given.texts.length);
  const batches = tokenBatches(
    given.texts.map((text) => text.length),
    tokensPerBatch,
  );
  for (const indices of batches) {
    const values = noGrad(() =>
      scope(() => {
        const batch = textBatch(packTexts(indices.map((index) => given.texts[index]!)));
        const encoded = classifier.encode(batch, classifier.inference);
        return classifier.sentenceLogits(encoded, batch.layout).to('float32').toArray();
      }),
    );
    for (const [place, index] of indices.entries())
      for (let label = 0; label < 3; label++) logits[3 * index + label] = values[3 * place + label]!;
  }
  return logits;
}

await answer({
  encode() {
    const started = performance.now();
    const logits = classified(model);
    return { seconds: (performance.now() - started) / 1000, logits };
  },
  /** What all sides are held against. */
  reference() {
    using exact = loadModel(given.model);
    return { logits: classified(exact) };
  },
});
