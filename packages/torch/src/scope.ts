// Deterministic disposal: tensors made inside `scope()` are freed at its end, except those it returns.
import { OpenPlugError } from './errors.js';
import type { Tensor } from './tensor.js';

const openScopes: Tensor[][] = [];

/** Called for each new tensor: the innermost open scope, if any, will dispose of it. */
export function trackTensor(tensor: Tensor): void {
  openScopes.at(-1)?.push(tensor);
}

/**
 * Runs `body` and disposes of every tensor made meanwhile, except those reachable from the returned value
 * through arrays, plain objects, maps and sets; those pass to the enclosing scope. `body` must be synchronous.
 */
export function scope<Result>(body: () => Result): Result {
  const made: Tensor[] = [];
  openScopes.push(made);
  let result: Result;
  try {
    result = body();
  } catch (error) {
    openScopes.pop();
    for (const tensor of made) tensor.dispose();
    throw error;
  }
  openScopes.pop();
  if (result instanceof Promise) {
    for (const tensor of made) tensor.dispose();
    result.catch(() => {}); // it can only fail now
    throw new OpenPlugError(
      'SCOPE',
      'scope() was given an asynchronous function; its tensors would be disposed of while it still runs. ' +
        'Use `using` or dispose() across await.',
    );
  }
  const kept = new Set<unknown>();
  collect(result, kept);
  for (const tensor of made) {
    if (kept.has(tensor)) trackTensor(tensor);
    else tensor.dispose();
  }
  return result;
}

/** Takes a tensor out of all open scopes: its owner disposes of it. Returns its argument. */
export function keep<T extends Tensor>(tensor: T): T {
  for (const made of openScopes) {
    const index = made.lastIndexOf(tensor);
    if (index >= 0) made.splice(index, 1);
  }
  return tensor;
}

function collect(value: unknown, found: Set<unknown>): void {
  if (typeof value !== 'object' || value === null || found.has(value) || ArrayBuffer.isView(value)) return;
  found.add(value);
  if (Array.isArray(value) || value instanceof Set) for (const item of value) collect(item, found);
  else if (value instanceof Map) for (const item of value.values()) collect(item, found);
  else if (Object.getPrototypeOf(value) === Object.prototype)
    for (const item of Object.values(value)) collect(item, found);
}
