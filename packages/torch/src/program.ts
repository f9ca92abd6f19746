// Programs: operator calls made once from JavaScript and repeated natively, without JavaScript in between.
import { native, type ProgramHandle } from './native.js';
import { scope } from './scope.js';
import { Tensor } from './tensor.js';

/**
 * A recorded sequence of operator calls.
 *
 * Tensors that were not made during the recording are inputs: a run reads what they hold by then, so they are changed
 * in place. Everything else – shapes, numbers, what JavaScript decided – stays as it was recorded. Keeps its inputs
 * alive until it is disposed of.
 */
export class Program implements Disposable {
  readonly #handle: ProgramHandle;
  /** What the recorded calls gave the first time. */
  readonly firstResult: Tensor;

  private constructor(handle: ProgramHandle, firstResult: Tensor) {
    this.#handle = handle;
    this.firstResult = firstResult;
  }

  /**
   * Runs `body`, which must be synchronous and inside `noGrad`, and records the operators that it calls.
   * @throws NativeError when gradients are on, or `body` reads the values of a tensor
   */
  static record(body: () => Tensor): Program {
    native.startRecording();
    let program: ProgramHandle | undefined;
    try {
      const [firstResult] = scope(() => {
        const result = body();
        program = native.stopRecording(result.handle);
        return [result];
      });
      return new Program(program!, firstResult!);
    } finally {
      if (!program) native.stopRecording();
    }
  }

  /** Runs the calls again. The result is a new tensor, or the same one where the last call was in place. */
  run(): Tensor {
    return new Tensor(native.runProgram(this.#handle));
  }

  /** Lets go of the inputs; the program cannot be run again. */
  [Symbol.dispose](): void {
    native.disposeProgram(this.#handle);
  }
}
