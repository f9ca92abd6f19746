// Whether a path stays in a folder that others may name paths of.
import { isAbsolute, relative, sep } from 'node:path';

/** Both real or both as written: links are the caller's to resolve. The folder itself is not beneath itself. */
export function isBeneath(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}
