// Beam search: keeps the most probable beginnings of each prompt's text, for all prompts of a batch at once.
// Deterministic: of equal beginnings the one whose parent, then whose token id, comes first is kept.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Tokenizer } from '../text/index.js';
import type { DecodingPass } from './decoding-pass.js';
import { type Candidates, TokenRules, Written } from './next-token.js';
import type { Finish } from './sample.js';
import type { GenerationPlan } from './settings.js';
import type { Source } from './sources.js';

/** A finished text. */
export interface FoundText {
  /** Without the end token. */
  readonly ids: readonly number[];
  /** The model's log-probability of each token, the end token included. */
  readonly logProbabilities: readonly number[];
  /** Sum of log-probabilities (after the repetition penalty) / lengthPenaltyOf(tokens, the end token included). */
  readonly score: number;
  readonly finish: Finish;
}

interface Beam {
  readonly ids: readonly number[];
  readonly logProbabilities: readonly number[];
  /** Sum of log-probabilities after the repetition penalty: what beams are ordered by. */
  readonly total: number;
}

interface Search {
  beams: readonly Beam[];
  finished: FoundText[];
}

const newBeam: Beam = { ids: [], logProbabilities: [], total: 0 };

/** ((5 + length) / 6)^α, the length penalty of GNMT (Wu et al. 2016, arXiv 1609.08144, §7). */
export function lengthPenaltyOf(length: number, alpha: number): number {
  return ((5 + length) / 6) ** alpha;
}

/**
 * The `numCandidates` best texts of each source, best first.
 *
 * Each step keeps the `beams` best extensions, ended or not, so that width 1 is greedy decoding. A search ends when
 * no beam can still reach the score of the texts found: log-probabilities only fall, and the penalty is largest at
 * `maxLength`; with `earlyStopping`, also when `beams` texts have ended.
 */
export async function beamSearch(
  pass: DecodingPass,
  plan: GenerationPlan,
  special: Tokenizer['special'],
  numReal: number,
  sources: readonly Source[],
): Promise<FoundText[][]> {
  const rules = new TokenRules(plan, special, Math.min(plan.beams, numReal), numReal);
  const searches = sources.map((): Search => ({ beams: [newBeam], finished: [] }));
  pass.start(sources, plan.maxLength);
  for (let length = 1; length <= plan.maxLength; length++) {
    const beams = searches.flatMap((search) => search.beams);
    if (beams.length === 0) break;
    const newest = beams.map(({ ids }) => ids.at(-1) ?? special.cls);
    const written = beams.map(({ ids }) => new Written(plan.uniqueNgram, ids));
    const candidates = pass.step(newest, (logits) => rules.candidates(logits, written));
    const parents: number[] = [];
    let first = 0;
    for (const search of searches) {
      const numBeams = search.beams.length;
      const kept = extend(search, candidates.slice(first, first + numBeams), length, plan, special.sep);
      parents.push(...kept.map((parent) => first + parent));
      first += numBeams;
    }
    if (parents.length > 0) pass.reorder(parents, beams.length);
    await nextTurn();
  }
  return searches.map(({ finished }) => finished.slice(0, plan.numCandidates));
}

/** One step of one search. Returns the parent of each beam that goes on. */
function extend(
  search: Search,
  candidates: readonly Candidates[],
  length: number,
  plan: GenerationPlan,
  end: number,
): number[] {
  const extensions = search.beams
    .flatMap((beam, parent) => {
      const { count, ids, rawLogits, logits, normalizer } = candidates[parent]!;
      return Array.from({ length: count }, (_, place) => ({
        parent,
        id: ids[place]!,
        logProbability: rawLogits[place]! - normalizer,
        total: beam.total + logits[place]! - normalizer,
      }));
    })
    .sort((a, b) => b.total - a.total || a.parent - b.parent || a.id - b.id)
    .slice(0, plan.beams);
  const going: { beam: Beam; parent: number }[] = [];
  for (const { parent, id, logProbability, total } of extensions) {
    const { ids, logProbabilities: earlier } = search.beams[parent]!;
    const logProbabilities = [...earlier, logProbability];
    const finish = id === end ? 'end' : length === plan.maxLength ? 'length' : undefined;
    const extended = id === end ? ids : [...ids, id];
    if (finish) {
      const score = total / lengthPenaltyOf(length, plan.lengthPenalty);
      search.finished.push({ ids: extended, logProbabilities, score, finish });
    } else going.push({ beam: { ids: extended, logProbabilities, total }, parent });
  }
  // Stable: of equal scores the one found first stays first.
  search.finished.sort((a, b) => b.score - a.score);
  const isOver = isDecided(search, going[0]?.beam.total, plan);
  search.beams = isOver ? [] : going.map(({ beam }) => beam);
  return isOver ? [] : going.map(({ parent }) => parent);
}

function isDecided({ finished }: Search, best: number | undefined, plan: GenerationPlan): boolean {
  if (best === undefined) return true;
  if (plan.earlyStopping && finished.length >= plan.beams) return true;
  const worst = finished[plan.numCandidates - 1];
  return worst !== undefined && worst.score >= best / lengthPenaltyOf(plan.maxLength, plan.lengthPenalty);
}
