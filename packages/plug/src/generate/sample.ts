// Sampling of a batch of rows in lockstep: draw, emit, drop the rows that ended, and for long texts move the
// window on.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { keyedRandom } from '../random.js';
import type { Tokenizer } from '../text/index.js';
import type { DecodingPass } from './decoding-pass.js';
import { draw, numSampled, TokenRules, Written } from './next-token.js';
import type { GenerationPlan } from './settings.js';
import { movedSource, type Source } from './sources.js';

/** Why a text stopped: the model ended it, or it reached `maxLength`. */
export type Finish = 'end' | 'length';

/** One token of one row. */
export interface SampledToken {
  readonly row: number;
  readonly id: number;
  readonly logProbability: number;
  /** Present on a row's last token. */
  readonly finish?: Finish;
}

/** One text to be written. */
export interface RowRequest {
  readonly source: Source;
  readonly seed: number;
}

interface LiveRow extends RowRequest {
  readonly row: number;
  readonly written: Written;
}

/**
 * Writes all rows, each with random numbers of its own: the draw of token i of a row is a function of its seed
 * and i alone. Lets the event loop run between steps. Per row the last token, and only it, has `finish`.
 */
export async function* sampleRows(
  pass: DecodingPass,
  plan: GenerationPlan,
  special: Tokenizer['special'],
  numReal: number,
  requests: readonly RowRequest[],
): AsyncGenerator<SampledToken, void, undefined> {
  const rules = new TokenRules(plan, special, numSampled(plan, numReal), numReal);
  let live: LiveRow[] = requests.map((request, row) => ({
    ...request,
    row,
    written: new Written(plan.uniqueNgram),
  }));
  for (let step = 0; step < plan.maxLength && live.length > 0; step++) {
    const isPassStart = step % plan.passTokens === 0;
    if (isPassStart) {
      const sources = live.map(({ source, written }) =>
        step === 0 ? source : movedSource(source, written.ids, plan.windowTokens, special),
      );
      pass.start(sources, Math.min(plan.passTokens, plan.maxLength - step));
    }
    const previous = live.map(({ written }) => (isPassStart ? special.cls : written.ids.at(-1)!));
    const candidates = pass.step(previous, (logits) =>
      rules.candidates(
        logits,
        live.map(({ written }) => written),
      ),
    );
    const going: number[] = [];
    const tokens = live.map(({ row, seed, written }, at): SampledToken => {
      const { ids, rawLogits, normalizer, ...rest } = candidates[at]!;
      const place = draw(rest, plan, () => keyedRandom(seed, step));
      const id = ids[place]!;
      const token = { row, id, logProbability: rawLogits[place]! - normalizer };
      if (id === special.sep) return { ...token, finish: 'end' };
      written.push(id);
      if (written.ids.length === plan.maxLength) return { ...token, finish: 'length' };
      going.push(at);
      return token;
    });
    // Before the tokens are handed out: whoever takes the last one may stop asking.
    const isPassEnd = (step + 1) % plan.passTokens === 0;
    if (going.length > 0 && !isPassEnd) pass.reorder(going, live.length);
    live = going.map((at) => live[at]!);
    yield* tokens;
    await nextTurn();
  }
}
