// Learning-rate schedule: linear warm-up, then linear decay to zero, as published.

/**
 * The rate at a step.
 * @param step counts from 1
 * @param warmupFraction share of the steps that rise from 0 to the peak
 */
export function learningRateAt(
  step: number,
  totalSteps: number,
  peak: number,
  warmupFraction: number,
): number {
  const warmupSteps = Math.ceil(warmupFraction * totalSteps);
  // The share first: the product first can round to more than the peak.
  if (step <= warmupSteps) return peak * (step / warmupSteps);
  return (peak * (totalSteps - step + 1)) / (totalSteps - warmupSteps + 1);
}
