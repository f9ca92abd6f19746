// node examples/classify.mjs RUN TEXT…: labels of texts, by a run of `plug finetune` on single texts.
import { pipeline } from 'openplug';

const [model, ...texts] = process.argv.slice(2);
const classify = await pipeline('classify', { model });
for (const { label, probability } of await classify(texts)) console.log(label, probability.toFixed(3));
await classify.close();
