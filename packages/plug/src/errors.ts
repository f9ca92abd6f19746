// The error classes of the product, beside those of the tensor layer.
import { OpenPlugError } from '@openplug/torch';

export { CheckpointError, DisposedError, NativeError, OpenPlugError, ShapeError } from '@openplug/torch';

/** An error as it crosses threads and processes. */
export interface PlainError {
  readonly code: string;
  readonly message: string;
  /** Of a ConfigError. */
  readonly field?: string;
}

/** @param otherCode for errors that are not this product's */
export function plainError(error: unknown, otherCode: string): PlainError {
  return {
    code: error instanceof OpenPlugError ? error.code : otherCode,
    message: error instanceof Error ? error.message : String(error),
    ...(error instanceof ConfigError && error.field !== undefined && { field: error.field }),
  };
}

/** A setting is unknown, out of range, or contradicts another one. */
export class ConfigError extends OpenPlugError {
  /** The setting that is wrong, where one alone is. */
  readonly field: string | undefined;

  constructor(message: string, options?: ErrorOptions & { field?: string }) {
    super('CONFIG', message, options);
    this.field = options?.field;
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
