// Range checks shared by the settings of the samplers: each says what was given, what is allowed, and where.
import { ConfigError } from '../../errors.js';

/** @throws ConfigError unless `value` is a number in [0, 1]. */
export function checkProbability(name: string, value: number): void {
  if (!(value >= 0 && value <= 1)) {
    throw new ConfigError(`${name} is ${value}: expected a number between 0 and 1. Change this setting.`);
  }
}

/** @throws ConfigError unless `value` is an integer in [lowest, highest]. */
export function checkInteger(
  name: string,
  value: number,
  lowest: number,
  highest = Number.MAX_SAFE_INTEGER,
): void {
  if (!Number.isSafeInteger(value) || value < lowest || value > highest) {
    const range = highest === Number.MAX_SAFE_INTEGER ? `at least ${lowest}` : `from ${lowest} to ${highest}`;
    throw new ConfigError(`${name} is ${value}: expected an integer ${range}. Change this setting.`);
  }
}
