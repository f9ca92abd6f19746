// What own runs have scored, and what they got wrong, read from the folders that plug finetune and plug evaluate leave.
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ServerContext } from '../context.js';
import { RequestError } from '../errors.js';
import { boardOf } from '../results/board-rows.js';
import { errorPage } from '../results/error-pages.js';
import {
  boardAnswer,
  type ErrorsQuery,
  errorsAnswer,
  errorsQuery,
  resultAnswer,
  resultsAnswer,
} from '../results/schemas.js';
import { type FoundResult, ResultsFolder } from '../results/stored-results.js';

const tags = ['Results'];
const params = z.strictObject({ id: z.string().min(1).max(1000) });

/** @param runsFolder undefined or not there: only what was published is shown */
export function resultRoutes(
  app: FastifyInstance,
  context: ServerContext,
  runsFolder: string | undefined,
): void {
  const folder = runsFolder === undefined ? undefined : new ResultsFolder(runsFolder);
  const find = async () => (await folder?.find()) ?? { results: [], problems: [] };

  app.get('/v1/board', { schema: { response: { 200: boardAnswer }, tags } }, async () => {
    const { results } = await find();
    return boardOf(results.map(({ listed }) => listed));
  });

  app.get('/v1/results', { schema: { response: { 200: resultsAnswer }, tags } }, async () => {
    const { results, problems } = await find();
    return { results: results.map(({ listed }) => listed), problems };
  });

  app.get(
    '/v1/results/:id',
    { schema: { params, response: { 200: resultAnswer }, tags } },
    async (request) => {
      const { listed, task, confusion, settings } = await named((request.params as { id: string }).id);
      const words = task.prompt?.words ?? [];
      const labels = task.labels?.map((name, index) => ({ name, word: words[index] }));
      return { ...listed, labels, confusion, settings };
    },
  );

  app.get(
    '/v1/results/:id/errors',
    { schema: { params, querystring: errorsQuery, response: { 200: errorsAnswer }, tags } },
    async (request, reply) => {
      const { id } = request.params as { id: string };
      const { errorsPath } = await named(id);
      if (errorsPath === undefined)
        throw new RequestError(
          404,
          `The result "${id}" has no wrong predictions beside it. Run plug evaluate --model RUN --data … to have them.`,
          { code: 'errors_not_found', param: 'id' },
        );
      return await errorPage(errorsPath, request.query as ErrorsQuery, context.signalOf(reply));
    },
  );

  /** By comparison with what was found, so that no name becomes a path. @throws RequestError 404 */
  async function named(id: string): Promise<FoundResult> {
    const { results } = await find();
    const found = results.find(({ listed }) => listed.id === id);
    if (found) return found;
    throw new RequestError(404, `There is no result "${id}". GET /v1/results names those that there are.`, {
      code: 'result_not_found',
      param: 'id',
    });
  }
}
