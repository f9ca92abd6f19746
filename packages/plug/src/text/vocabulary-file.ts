// vocab.txt and tokenizer_config.json as Hugging Face's BERT tokenizers write them: one token a line (the
// line number, from 0, is the id), and the settings of the normalisation beside it.
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { TokenizerError } from '../errors.js';
import type { TokenizerOptions } from './tokenizer.js';

const VOCABULARY_FILE = 'vocab.txt';
const CONFIG_FILE = 'tokenizer_config.json';

/** What loadTokenizer needs: the tokens in id order and the options found beside them. */
export interface VocabularyFile {
  tokens: string[];
  options: TokenizerOptions;
  path: string;
}

/**
 * Reads a vocabulary.
 *
 * @param path a folder with vocab.txt (and maybe tokenizer_config.json), or a vocabulary file.
 * @throws TokenizerError when the file is missing, is not UTF-8, has an empty line, or the config is not JSON.
 */
export function readVocabulary(path: string): VocabularyFile {
  const isFolder = existsSync(path) && statSync(path).isDirectory();
  const vocabularyPath = isFolder ? join(path, VOCABULARY_FILE) : path;
  if (!existsSync(vocabularyPath)) {
    throw new TokenizerError(
      `no vocabulary at ${vocabularyPath}: expected a folder with ${VOCABULARY_FILE} or the file itself; ` +
        'train one with `plug tokenizer` or copy the vocab.txt of the published model there',
    );
  }
  // Only line feeds end a line: published vocabularies hold U+2028 and the like as tokens.
  const lines = decodeUtf8(readFileSync(vocabularyPath), vocabularyPath).split('\n');
  const tokens = lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  if (tokens.at(-1) === '') tokens.pop();
  const emptyLine = tokens.indexOf('');
  if (emptyLine >= 0) {
    throw new TokenizerError(
      `${vocabularyPath}:${emptyLine + 1}: empty line; every line must hold a token, because its number is the id`,
    );
  }
  return { tokens, options: readConfig(join(dirname(vocabularyPath), CONFIG_FILE)), path: vocabularyPath };
}

/** Writes vocab.txt and tokenizer_config.json into `folder` (made if missing), each by write and rename. */
export function writeVocabulary(folder: string, tokens: readonly string[], options: TokenizerOptions): void {
  mkdirSync(folder, { recursive: true });
  const special = options.specialTokens ?? {};
  const config = {
    tokenizer_class: 'BertTokenizer',
    do_lower_case: options.doLowerCase ?? true,
    strip_accents: options.stripAccents ?? null,
    tokenize_chinese_chars: options.tokenizeChineseChars ?? true,
    pad_token: special.pad ?? '[PAD]',
    unk_token: special.unk ?? '[UNK]',
    cls_token: special.cls ?? '[CLS]',
    sep_token: special.sep ?? '[SEP]',
    mask_token: special.mask ?? '[MASK]',
  };
  writeFileAtomic.sync(join(folder, VOCABULARY_FILE), `${tokens.join('\n')}\n`);
  writeFileAtomic.sync(join(folder, CONFIG_FILE), `${JSON.stringify(config, null, 2)}\n`);
}

function decodeUtf8(bytes: Uint8Array, path: string): string {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    return decoder.decode(bytes);
  } catch {
    let lineStart = 0;
    for (let line = 1; lineStart < bytes.length; line++) {
      const lineFeed = bytes.indexOf(0x0a, lineStart);
      const lineEnd = lineFeed < 0 ? bytes.length : lineFeed;
      try {
        decoder.decode(bytes.subarray(lineStart, lineEnd));
      } catch (cause) {
        const help = 'convert the file to UTF-8 (for example `iconv -f gb18030 -t utf-8`)';
        throw new TokenizerError(`${path}:${line}: not valid UTF-8; ${help}`, { cause });
      }
      lineStart = lineEnd + 1;
    }
    throw new TokenizerError(`${path}: not valid UTF-8`);
  }
}

function readConfig(path: string): TokenizerOptions {
  if (!existsSync(path)) return {};
  let config: unknown;
  try {
    config = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new TokenizerError(`${path}: not valid JSON; repair or remove it`, { cause });
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new TokenizerError(`${path}: expected a JSON object`);
  }
  const fields = config as Record<string, unknown>;
  const flag = (name: string): boolean | undefined => {
    const value = fields[name];
    if (value === undefined || value === null || typeof value === 'boolean') return value ?? undefined;
    throw new TokenizerError(`${path}: ${name} must be true, false or null, got ${JSON.stringify(value)}`);
  };
  // A special token is written as a string or, by newer versions, as an object with its content.
  const token = (name: string): string | undefined => {
    const value = fields[name];
    if (typeof value === 'object' && value !== null && 'content' in value) return String(value.content);
    return typeof value === 'string' ? value : undefined;
  };
  return {
    doLowerCase: flag('do_lower_case'),
    stripAccents: flag('strip_accents'),
    tokenizeChineseChars: flag('tokenize_chinese_chars'),
    specialTokens: {
      pad: token('pad_token'),
      unk: token('unk_token'),
      cls: token('cls_token'),
      sep: token('sep_token'),
      mask: token('mask_token'),
    },
  };
}
