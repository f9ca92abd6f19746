// How sure the model was of each piece of text, as one of a few steps that the style sheet colours. Steps, not
// a continuous colour: a class needs no inline style, which the content security policy forbids.

/** Lower edges of the steps, by probability: step 0 is the surest. */
const EDGES = [0.8, 0.5, 0.25, 0.1] as const;
export const STEPS = EDGES.length + 1;

export function confidenceStep(logProbability: number): number {
  const probability = Math.exp(logProbability);
  const step = EDGES.findIndex((edge) => probability >= edge);
  return step < 0 ? EDGES.length : step;
}

/** A probability for people: whole percents, with the ends kept apart from 0 and 100. */
export function percent(probability: number): string {
  const value = probability * 100;
  if (value > 0 && value < 1) return '<1%';
  if (value < 100 && value > 99.5) return '>99%';
  return `${Math.round(value)}%`;
}
