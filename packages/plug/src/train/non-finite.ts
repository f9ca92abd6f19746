// Finds where numbers went wrong, for the error text.
import { aten, noGrad, scope } from '@openplug/torch';
import type { Trainable } from './training-state.js';

/** Name of the first parameter whose value (or gradient) has a NaN or infinity; undefined when there is none. */
export function firstNonFinite(model: Trainable, where: 'value' | 'gradient'): string | undefined {
  for (const [name, parameter] of model.parameters) {
    const finite = noGrad(() =>
      scope(() => {
        const tensor = where === 'value' ? parameter : parameter.grad;
        // A sum is finite only if every element is; one pass and one number.
        return tensor === undefined || Number.isFinite(aten.sum(tensor.to('float64')).item());
      }),
    );
    if (!finite) return name;
  }
  return undefined;
}

/** The parameter whose value (or gradient) is largest in magnitude: where an overflow most likely began. */
export function largest(model: Trainable, where: 'value' | 'gradient'): { name: string; value: number } {
  let found = { name: '', value: -1 };
  for (const [name, parameter] of model.parameters) {
    const value = noGrad(() =>
      scope(() => (where === 'value' ? parameter : parameter.grad)?.abs().max().item() ?? -1),
    );
    if (value > found.value) found = { name, value };
  }
  return found;
}
