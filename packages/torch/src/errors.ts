// The error classes of the tensor layer. Every error a caller may want to tell apart has a stable `code`;
// its text says what is wrong, what was expected, where, and what to do next.

/** Base of all errors that this project throws on purpose. */
export class OpenPlugError extends Error {
  /** Stable identifier, safe to compare against. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

/** A tensor's shape or dtype does not fit the operation. */
export class ShapeError extends OpenPlugError {
  constructor(message: string, options?: ErrorOptions) {
    super('SHAPE', message, options);
  }
}

/** A tensor was used after `dispose()` or after the end of its scope. */
export class DisposedError extends OpenPlugError {
  constructor(message: string, options?: ErrorOptions) {
    super('DISPOSED', message, options);
  }
}

/** libtorch, or the addon's check before calling it, refused a call. */
export class NativeError extends OpenPlugError {
  constructor(message: string, options?: ErrorOptions) {
    super('NATIVE', message, options);
  }
}

/** A file of tensors is damaged, or does not hold what the model needs. */
export class CheckpointError extends OpenPlugError {
  constructor(message: string, options?: ErrorOptions) {
    super('CHECKPOINT', message, options);
  }
}
