// What is taken of a page, and what is kept away from the tasks' own dev and test texts.

/** Two texts that share so many characters in a row have one from the other. */
const SHARED = 16;

/** What a reader of the page sees, without code, tables and what stands in another language; a paragraph a line. */
export function readableLines(markdown: string): string[] {
  return markdown
    .replace(/^---\n[\s\S]*?\n---\n/, '')
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/^(```|~~~)[\s\S]*?^\1/gm, '')
    .replace(/<rt>[\s\S]*?<\/rt>|<[^>\n]*>/g, '')
    .replace(/!\[[^\]]*\](\([^)]*\)|\[[^\]]*\])/g, '')
    .replace(/\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])/g, '$1')
    .replace(/\$\$[\s\S]*?\$\$/g, '')
    .split('\n')
    .filter((line) => !/^\s*(\||#|via:|作者|译者|校对|选题|本文由)/.test(line))
    .map((line) => line.replace(/^[\s>*+-]+|^\d+\.\s|[*_`]{1,3}|\{[^}]*\}/g, '').trim())
    .filter((line) => {
      const han = line.match(/\p{Script=Han}/gu)?.length ?? 0;
      return han >= 8 && 2 * han >= line.replace(/\s/g, '').length;
    });
}

/** Whether a line shares {@link SHARED} characters in a row with one of these texts, or is one of them. */
export function sharing(texts: Iterable<string>): (line: string) => boolean {
  const pieces = new Set<string>();
  const plain = (text: string): string => text.replace(/\s/g, '');
  for (const text of texts) {
    const given = plain(text);
    if (given.length < SHARED) pieces.add(given);
    for (let start = 0; start + SHARED <= given.length; start++) {
      pieces.add(given.slice(start, start + SHARED));
    }
  }
  return (line) => {
    const given = plain(line);
    if (pieces.has(given)) return true;
    for (let start = 0; start + SHARED <= given.length; start++) {
      if (pieces.has(given.slice(start, start + SHARED))) return true;
    }
    return false;
  };
}
