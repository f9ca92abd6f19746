// Numbers for people, in the language of the page: counts, bytes, shares.

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** "14.4 GB": powers of 1000, as `plug` prints them. */
export function bytes(value: number, locale: string): string {
  const exponent = Math.min(
    UNITS.length - 1,
    Math.max(0, Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3)),
  );
  const scaled = value / 1000 ** exponent;
  return `${new Intl.NumberFormat(locale, { maximumSignificantDigits: 3 }).format(scaled)} ${UNITS[exponent]}`;
}

/** "26.1B", "261亿". */
export function compact(value: number, locale: string): string {
  return new Intl.NumberFormat(locale, { notation: 'compact', maximumSignificantDigits: 3 }).format(value);
}

/** "26,100,601,859". */
export function exact(value: number, locale: string): string {
  return new Intl.NumberFormat(locale).format(value);
}

/** "7.8 %" of a whole, and never 0 % for what is there. */
export function share(part: number, whole: number, locale: string): string {
  const value = whole > 0 ? part / whole : 0;
  if (value > 0 && value < 0.001) return '<0.1%';
  return new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 1 }).format(value);
}

/** "7.88 × 10¹⁰" for what no language has short words for. */
export function scientific(value: number, locale: string): string {
  if (value < 1e6) return exact(Math.round(value), locale);
  const exponent = Math.floor(Math.log10(value));
  const digits = [...String(exponent)].map((digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(digit)]).join('');
  return `${(value / 10 ** exponent).toFixed(2)} × 10${digits}`;
}
