// Cleaning of classical poems: editors' notes go, restored characters stay, and a poem with characters that are
// lost or garbled goes as a whole, because a hole in it would teach a wrong order of lines.

/** A cleaned body; `damaged` if a character is lost or does not belong in a Chinese poem. */
export interface CleanedBody {
  lines: string[];
  damaged: boolean;
  /** Editors' notes and stage directions removed. */
  notes: number;
}

const openBrackets = '（(';
const closeBrackets = '）)';

/**
 * Chinese characters, the ideographic zero and its round look-alike, and punctuation. What is not here is a gap
 * (□ ●), a description of a character that the file could not hold ({艹/尔}, ⿰木養, private use), or garbled text.
 */
const sound = /^[\p{Script=Han}○，。？！、；：“”‘’「」『』《》〈〉·—…"\s]*$/u;

const halfToFull: Record<string, string> = {
  ',': '，',
  ';': '；',
  ':': '：',
  '?': '？',
  '!': '！',
  '．': '。',
  '・': '·',
};

/**
 * Cleans the paragraphs of a poem.
 *
 * @param paragraphs as in the file; a note may begin in one and end in another.
 * @param isDrama square brackets name tunes and speakers (removed), instead of holding restored text (kept).
 */
export function cleanBody(paragraphs: readonly string[], isDrama: boolean): CleanedBody {
  const withoutNotes = removeNotes(paragraphs.join('\n').normalize('NFC'));
  const unbracketed = resolveBrackets(withoutNotes.text, isDrama);
  const lines = unbracketed.text
    .replace(/--+/g, '——')
    .replace(/[,;:?!．・]/g, (mark) => halfToFull[mark] ?? mark)
    .split('\n')
    .map(tidyLine)
    .filter((line) => line !== '');
  return {
    lines,
    damaged: lines.some((line) => !sound.test(line)),
    notes: withoutNotes.notes + unbracketed.notes,
  };
}

/**
 * Undoes a fault of the Yuan songs' file: where a song has no title beside its tune, the first forty characters
 * of the song stand in the title ("幺・東家醉了東家唱，…百年渾是醉，三") and the text goes on from there.
 */
export function returnSpilledText(
  title: string,
  paragraphs: readonly string[],
): { title: string; paragraphs: string[] } {
  const point = title.indexOf('・');
  const tail = title.slice(point + 1);
  if (point < 0 || !/[，。？！]/.test(tail)) return { title, paragraphs: [...paragraphs] };
  const [first = '', ...rest] = paragraphs;
  return { title: title.slice(0, point), paragraphs: [tail + first, ...rest] };
}

/**
 * Cleans a title: notes removed, runs of white space made one space. A title with lost characters becomes
 * empty. Where an editor set the poem's opening words after the tune's name, only the tune is left: the line
 * that follows would otherwise be a copy.
 */
export function cleanTitle(title: string, lines: readonly string[]): string {
  const { text } = resolveBrackets(removeNotes(title.normalize('NFC')).text, false);
  const cleaned = text.replaceAll('・', '·').replace(/\s+/g, ' ').trim();
  if (!/\p{Script=Han}/u.test(cleaned) || /[□●{}\p{Co}\p{Cn}\ufffd⿰-⿻]/u.test(cleaned)) return '';
  const point = cleaned.indexOf('·');
  if (point < 0) return cleaned;
  const tail = hanOnly(cleaned.slice(point + 1));
  const repeated = tail === '' || (tail.length > 3 && hanOnly(lines.join('')).startsWith(tail));
  return repeated ? cleaned.slice(0, point) : cleaned;
}

/** A title as a line of its own: 《title》, with 〈〉 for title marks inside it. */
export function titleLine(title: string): string {
  return `《${title.replaceAll('《', '〈').replaceAll('》', '〉')}》`;
}

/** Removes （notes）, also nested and over several lines. A note that is never closed goes to the end. */
function removeNotes(text: string): { text: string; notes: number } {
  let kept = '';
  let depth = 0;
  let notes = 0;
  // A character given in brackets after a gap is what editors restored: □（賢） is 賢.
  for (const character of text.replace(/□[（(](\p{Script=Han})[）)]/gu, '$1')) {
    if (openBrackets.includes(character)) {
      if (depth === 0) notes++;
      depth++;
    } else if (closeBrackets.includes(character)) {
      depth = Math.max(0, depth - 1);
    } else if (depth === 0) {
      kept += character;
    }
  }
  return { text: kept, notes };
}

/**
 * [爽], 〔态〕 and <激楚> hold characters that editors restored and lose their brackets; note marks such as [一],
 * 〖1〗 or ②, and directions such as 〔圜鍾爲宮三奏〕, are removed.
 */
function resolveBrackets(text: string, isDrama: boolean): { text: string; notes: number } {
  let notes = 0;
  const drop = (): string => {
    notes++;
    return '';
  };
  const resolved = text
    .replace(/〖[^〗\n]*〗/g, drop)
    .replace(/[[［]([^\]］\n]*)[\]］]/g, (_, inner: string) =>
      isDrama || /^[一二三四五六七八九十\d\w]+$/.test(inner) ? drop() : inner,
    )
    .replace(/<([^<>\n]*)>/g, (whole: string, inner: string) => (isDrama ? whole : inner))
    .replace(/[①-⑳]|(?<=\p{Script=Han})\d(?=\p{Script=Han})/gu, drop)
    .replace(/〔([^〕\n]*)〕/g, (_, inner: string) => (isDrama || inner.length > 2 ? drop() : inner));
  return { text: resolved, notes };
}

/** Removes what a note left behind: white space, marks that open a line, the same mark twice. */
function tidyLine(line: string): string {
  const tidied = line
    .replace(/\s+/g, '')
    .replace(/^[，。、；：？！·”’」』》〉]+/, '')
    .replace(/([，。；])[，。；]+/g, '$1')
    .replace(/([？！])[，。；]+/g, '$1');
  if (/^(附[注註]|詩題)：/.test(tidied)) return ''; // editors' lists of what stands elsewhere
  return /\p{Script=Han}|[□●]/u.test(tidied) ? tidied : '';
}

function hanOnly(text: string): string {
  return text.replace(/\P{Script=Han}/gu, '');
}
