// Errors of requests, in the form that clients of OpenAI's API know.
import type { PlainError } from '../errors.js';

/** Ends a request with an HTTP status and a JSON body that says what was wrong. */
export class RequestError extends Error {
  readonly statusCode: number;
  /** Machine-readable kind, as `invalid_request_error`. */
  readonly type: string;
  readonly code: string;
  /** The field that is wrong. */
  readonly param: string | null;
  /** After how long it is worth trying again. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    statusCode: number,
    message: string,
    about: { type?: string; code?: string; param?: string; retryAfterSeconds?: number } = {},
  ) {
    super(message);
    this.name = 'RequestError';
    this.statusCode = statusCode;
    this.type = about.type ?? (statusCode < 500 ? 'invalid_request_error' : 'server_error');
    this.code = about.code ?? (statusCode < 500 ? 'invalid_value' : 'unavailable');
    this.param = about.param ?? null;
    this.retryAfterSeconds = about.retryAfterSeconds;
  }
}

/** The body of an error response. */
export function errorBody({ message, type, param, code }: RequestError): {
  error: { message: string; type: string; param: string | null; code: string };
} {
  return { error: { message, type, param, code } };
}

/** An error that a model's process told. */
export function modelError({ code, message, field }: PlainError): RequestError {
  if (code === 'CONFIG' || code === 'TOKENIZER')
    return new RequestError(400, message, field === undefined ? {} : { param: field });
  return new RequestError(500, message, { code: code.toLowerCase() });
}

/** A request that the server can answer no more. */
export function shuttingDown(): RequestError {
  return new RequestError(503, 'The server is shutting down.', { code: 'shutting_down' });
}
