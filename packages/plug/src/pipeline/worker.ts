// The worker of a pipeline: holds the model, answers one batch after another.
import { parentPort, workerData } from 'node:worker_threads';
import { setNumThreads } from '@openplug/torch';
import { type PlainError, plainError } from '../errors.js';
import type { WorkerReply, WorkerRequest, WorkerStart } from './messages.js';
import { type Runner, runners } from './tasks.js';

const { kind, model, options, threads } = workerData as WorkerStart;

function reply(message: WorkerReply): void {
  parentPort!.postMessage(message);
}

const plain = (error: unknown): PlainError => plainError(error, 'PIPELINE');

try {
  if (threads !== undefined) setNumThreads(threads);
  const run = (runners[kind] as (folder: string, settings: object) => Runner<typeof kind>)(model, options);
  reply({ ready: true });
  parentPort!.on('message', async ({ id, inputs }: WorkerRequest) => {
    try {
      reply({ id, outputs: await run(inputs as never) });
    } catch (error) {
      reply({ id, error: plain(error) });
    }
  });
} catch (error) {
  reply({ failed: plain(error) });
}
