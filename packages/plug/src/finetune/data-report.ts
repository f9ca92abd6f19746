// What makes scores look better than they are: examples that occur twice, and examples of dev or test that were
// trained on.
import type { TaskExample } from './examples.js';
import { type SplitName, splitNames } from './split-files.js';

/** Examples of one split with the places that they were read from. */
export interface PlacedExamples {
  examples: readonly TaskExample[];
  places: readonly string[];
}

const shown = 3;

/** One note for each finding, with the first places. */
export function describeData(splits: Record<SplitName, PlacedExamples>): string[] {
  const notes: string[] = [];
  const trained = firstPlaces(splits.train);
  for (const split of splitNames) {
    const { examples, places } = splits[split];
    const seen = split === 'train' ? new Map<string, string>() : firstPlaces(splits[split]);
    const [repeated, overlapping, contradicting]: [string[], string[], string[]] = [[], [], []];
    for (const [index, example] of examples.entries()) {
      const key = inputKey(example);
      const place = places[index]!;
      if (split === 'train') {
        const earlier = seen.get(key);
        if (earlier === undefined) seen.set(key, answerKey(example));
        else (earlier === answerKey(example) ? repeated : contradicting).push(place);
      } else {
        if (seen.get(key) !== place) repeated.push(place);
        if (trained.has(key)) overlapping.push(`${place} (${trained.get(key)})`);
      }
    }
    const note = (what: string, list: readonly string[]): void => {
      if (list.length > 0)
        notes.push(`${split}: ${list.length} of ${examples.length} examples ${what}: ${few(list)}.`);
    };
    note('occur a second time', repeated);
    note('occur a second time with another answer', contradicting);
    note('are in train too', overlapping);
  }
  return notes;
}

function firstPlaces({ examples, places }: PlacedExamples): Map<string, string> {
  const first = new Map<string, string>();
  for (const [index, example] of examples.entries()) {
    const key = inputKey(example);
    if (!first.has(key)) first.set(key, places[index]!);
  }
  return first;
}

/** What the model is shown. */
function inputKey(example: TaskExample): string {
  if ('label' in example) return JSON.stringify([example.text, example.textPair]);
  if ('candidates' in example) return JSON.stringify([example.text, example.candidates]);
  if ('context' in example) return JSON.stringify([example.question, example.context]);
  return JSON.stringify([example.source, example.target]);
}

/** What it is to answer. */
function answerKey(example: TaskExample): string {
  if ('label' in example) return String(example.label);
  if ('candidates' in example) return String(example.answer);
  return 'context' in example ? example.answer : example.target;
}

function few(places: readonly string[]): string {
  return places.slice(0, shown).join('; ') + (places.length > shown ? '; …' : '');
}
