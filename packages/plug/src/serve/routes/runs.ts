// The runs beneath a folder, to be followed while they train: a list, curves, and texts. Only reads.
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { z } from 'zod';
import { JsonLinesReader } from '../json-lines.js';
import { findRuns, runPath } from '../run-folders.js';
import { RunMetrics } from '../run-metrics.js';
import {
  metricsQuerySchema,
  type RunSummary,
  runListSchema,
  runMetricsSchema,
  runParamsSchema,
  runSamplesSchema,
  type SamplesAt,
} from '../run-schemas.js';
import { RunWatcher } from '../run-summary.js';

/** Runs whose curves are kept at hand, each some 200 kB. */
const maxFollowed = 64;
/** Steps whose texts are given; of more, evenly chosen ones and the last. */
const maxSampleSteps = 200;
/** One listing serves all who ask within this time. */
const listingMs = 1000;

type Params = z.infer<typeof runParamsSchema>;

/** @param root folder of runs; undefined or absent: there are none */
export function runRoutes(app: FastifyInstance, root: string | undefined): void {
  const watchers = new Map<string, RunWatcher>();
  const followed = new Map<string, RunMetrics>();
  let listing: { at: number; answer: Promise<z.infer<typeof runListSchema>> } | undefined;

  app.get('/v1/runs', { schema: { response: { 200: runListSchema }, tags: ['Runs'] } }, () => {
    if (!listing || Date.now() - listing.at > listingMs) listing = { at: Date.now(), answer: listRuns() };
    return listing.answer;
  });

  app.get(
    '/v1/runs/:id/metrics',
    {
      schema: {
        params: runParamsSchema,
        querystring: metricsQuerySchema,
        response: { 200: runMetricsSchema },
        tags: ['Runs'],
      },
    },
    async (request) => {
      const { id } = request.params as Params;
      const { after } = request.query as z.infer<typeof metricsQuerySchema>;
      const metrics = follow(join(runPath(root, id), 'metrics.jsonl'));
      await metrics.update();
      return { stride: metrics.stride, lastStep: metrics.lastStep, ...metrics.after(after) };
    },
  );

  app.get(
    '/v1/runs/:id/samples',
    { schema: { params: runParamsSchema, response: { 200: runSamplesSchema }, tags: ['Runs'] } },
    async (request) => {
      const { id } = request.params as Params;
      return { data: await thinnedSamples(join(runPath(root, id), 'samples.jsonl')) };
    },
  );

  async function listRuns(): Promise<z.infer<typeof runListSchema>> {
    const { ids, truncated } = root === undefined ? { ids: [], truncated: false } : findRuns(root);
    for (const id of watchers.keys()) if (!ids.includes(id)) watchers.delete(id);
    const data: RunSummary[] = [];
    for (const id of ids) {
      const watcher = watchers.get(id) ?? new RunWatcher(join(root!, id));
      watchers.set(id, watcher);
      const summary = await watcher.summary(id);
      if (summary) data.push(summary);
    }
    // The newest first: what is training now is what one comes to see.
    data.sort((a, b) => (a.updatedAt < b.updatedAt ? 1 : -1));
    return { data, truncated };
  }

  /** The curves of a run; those not asked for the longest make room. */
  function follow(path: string): RunMetrics {
    const metrics = followed.get(path) ?? new RunMetrics(path);
    followed.delete(path);
    followed.set(path, metrics);
    for (const oldest of followed.keys()) {
      if (followed.size <= maxFollowed) break;
      followed.delete(oldest);
    }
    return metrics;
  }
}

async function thinnedSamples(path: string): Promise<SamplesAt[]> {
  const form = runSamplesSchema.shape.data.element;
  let kept: SamplesAt[] = [];
  let last: SamplesAt | undefined;
  let [every, count] = [1, 0];
  const reader = new JsonLinesReader(
    path,
    () => undefined,
    (line) => {
      const parsed = form.safeParse(line);
      if (!parsed.success) return;
      last = parsed.data;
      if (count++ % every === 0) kept.push(last);
      if (kept.length <= maxSampleSteps) return;
      kept = kept.filter((_, index) => index % 2 === 0);
      every *= 2;
    },
  );
  await reader.update();
  return last && kept.at(-1) !== last ? [...kept, last] : kept;
}
