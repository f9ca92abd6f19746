// The settings of the playground: plain words first, the numbers behind them on demand.
import {
  boundsOf,
  clampSetting,
  DEFAULTS,
  LENGTHS,
  type LengthWord,
  lengthWord,
  NUMBER_KEYS,
  readSeed,
  type Settings,
  STYLES,
  type StyleWord,
  styleWord,
} from './settings.js';
import type { Texts } from './texts.js';

interface Props {
  t: Texts;
  settings: Settings;
  /** Tokens that the server lets one text have. */
  maxNewTokens: number;
  /** Tokens that the model reads or writes at once; undefined while that is not known. */
  positions: number | undefined;
  change: (part: Partial<Settings>) => void;
}

export function Controls({ t, settings, maxNewTokens, positions, change }: Props) {
  const isLong = positions !== undefined && settings.maxLength > positions;
  return (
    <>
      <Words
        t={t}
        name="length"
        words={Object.keys(LENGTHS) as LengthWord[]}
        chosen={lengthWord(settings)}
        choose={(word) => change({ maxLength: LENGTHS[word] })}
      />
      <Words
        t={t}
        name="style"
        words={Object.keys(STYLES) as StyleWord[]}
        chosen={styleWord(settings)}
        choose={(word) => change(STYLES[word])}
      />
      <details>
        <summary>{t.numbers}</summary>
        <div class="numbers">
          {NUMBER_KEYS.map((key) => (
            <label key={key}>
              {t[key]}
              <input
                type="number"
                {...boundsOf(key, settings, maxNewTokens)}
                value={settings[key]}
                onChange={(event) => {
                  const bounds = boundsOf(key, settings, maxNewTokens);
                  const value = clampSetting(key, event.currentTarget.valueAsNumber, bounds);
                  event.currentTarget.value = String(value);
                  change({ [key]: value });
                }}
              />
            </label>
          ))}
          <label>
            {t.seed}
            <input
              inputMode="numeric"
              placeholder={t.random}
              value={settings.seed ?? ''}
              onChange={(event) => {
                const seed = readSeed(event.currentTarget.value);
                event.currentTarget.value = seed === null ? '' : String(seed);
                change({ seed });
              }}
            />
          </label>
        </div>
        {isLong && (
          <p class="quiet">
            {t.longText} {positions}
          </p>
        )}
        <button type="button" onClick={() => change(DEFAULTS)}>
          {t.reset}
        </button>
      </details>
    </>
  );
}

interface WordsProps<Word extends keyof Texts> {
  t: Texts;
  name: 'length' | 'style';
  words: Word[];
  chosen: Word | undefined;
  choose: (word: Word) => void;
}

function Words<Word extends keyof Texts>({ t, name, words, chosen, choose }: WordsProps<Word>) {
  return (
    <fieldset class="words">
      <legend>
        {t[name]}
        {chosen === undefined && ` (${t.custom})`}
      </legend>
      {words.map((word) => (
        <label key={word}>
          <input type="radio" name={name} checked={chosen === word} onChange={() => choose(word)} />
          <span>{t[word]}</span>
        </label>
      ))}
    </fieldset>
  );
}
