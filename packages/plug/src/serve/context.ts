// What routes are given: the models, the limits, and writing within them.
import { randomInt } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { GenerationSettings } from '../generate/index.js';
import { RequestError } from './errors.js';
import type { HostedModel } from './hosted-model.js';
import type { Accepted, Caller } from './hosting.js';
import type { HostedToken } from './messages.js';
import type { ModelPool, ServedModel } from './model-pool.js';

export interface ServerLimits {
  /** Tokens that one text may have. */
  readonly maxNewTokens: number;
  /** Characters of one input. */
  readonly maxInputChars: number;
  /** Texts that one request may ask for. */
  readonly maxTextsPerRequest: number;
  readonly requestTimeoutMs: number;
}

/** Texts being written for one prompt. */
export interface Writing {
  readonly accepted: Accepted;
  readonly tokens: AsyncGenerator<HostedToken, void, undefined>;
}

/** A loaded model for one request. */
export interface Admission {
  readonly model: HostedModel;
  readonly caller: Caller;
}

export class ServerContext {
  readonly pool: ModelPool;
  readonly limits: ServerLimits;

  constructor(pool: ModelPool, limits: ServerLimits) {
    this.pool = pool;
    this.limits = limits;
  }

  /** The first model without a name. @throws RequestError 404 for a name that is not served */
  model(name: string | undefined): ServedModel {
    const { models } = this.pool;
    const found = name === undefined ? models[0] : models.find((model) => model.name === name);
    if (found) return found;
    throw new RequestError(
      404,
      `There is no model "${name}" here. Served: ${models.map((model) => model.name).join(', ')}.`,
      { code: 'model_not_found', param: 'model' },
    );
  }

  /** Has a model loaded for a request, which holds it until it is answered. */
  async admit(model: ServedModel, request: FastifyRequest, reply: FastifyReply): Promise<Admission> {
    const signal = this.signalOf(reply);
    const { model: hosted, release } = await this.pool.acquire(model, signal);
    reply.raw.once('close', release);
    signal.addEventListener('abort', release);
    if (signal.aborted) release(); // while the lease came
    // With tokens a name is a token's; without, everyone at an address is one client.
    return { model: hosted, caller: { client: request.holder?.name ?? request.ip, signal } };
  }

  /** @throws RequestError 400 for a text that is longer than the server takes */
  checkInputs(texts: readonly string[], param: string): void {
    const { maxInputChars } = this.limits;
    for (const [index, text] of texts.entries())
      if (text.length > maxInputChars)
        throw new RequestError(
          400,
          `${texts.length > 1 ? `Text ${index} of ${param}` : param} has ${text.length} characters, this server takes ${maxInputChars}. Cut it.`,
          { code: 'input_too_long', param },
        );
  }

  /** @throws RequestError 400 for more than the server writes */
  checkAmount({ numTexts, maxLength }: { numTexts: number; maxLength: number }, param: string): void {
    const { maxNewTokens, maxTextsPerRequest } = this.limits;
    if (maxLength > maxNewTokens)
      throw new RequestError(
        400,
        `${param} is ${maxLength}, this server writes at most ${maxNewTokens} tokens.`,
        {
          code: 'too_many_tokens',
          param,
        },
      );
    if (numTexts > maxTextsPerRequest)
      throw new RequestError(
        400,
        `The request asks for ${numTexts} texts, this server writes at most ${maxTextsPerRequest} for one request.`,
        { code: 'too_many_texts', param: 'n' },
      );
  }

  /**
   * Begins to write after a prompt. Waits for the model to take the request, so that what is wrong with it is known
   * before an answer begins.
   */
  async write(
    model: HostedModel,
    prompt: string,
    settings: GenerationSettings,
    caller: Caller,
    numAlternatives: number,
  ): Promise<Writing> {
    const tokens = model.write({ prompt, settings, numAlternatives }, caller);
    const { value } = await tokens.next();
    return { accepted: value as Accepted, tokens: tokens as Writing['tokens'] };
  }

  /** Aborted when the client goes away or the time of a request is over. */
  signalOf(reply: FastifyReply): AbortSignal {
    const gone = new AbortController();
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) gone.abort(new RequestError(499, 'The client closed the connection.'));
    });
    const { requestTimeoutMs } = this.limits;
    const timer = setTimeout(() => {
      const message = `The answer was not ready within ${requestTimeoutMs / 1000} s. Ask for less, or try again later.`;
      gone.abort(new RequestError(504, message, { code: 'timeout' }));
    }, requestTimeoutMs);
    reply.raw.once('close', () => clearTimeout(timer));
    return gone.signal;
  }
}

/** A seed by chance where none was given. */
export function seedOrChance(seed: number | undefined): number {
  return seed ?? randomInt(2 ** 32);
}

/** Texts as a list. */
export function listed(texts: string | readonly string[]): readonly string[] {
  return typeof texts === 'string' ? [texts] : texts;
}
