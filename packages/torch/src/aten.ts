// Typed access to every aten operator: aten['add.Tensor'](a, b), aten['topk'](x, 5).
import type { AtenOperators } from './aten.generated.js';
import { callOperator, type OperatorArgument } from './tensor.js';

const bound: Record<string, unknown> = {};

/** Operators by "name.overload"; arguments in schema order, trailing ones with defaults may be left out. */
export const aten: AtenOperators = new Proxy(bound, {
  get(_, name: string) {
    bound[name] ??= (...operands: OperatorArgument[]) => callOperator(`aten::${name}`, ...operands);
    return bound[name];
  },
}) as unknown as AtenOperators;
