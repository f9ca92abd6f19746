// Character features for the linear baseline: single characters and pairs of neighbours, weighted by tf-idf.
//
// A pair task has three feature spaces: those of the first text, of the second, and of both joined, so that
// the bigram across the boundary counts. Weight: (1 + ln count) · (1 + ln((1 + N) / (1 + documents with it))),
// then each text's row is scaled to length 1 (Salton & Buckley 1988, "Term-weighting approaches in automatic
// text retrieval"); the idf is smoothed so that a feature of every text keeps the weight 1.

/** One text, or a pair of texts, to be classified. */
export interface ClassifierInput {
  text: string;
  textPair?: string;
}

/** Sparse rows: row r has indices[rowStart[r]] … indices[rowStart[r + 1] − 1] and their values. */
export interface SparseRows {
  readonly rowStart: Uint32Array;
  readonly indices: Uint32Array;
  readonly values: Float64Array;
}

/** The features seen in training texts. */
export interface BigramVocabulary {
  readonly size: number;
  /** Rows of these texts; features outside the vocabulary are left out. */
  rows(inputs: readonly ClassifierInput[]): SparseRows;
}

/** Collects the features of the training texts; when over `maxFeatures`, the most widespread are kept. */
export function bigramVocabulary(inputs: readonly ClassifierInput[], maxFeatures: number): BigramVocabulary {
  const documentCounts = new Map<string, number>();
  for (const input of inputs) {
    for (const feature of countFeatures(input).keys()) {
      documentCounts.set(feature, (documentCounts.get(feature) ?? 0) + 1);
    }
  }
  let kept = [...documentCounts];
  if (kept.length > maxFeatures) kept = kept.sort((a, b) => b[1] - a[1]).slice(0, maxFeatures);
  const indexOf = new Map(kept.map(([feature], index) => [feature, index]));
  const idf = Float64Array.from(kept, ([, count]) => 1 + Math.log((1 + inputs.length) / (1 + count)));
  return {
    size: kept.length,
    rows(texts) {
      const rowStart = new Uint32Array(texts.length + 1);
      const indices: number[] = [];
      const values: number[] = [];
      for (const [row, input] of texts.entries()) {
        let squares = 0;
        for (const [feature, count] of countFeatures(input)) {
          const index = indexOf.get(feature);
          if (index === undefined) continue;
          const value = (1 + Math.log(count)) * idf[index]!;
          squares += value * value;
          indices.push(index);
          values.push(value);
        }
        for (let i = rowStart[row]!; i < values.length; i++) values[i]! /= Math.sqrt(squares);
        rowStart[row + 1] = values.length;
      }
      return { rowStart, indices: Uint32Array.from(indices), values: Float64Array.from(values) };
    },
  };
}

/** Counts of the characters (code points) and bigrams, each key beginning with its space's letter. */
export function countFeatures({ text, textPair }: ClassifierInput): Map<string, number> {
  const counts = new Map<string, number>();
  if (textPair === undefined) {
    countText('T', text, counts);
  } else {
    countText('A', text, counts);
    countText('B', textPair, counts);
    countText('J', text + textPair, counts);
  }
  return counts;
}

function countText(space: string, text: string, counts: Map<string, number>): void {
  let previous: string | undefined;
  for (const character of text) {
    const single = space + character;
    counts.set(single, (counts.get(single) ?? 0) + 1);
    if (previous !== undefined) {
      const pair = space + previous + character;
      counts.set(pair, (counts.get(pair) ?? 0) + 1);
    }
    previous = character;
  }
}
