// The stack of a pickle's machine, with its marks and its memo. Values below the last mark are out of reach.
import type { Refuse } from './globals.js';
import type { PickleValue } from './values.js';

/** Values on the stack, marks, and values in the memo. */
const most = 1_000_000;

export class PickleStack {
  readonly #values: PickleValue[] = [];
  /** Heights at each mark. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();
  readonly #refuse: Refuse;

  constructor(refuse: Refuse) {
    this.#refuse = refuse;
  }

  push(value: PickleValue): void {
    if (this.#values.length >= most) this.#refuse(`more than ${most} values are on the stack`);
    this.#values.push(value);
  }

  /** Height below which the values belong to an outer mark. */
  #floor(): number {
    return this.#marks.at(-1) ?? 0;
  }

  pop(): PickleValue {
    if (this.#values.length <= this.#floor()) this.#refuse('a value is missing on the stack');
    return this.#values.pop()!;
  }

  top(): PickleValue {
    if (this.#values.length <= this.#floor()) this.#refuse('a value is missing on the stack');
    return this.#values[this.#values.length - 1]!;
  }

  popCount(count: number): PickleValue[] {
    if (this.#values.length - count < this.#floor()) this.#refuse('a value is missing on the stack');
    return this.#values.splice(this.#values.length - count);
  }

  mark(): void {
    if (this.#marks.length >= most) this.#refuse(`more than ${most} marks are open`);
    this.#marks.push(this.#values.length);
  }

  /** All values above the last mark, and the mark. */
  popMarked(): PickleValue[] {
    const height = this.#marks.pop();
    if (height === undefined) return this.#refuse('there is no mark');
    return this.#values.splice(height);
  }

  /** Keeps the value on top. @param key default: the next one */
  memoize(key = this.#memo.size): void {
    const value = this.top();
    if (this.#memo.size >= most) this.#refuse(`more than ${most} values are memoised`);
    this.#memo.set(key, value);
  }

  recall(key: number): PickleValue {
    const value = this.#memo.get(key);
    if (value === undefined) return this.#refuse(`nothing is at place ${key} of the memo`);
    return value;
  }

  /** Drops the value on top, or the mark if that is on top. */
  drop(): void {
    if (this.#marks.at(-1) === this.#values.length) this.#marks.pop();
    else this.pop();
  }

  /** The one value that a pickle leaves behind. */
  last(): PickleValue {
    const value = this.pop();
    if (this.#values.length > 0 || this.#marks.length > 0)
      this.#refuse(`${this.#values.length} values are left over at the end`);
    return value;
  }
}
