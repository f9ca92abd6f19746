// A client of the server's own routes, for programs and browsers: it needs `fetch` alone. For the routes in OpenAI's form use
// OpenAI's client.
import { readEvents } from './events.js';
import type {
  ClassifyRequest,
  GeneratedTexts,
  GenerateEvent,
  GenerateRequest,
  Labelled,
  LoadModelRequest,
  ScoreRequest,
  ServedModel,
} from './types.js';

export interface ClientOptions {
  /** Where the server is, as `http://127.0.0.1:8000`. Default: where the page came from. */
  readonly baseUrl?: string;
  readonly token?: string;
}

export interface CallOptions {
  /** Aborting it closes the connection, and with it the server stops working on the request. */
  readonly signal?: AbortSignal;
}

/** What the server said no with. */
export class ApiError extends Error {
  /** HTTP status; 0 when the server could not be reached or broke off. */
  readonly status: number;
  /** Machine-readable, as `model_not_found`. */
  readonly code: string;
  /** The field that is wrong. */
  readonly param: string | null;
  /** After how long it is worth trying again. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    message: string,
    status: number,
    about: { code?: string; param?: string | null; retryAfterSeconds?: number | undefined } = {},
  ) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.code = about.code ?? (status === 0 ? 'unreachable' : 'unknown');
    this.param = about.param ?? null;
    this.retryAfterSeconds = about.retryAfterSeconds;
  }
}

/** All methods throw `ApiError`, or the reason of an aborted signal. */
export class OpenPlugClient {
  readonly #baseUrl: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor({ baseUrl = '', token }: ClientOptions = {}) {
    this.#baseUrl = baseUrl.replace(/\/+$/, '');
    this.#headers = token ? { authorization: `Bearer ${token}` } : {};
  }

  /** The models that are served, the one that answers by default first. */
  async models(options?: CallOptions): Promise<ServedModel[]> {
    return (await this.#json<{ data: ServedModel[] }>('/v1/models', undefined, options)).data;
  }

  /** Has the model of a finished run served. */
  async loadModel(request: LoadModelRequest, options?: CallOptions): Promise<ServedModel> {
    return await this.#json('/v1/models/load', request, options);
  }

  /** Ends what `loadModel` began, after the requests that have begun. */
  async unloadModel(model: string, options?: CallOptions): Promise<void> {
    await this.#json('/v1/models/unload', { model }, options);
  }

  async generate(request: GenerateRequest, options?: CallOptions): Promise<GeneratedTexts> {
    return await this.#json('/v1/generate', request, options);
  }

  /** Token by token; leaving the loop ends the writing. */
  async *stream(
    request: GenerateRequest,
    options?: CallOptions,
  ): AsyncGenerator<GenerateEvent, void, undefined> {
    const { body } = await this.request('/v1/generate', { ...request, stream: true }, options);
    if (!body) throw new ApiError('The answer is empty.', 0);
    try {
      for await (const data of readEvents(body)) {
        if (data === '[DONE]') return;
        const event = JSON.parse(data) as GenerateEvent | ErrorBody;
        if ('error' in event) throw new ApiError(event.error.message, 500, event.error);
        yield event;
      }
    } catch (error) {
      throw asApiError(error, options);
    }
    throw new ApiError('The stream ended early.', 0);
  }

  /** Labels texts without fine-tuning. */
  async score(request: ScoreRequest, options?: CallOptions): Promise<Labelled> {
    return await this.#json('/v1/score', request, options);
  }

  /** Labels texts by a fine-tuned model. */
  async classify(request: ClassifyRequest, options?: CallOptions): Promise<Labelled> {
    return await this.#json('/v1/classify', request, options);
  }

  /** The server checks its answers by the schemas that the types are made of. */
  async #json<Answer>(path: string, body: object | undefined, options?: CallOptions): Promise<Answer> {
    const response = await this.request(path, body, options);
    try {
      return (await response.json()) as Answer;
    } catch (error) {
      throw asApiError(error, options);
    }
  }

  /** Any other route: GET without a body, POST with one. */
  async request(path: string, body?: object, options: CallOptions = {}): Promise<Response> {
    const init = {
      ...(options.signal && { signal: options.signal }),
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
      headers: { ...this.#headers, ...(body && { 'content-type': 'application/json' }) },
    };
    let response: Response;
    try {
      response = await fetch(this.#baseUrl + path, init);
    } catch (error) {
      throw asApiError(error, options);
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

interface ErrorBody {
  readonly error: { readonly message: string; readonly code: string; readonly param: string | null };
}

async function refusal(response: Response): Promise<ApiError> {
  const { status } = response;
  const retryAfter = response.headers.get('retry-after');
  const about = { retryAfterSeconds: retryAfter ? Number(retryAfter) : undefined };
  try {
    const { error } = (await response.json()) as ErrorBody;
    return new ApiError(error.message, status, { ...about, code: error.code, param: error.param });
  } catch {
    return new ApiError(`HTTP ${status}`, status, about); // from something between here and the server
  }
}

function asApiError(error: unknown, { signal }: CallOptions = {}): unknown {
  if (error instanceof ApiError || signal?.aborted) return error;
  return new ApiError(error instanceof Error ? error.message : String(error), 0);
}
