// Reads the character properties of the BERT normaliser out of the `tokenizers` package (Hugging Face's own
// implementation) by asking it about every code point, and writes unicode-tables.generated.ts. A development
// tool: `node packages/plug/dist/text/generate-unicode-tables.js`, needed only when that package changes.
import { fileURLToPath, pathToFileURL } from 'node:url';
import { bertNormalizer, bertPreTokenizer, nfdNormalizer } from 'tokenizers';
import writeFileAtomic from 'write-file-atomic';
import { collectRanges, type PropertyName, packRanges } from './unicode-properties.js';

// A starter that no normaliser below changes: thousands of questions fit into one call, and neighbours do
// not touch each other.
const SEPARATOR = '\u4e00';
const CHUNK = 0x4000;

/** What `ask` makes of each code point, asked in the company of fixed characters before and after it. */
function answers(ask: (text: string) => string, before = '', after = ''): Map<number, string> {
  const result = new Map<number, string>();
  for (let start = 0; start < 0x110000; start += CHUNK) {
    if (start >= 0x40000 && start < 0xe0000) continue; // planes that Unicode has never assigned
    const codePoints: number[] = [];
    for (let codePoint = start; codePoint < start + CHUNK; codePoint++) {
      const isSurrogate = codePoint >= 0xd800 && codePoint <= 0xdfff;
      if (!isSurrogate && codePoint !== SEPARATOR.codePointAt(0)) codePoints.push(codePoint);
    }
    if (codePoints.length === 0) continue;
    const question = codePoints.map((codePoint) => before + String.fromCodePoint(codePoint) + after);
    const parts = ask(question.join(SEPARATOR)).split(SEPARATOR);
    if (parts.length !== codePoints.length) throw new Error(`the separator was changed near ${start}`);
    codePoints.forEach((codePoint, index) => {
      result.set(codePoint, parts[index] as string);
    });
  }
  return result;
}

/** All tables, from the installed `tokenizers` package. Takes a few seconds. */
export function readUnicodeTables(): Record<PropertyName, string> {
  const off = { cleanText: false, handleChineseChars: false, stripAccents: false, lowercase: false };
  const cleaner = bertNormalizer({ ...off, cleanText: true });
  const cleaned = answers((text) => cleaner.normalizeString(text));
  const stripper = bertNormalizer({ ...off, stripAccents: true });
  const stripped = answers((text) => stripper.normalizeString(text));
  const nfd = nfdNormalizer();
  const decompose = (text: string) => nfd.normalizeString(text);
  const decomposed = answers(decompose);
  // A mark of class 1 goes before any mark of a higher class, one of class 240 after any lower one: whoever
  // changes places with either of them has a class of its own.
  const beforeOverlay = answers(decompose, '', '\u0334');
  const afterIota = answers(decompose, '\u0345', '');
  const splitter = bertPreTokenizer();
  const split = answers(
    (text) =>
      splitter
        .preTokenizeString(text)
        .map(([word]) => word)
        .join('|'),
    'a',
    'a',
  );

  const changes = (table: Map<number, string>, codePoint: number, same: string) =>
    table.has(codePoint) && table.get(codePoint) !== same;
  return {
    removed: packRanges(collectRanges((codePoint) => cleaned.get(codePoint) === '')),
    nonspacingMark: packRanges(collectRanges((codePoint) => stripped.get(codePoint) === '')),
    punctuation: packRanges(
      collectRanges((codePoint) => split.get(codePoint) === `a|${String.fromCodePoint(codePoint)}|a`),
    ),
    decomposes: packRanges(
      collectRanges((codePoint) => {
        const character = String.fromCodePoint(codePoint);
        return (
          changes(decomposed, codePoint, character) ||
          changes(beforeOverlay, codePoint, `${character}\u0334`) ||
          changes(afterIota, codePoint, `\u0345${character}`)
        );
      }),
    ),
  };
}

function main(): void {
  const tables = readUnicodeTables();
  const lines = [
    '// Written by generate-unicode-tables.ts from the tokenizers package; do not edit.',
    '',
    '/** Ranges of code points; see unpackRanges for the form. */',
    'export const UNICODE_RANGES = {',
    ...Object.entries(tables).map(([name, packed]) => `  ${name}: '${packed}',`),
    '} as const;',
    '',
  ];
  const source = fileURLToPath(new URL('../../src/text/unicode-tables.generated.ts', import.meta.url));
  writeFileAtomic.sync(source, lines.join('\n'));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) main();
