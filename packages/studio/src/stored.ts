// What the page remembers between visits, all in this browser: language, appearance, history. Storage may be
// forbidden or full; then the page works without it.
import type { Language } from './texts.js';

export type Theme = 'system' | 'light' | 'dark';
export interface HistoryEntry {
  at: number;
  prompt: string;
  text: string;
}
const HISTORY_MAX = 30;

function read(key: string): string | null {
  try {
    return localStorage.getItem(`openplug.${key}`);
  } catch {
    return null;
  }
}
function write(key: string, value: string): void {
  try {
    localStorage.setItem(`openplug.${key}`, value);
  } catch {
    // Forbidden or full: nothing is remembered, nothing else changes.
  }
}

export function storedLanguage(): Language {
  const stored = read('language');
  if (stored === 'zh' || stored === 'en') return stored;
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}
export function applyLanguage(language: Language, title: string): void {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  document.title = title;
}
export function storeLanguage(language: Language): void {
  write('language', language);
}

export function storedTheme(): Theme {
  const stored = read('theme');
  return stored === 'light' || stored === 'dark' ? stored : 'system';
}
export function applyTheme(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
}
export function storeTheme(theme: Theme): void {
  write('theme', theme);
}

export function storedHistory(): HistoryEntry[] {
  try {
    const entries: unknown = JSON.parse(read('history') ?? '[]');
    return Array.isArray(entries) ? entries.filter(isEntry) : [];
  } catch {
    return [];
  }
}
/** The new entry first, the oldest dropped; answers the new list. */
export function addHistory(entry: HistoryEntry): HistoryEntry[] {
  const entries = [entry, ...storedHistory()].slice(0, HISTORY_MAX);
  write('history', JSON.stringify(entries));
  return entries;
}
export function clearHistory(): void {
  write('history', '[]');
}

function isEntry(value: unknown): value is HistoryEntry {
  const entry = value as Partial<HistoryEntry> | null;
  return typeof entry?.at === 'number' && typeof entry.prompt === 'string' && typeof entry.text === 'string';
}
