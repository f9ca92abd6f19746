// The error classes of the product, beside those of the tensor layer.
import { OpenPlugError } from '@openplug/torch';

export { CheckpointError, DisposedError, NativeError, OpenPlugError, ShapeError } from '@openplug/torch';

/** An error as it crosses threads and processes. */
export interface PlainError {
  readonly code: string;
  readonly message: string;
}

/** @param otherCode for errors that are not this product's */
export function plainError(error: unknown, otherCode: string): PlainError {
  return {
    code: error instanceof OpenPlugError ? error.code : otherCode,
    message: error instanceof Error ? error.message : String(error),
  };
}

/** A setting is unknown, out of range, or contradicts another one. */
export class ConfigError extends OpenPlugError {
  constructor(message: string, options?: ErrorOptions) {
    super('CONFIG', message, options);
  }
}

/** A vocabulary is unusable, or an id lies outside it. */
export class TokenizerError extends OpenPlugError {
  constructor(message: string, options?: ErrorOptions) {
    super('TOKENIZER', message, options);
  }
}

/** A corpus file cannot be read, is empty, or is damaged. */
export class CorpusError extends OpenPlugError {
  constructor(message: string, options?: ErrorOptions) {
    super('CORPUS', message, options);
  }
}

/** Training cannot go on (for example the loss is not a number). */
export class TrainingError extends OpenPlugError {
  constructor(message: string, options?: ErrorOptions) {
    super('TRAINING', message, options);
  }
}
