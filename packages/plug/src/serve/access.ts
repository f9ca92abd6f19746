// Who may ask: bearer tokens, of which only hashes are stored.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import { ConfigError } from '../errors.js';
import { RequestError } from './errors.js';

/** One who may ask. */
export interface TokenHolder {
  readonly name: string;
  /** SHA-256 of the token: tokens are 32 random bytes, which need no slow hash. */
  readonly hash: Buffer;
  /** In place of the server's own limit. */
  readonly requestsPerMinute: number | undefined;
}

const tokenLine = /^(?<name>[\w.-]{1,64}) (?<hash>[0-9a-f]{64})(?: (?<rate>[1-9]\d{0,6}))?$/;

/**
 * Lines of `name sha256 [requests per minute]`; empty ones and those with # are skipped.
 * @throws ConfigError with the line that cannot be read
 */
export function readTokenFile(file: string): TokenHolder[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(
      `The token file cannot be read: ${(error as Error).message}. Make one with plug serve --new-token NAME --token-file ${file}.`,
      { cause: error },
    );
  }
  const holders = text.split(/\r?\n/).flatMap((line, index): TokenHolder[] => {
    if (line.trim() === '' || line.startsWith('#')) return [];
    const fields = tokenLine.exec(line.trim())?.groups;
    if (!fields)
      throw new ConfigError(
        `${file}:${index + 1}: expected "name sha256 [requests per minute]". Write lines with plug serve --new-token NAME.`,
      );
    const { name, hash, rate } = fields as { name: string; hash: string; rate?: string };
    return [{ name, hash: Buffer.from(hash, 'hex'), requestsPerMinute: rate ? Number(rate) : undefined }];
  });
  if (holders.length === 0) throw new ConfigError(`${file} holds no token, so nobody could ask.`);
  return holders;
}

/**
 * Adds a token to the file, which need not exist.
 * @returns the token; it is stored nowhere
 */
export function addToken(file: string, name: string): string {
  const token = `plug-${randomBytes(32).toString('base64url')}`;
  const line = `${name} ${sha256(token).toString('hex')}`;
  if (!tokenLine.test(line))
    throw new ConfigError(
      `A token's name has 1 to 64 letters, digits, "_", "." or "-", got ${JSON.stringify(name)}.`,
    );
  appendFileSync(file, `${line}\n`, { mode: 0o600 });
  return token;
}

/**
 * The holder of the token in an Authorization header.
 * @throws RequestError 401 when there is none
 */
export function authenticate(header: string | undefined, holders: readonly TokenHolder[]): TokenHolder {
  const given = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
  if (given === undefined)
    throw new RequestError(401, 'This server wants a token: send the header "Authorization: Bearer TOKEN".', {
      type: 'authentication_error',
      code: 'missing_token',
    });
  const hash = sha256(given);
  // All are compared, in constant time each.
  const found = holders.filter((holder) => timingSafeEqual(holder.hash, hash));
  if (!found[0])
    throw new RequestError(401, 'This token is not known.', {
      type: 'authentication_error',
      code: 'invalid_token',
    });
  return found[0];
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
