// node examples/similar.mjs MODEL QUERY TEXT…: texts in the order of how near they are to the first.
import { pipeline } from 'openplug';

const [model, query, ...texts] = process.argv.slice(2);
const embed = await pipeline('embed', { model });
const [wanted, ...vectors] = await embed([query, ...texts]);
const cosine = (vector) => vector.reduce((sum, value, at) => sum + value * wanted[at], 0);
const ranked = texts
  .map((text, at) => ({ text, score: cosine(vectors[at]) }))
  .sort((a, b) => b.score - a.score);
for (const { text, score } of ranked) console.log(score.toFixed(3), text);
await embed.close();
