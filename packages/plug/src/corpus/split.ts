// The held-out split: a document belongs to a side by the hash of its name alone, so the side never changes
// with the order of files, the number of workers or other documents that come or go.
import { createHash } from 'node:crypto';
import { ConfigError } from '../errors.js';

export type Split = 'train' | 'heldOut';

const hashRange = 2 ** 48;

/**
 * The side that a document is on. A larger fraction only moves documents from `train` to `heldOut`, never back.
 *
 * @param documentId name of the document.
 * @param heldOutFraction expected share of documents held out, in [0, 1].
 * @throws ConfigError if the fraction is outside [0, 1].
 */
export function splitOf(documentId: string, heldOutFraction: number): Split {
  checkHeldOutFraction(heldOutFraction);
  const position = createHash('sha256').update(documentId, 'utf8').digest().readUIntBE(0, 6) / hashRange;
  return position < heldOutFraction ? 'heldOut' : 'train';
}

/** @throws ConfigError if the fraction is not a number in [0, 1]. */
export function checkHeldOutFraction(heldOutFraction: number): void {
  if (!(heldOutFraction >= 0 && heldOutFraction <= 1)) {
    throw new ConfigError(
      `heldOutFraction is ${heldOutFraction}, expected a number from 0 to 1. For example 0.01 holds out 1 % of the documents.`,
    );
  }
}
