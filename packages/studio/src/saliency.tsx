// Which characters mattered for a label: each in a colour for its side and strength, with its numbers on hover, on focus,
// and in a table.
import { useState } from 'preact/hooks';
import { percent } from './confidence.js';
import { LabelBars } from './label-bars.js';
import { stepThroughPieces } from './pieces.js';
import { piecesOf, saliencyClass, signed, strongest } from './saliency-steps.js';
import type { Texts } from './texts.js';
import type { Saliency, SaliencyUnit } from './understand-api.js';

interface Props {
  t: Texts;
  saliency: Saliency;
  texts: readonly string[];
}

export function SaliencyView({ t, saliency, texts }: Props) {
  const [at, setAt] = useState<SaliencyUnit>();
  const { units, label, probability, labels } = saliency;
  const scale = strongest(units);
  const current = at && units.includes(at) ? at : undefined;
  const words = (unit: SaliencyUnit) => texts[unit.text]?.slice(unit.start, unit.end) ?? '';
  const focused = current ?? units[0];
  return (
    <>
      <p>
        <strong lang="zh-CN">{label}</strong> {percent(probability)}
      </p>
      {texts.map((text, index) => (
        <p class="text" lang="zh-CN" key={index}>
          {piecesOf(text, index, units).map(({ unit, plain }, place) =>
            unit ? (
              <button
                key={place}
                type="button"
                class={`token ${saliencyClass(unit.effect, scale)}`}
                tabIndex={unit === focused ? 0 : -1}
                onMouseEnter={() => setAt(unit)}
                onFocus={() => setAt(unit)}
                onKeyDown={stepThroughPieces}
              >
                {words(unit)}
              </button>
            ) : (
              plain
            ),
          )}
        </p>
      ))}
      <p class="detail" aria-live="polite">
        {current ? (
          <>
            <strong lang="zh-CN">{words(current)}</strong>{' '}
            {current.effect === null || current.maskedProbability === null
              ? t.notRead
              : `${signed(current.effect)} · ${t.withoutIt} ${percent(current.maskedProbability)}`}
          </>
        ) : (
          t.saliencyHint
        )}
      </p>
      <p class="quiet legend">
        {t.saliencyAgainst} <span class="against-3">−</span>
        <span class="against-2">−</span>
        <span class="against-1">−</span> <span class="for-1">+</span>
        <span class="for-2">+</span>
        <span class="for-3">+</span> {t.saliencyFor}
      </p>
      {scale === 0 && <p class="quiet">{t.saliencyNone}</p>}
      {units.some(({ effect }) => effect === null) && <p class="quiet">{t.saliencyCut}</p>}
      <details>
        <summary>{t.saliencyTable}</summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard */}
        <div class="scroll" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t.unit}</th>
                <th scope="col">{t.effect}</th>
                <th scope="col">{t.withoutIt}</th>
              </tr>
            </thead>
            <tbody>
              {units.map((unit, index) => (
                <tr key={index}>
                  <td lang="zh-CN">{words(unit)}</td>
                  <td>{unit.effect === null ? t.notRead : signed(unit.effect)}</td>
                  <td>{unit.maskedProbability === null ? '' : percent(unit.maskedProbability)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
      <LabelBars scores={labels} />
    </>
  );
}
