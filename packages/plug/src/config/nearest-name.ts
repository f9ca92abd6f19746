// What somebody may have meant by a name that does not exist.
import { distance } from 'fastest-levenshtein'; // chosen: the quickest of its kind, without dependencies

/** The known name closest to a wrong one, if any is close enough to be what was meant. */
export function nearestName(wrong: string, known: readonly string[]): string | undefined {
  const plain = (name: string) => name.replace(/[-_]/g, '').toLowerCase();
  let nearest: string | undefined;
  let least = Math.max(2, Math.floor(wrong.length * 0.4)) + 1;
  for (const name of known) {
    const steps = distance(plain(wrong), plain(name));
    if (steps < least) [nearest, least] = [name, steps];
  }
  return nearest;
}
