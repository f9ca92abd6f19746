// node examples/continue.mjs MODEL PROMPT…: what the model writes next. Prompts that wait go as one batch.
import { pipeline } from 'openplug';

const [model, ...prompts] = process.argv.slice(2);
const write = await pipeline('generate', { model, maxLength: 32, seed: 1 });
await Promise.all(prompts.map(async (prompt) => console.log(prompt + (await write(prompt)))));
await write.close();
