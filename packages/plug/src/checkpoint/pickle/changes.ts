// What opcodes do to the lists, sets, dicts and objects that a pickle has made.
import type { Refuse } from './globals.js';
import { InertObject, KnownGlobal, kindOf, type PickleValue, TensorView } from './values.js';

export function appendTo(list: PickleValue, items: readonly PickleValue[], refuse: Refuse): void {
  if (list instanceof InertObject) return; // of a class derived from list
  if (!Array.isArray(list)) refuse(`items are appended to ${kindOf(list)}`);
  for (const item of items) list.push(item);
}

export function addTo(set: PickleValue, items: readonly PickleValue[], refuse: Refuse): void {
  if (set instanceof InertObject) return; // of a class derived from set
  if (!(set instanceof Set)) refuse(`items are added to ${kindOf(set)}`);
  for (const item of items) set.add(item);
}

/** @param items keys and values in turns */
export function setIn(target: PickleValue, items: readonly PickleValue[], refuse: Refuse): void {
  if (items.length % 2 !== 0) refuse('a key has no value');
  if (target instanceof InertObject) return; // of a class derived from dict
  if (!(target instanceof Map)) refuse(`items are set in ${kindOf(target)}`);
  for (let index = 0; index < items.length; index += 2) {
    const key = items[index]!;
    if (Array.isArray(key) || key instanceof Map || key instanceof Set) refuse(`a key is ${kindOf(key)}`);
    target.set(key, items[index + 1]!);
  }
}

/** Attributes are dropped, as none matters to a tensor (a state dict has `_metadata`). */
export function setAttributes(target: PickleValue, refuse: Refuse): void {
  if (target instanceof InertObject || target instanceof Map || target instanceof TensorView) return;
  if (target instanceof KnownGlobal) refuse(`attributes of the global ${target.name} are changed`);
  refuse(`attributes are set on ${kindOf(target)}`);
}
