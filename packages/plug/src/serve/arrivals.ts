// Values that arrive one by one and are read in order by one reader.

export class Arrivals<Value extends object> {
  readonly #values: Value[] = [];
  #failure: Error | undefined;
  #wake = (): void => {};

  push(value: Value): void {
    this.#values.push(value);
    this.#wake();
  }

  /** Nothing is read any more, not even what has arrived. */
  fail(error: Error): void {
    this.#failure = error;
    this.#wake();
  }

  /** Waits for the next one. @throws the error of `fail` */
  async next(): Promise<Value> {
    for (;;) {
      if (this.#failure) throw this.#failure;
      const value = this.#values.shift();
      if (value) return value;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
