// Random generators with a state that can be saved (Mersenne Twister, as in libtorch).
import { type GeneratorHandle, NativeObject, native } from './native.js';
import { Tensor } from './tensor.js';

/** A source of random numbers for operators that take one. */
export class Generator extends NativeObject<GeneratorHandle> {
  /** @param seed integer; the same seed gives the same numbers. */
  constructor(seed: number) {
    super(native.makeGenerator(seed));
  }

  /** The whole state as bytes. */
  getState(): Uint8Array {
    using state = new Tensor(native.generatorState(this.handle)!);
    return state.toTypedArray() as Uint8Array;
  }

  /** Continues exactly where `getState()` was taken. @throws NativeError for bytes that are no state. */
  setState(bytes: Uint8Array): void {
    using state = new Tensor(native.fromBytes(bytes, 'uint8', [bytes.length], false));
    native.generatorState(this.handle, state.handle);
  }
}
