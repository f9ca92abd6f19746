// Minimises a smooth convex function by L-BFGS: deterministic, no step size to tune.
//
// Source: J. Nocedal and S. Wright, "Numerical Optimization" (2nd ed., 2006), algorithms 7.4 and 7.5, with
// backtracking to the Armijo condition (equation 3.4). On a convex function the curvature sᵀy is never
// negative; pairs where it is too small to divide by are left out.

/** Writes the gradient at `point` into `gradient` and returns the value there. */
export type Objective = (point: Float64Array, gradient: Float64Array) => number;

/** Settings of `minimize`. */
export interface MinimizeOptions {
  /** Number of remembered steps; default 6. */
  memory?: number;
  /** Default 200. */
  maxIterations?: number;
  /** Stops when no component of the gradient is larger; default 1e-5. */
  gradientTolerance?: number;
}

/** Moves `point` to the minimum, in place, and returns the value there. */
export function minimize(
  objective: Objective,
  point: Float64Array,
  { memory = 6, maxIterations = 200, gradientTolerance = 1e-5 }: MinimizeOptions = {},
): number {
  const size = point.length;
  let gradient = new Float64Array(size);
  let newGradient = new Float64Array(size);
  const newPoint = new Float64Array(size);
  const direction = new Float64Array(size);
  const pairs: { step: Float64Array; change: Float64Array; curvature: number }[] = [];
  let value = objective(point, gradient);
  for (let iteration = 0; iteration < maxIterations && largest(gradient) > gradientTolerance; iteration++) {
    applyInverseHessian(gradient, pairs, direction);
    const slope = -dot(gradient, direction);
    let rate = pairs.length === 0 ? Math.min(1, 1 / Math.sqrt(dot(gradient, gradient))) : 1;
    let newValue = Number.POSITIVE_INFINITY;
    for (let halvings = 0; halvings < 40; halvings++, rate /= 2) {
      for (let i = 0; i < size; i++) newPoint[i] = point[i]! - rate * direction[i]!;
      newValue = objective(newPoint, newGradient);
      if (newValue <= value + 1e-4 * rate * slope) break;
    }
    if (!(newValue < value)) break; // rounding hides any further decrease
    const reused = pairs.length === memory ? pairs.shift()! : undefined;
    const step = reused?.step ?? new Float64Array(size);
    const change = reused?.change ?? new Float64Array(size);
    for (let i = 0; i < size; i++) {
      step[i] = newPoint[i]! - point[i]!;
      change[i] = newGradient[i]! - gradient[i]!;
    }
    const curvature = dot(step, change);
    if (curvature > 1e-12 * dot(change, change)) pairs.push({ step, change, curvature });
    point.set(newPoint);
    [gradient, newGradient] = [newGradient, gradient];
    value = newValue;
  }
  return value;
}

/** The two-loop recursion: direction = H⁻¹ · gradient by the remembered pairs (oldest first). */
function applyInverseHessian(
  gradient: Float64Array,
  pairs: readonly { step: Float64Array; change: Float64Array; curvature: number }[],
  direction: Float64Array,
): void {
  direction.set(gradient);
  const weights = new Float64Array(pairs.length);
  for (let p = pairs.length - 1; p >= 0; p--) {
    const { step, change, curvature } = pairs[p]!;
    weights[p] = dot(step, direction) / curvature;
    addScaled(direction, -weights[p]!, change);
  }
  const newest = pairs.at(-1);
  if (newest) {
    const scale = newest.curvature / dot(newest.change, newest.change);
    for (let i = 0; i < direction.length; i++) direction[i]! *= scale;
  }
  for (let p = 0; p < pairs.length; p++) {
    const { step, change, curvature } = pairs[p]!;
    addScaled(direction, weights[p]! - dot(change, direction) / curvature, step);
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function addScaled(target: Float64Array, factor: number, other: Float64Array): void {
  for (let i = 0; i < target.length; i++) target[i]! += factor * other[i]!;
}

function largest(values: Float64Array): number {
  let result = 0;
  for (let i = 0; i < values.length; i++) result = Math.max(result, Math.abs(values[i]!));
  return result;
}
