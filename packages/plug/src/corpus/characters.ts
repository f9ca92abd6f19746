// Counting characters as people do, not as UTF-16 does: rare Chinese characters take two units.

/** Number of code points. */
export function countCharacters(text: string): number {
  let count = text.length;
  for (let index = 0; index < text.length; index++) {
    // A high surrogate before a low one is half of one character.
    if ((text.charCodeAt(index) & 0xfc00) === 0xd800 && (text.charCodeAt(index + 1) & 0xfc00) === 0xdc00)
      count--;
  }
  return count;
}
