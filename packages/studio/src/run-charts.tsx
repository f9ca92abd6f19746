// The curves of the chosen runs, and how they are shown.
import { useMemo, useState } from 'preact/hooks';
import { LineChart } from './chart.js';
import {
  type Axis,
  type Drawn,
  linesOf,
  lossParts,
  namesOf,
  partLines,
  scoreLines,
  switchMarkers,
} from './run-curves.js';
import { measureName } from './run-figures.js';
import type { Texts } from './texts.js';

export function RunCharts({ t, drawn }: { t: Texts; drawn: readonly Drawn[] }) {
  const [axis, setAxis] = useState<Axis>('step');
  const [smoothing, setSmoothing] = useState(0.6);
  const [quantity, setQuantity] = useState('parts');
  const [score, setScore] = useState('');
  const measured = namesOf(drawn, 'points');
  const single = drawn.length === 1 ? drawn[0] : undefined;
  const hasParts = single !== undefined && lossParts.some((part) => measured.includes(part));
  const quantities = [
    ...(hasParts ? ['parts'] : []),
    'loss',
    ...lossParts.filter((part) => measured.includes(part)),
  ];
  const shownQuantity = quantities.includes(quantity) ? quantity : quantities[0]!;
  const scores = namesOf(drawn, 'evaluations');
  const shownScore = scores.includes(score) ? score : scores[0];
  const lines = useMemo(() => {
    const partName = (part: string, heldOut: boolean) =>
      heldOut ? `${measureName(part, t)} (${t.runHeldOut})` : measureName(part, t);
    return {
      loss:
        shownQuantity === 'parts' && single
          ? partLines(single, axis, smoothing, partName)
          : linesOf(drawn, shownQuantity, axis, smoothing),
      score: shownScore === undefined ? [] : scoreLines(drawn, shownScore, axis),
      rate: linesOf(drawn, 'learningRate', axis, 0),
      throughput: linesOf(drawn, 'tokensPerSecond', axis, smoothing),
      markers: switchMarkers(drawn, axis),
    };
  }, [t, drawn, axis, smoothing, shownQuantity, shownScore]);
  const common = { t, axis, empty: t.runNoPoints };

  return (
    <section class="card charts" aria-label={t.runCurves}>
      <div class="row">
        <fieldset class="words">
          <legend class="unseen">{t.runAxis}</legend>
          {(['step', 'seconds'] as const).map((name) => (
            <label key={name}>
              <input type="radio" name="run-axis" checked={axis === name} onChange={() => setAxis(name)} />
              <span>{name === 'step' ? t.runByStep : t.runByTime}</span>
            </label>
          ))}
        </fieldset>
        <label class="check">
          {t.runSmoothing}
          <input
            type="range"
            min={0}
            max={0.98}
            step={0.02}
            value={smoothing}
            onInput={(event) => setSmoothing(event.currentTarget.valueAsNumber)}
          />
          <output class="figure">{smoothing.toFixed(2)}</output>
        </label>
      </div>
      {axis === 'seconds' && <p class="quiet">{t.runTimeHint}</p>}
      {quantities.length > 1 && (
        <fieldset class="words">
          <legend class="unseen">{t.runQuantity}</legend>
          {quantities.map((name) => (
            <label key={name}>
              <input
                type="radio"
                name="run-quantity"
                checked={shownQuantity === name}
                onChange={() => setQuantity(name)}
              />
              <span>
                {name === 'parts' ? t.runParts : name === 'loss' ? t.runTotal : measureName(name, t)}
              </span>
            </label>
          ))}
        </fieldset>
      )}
      <LineChart {...common} title={t.runLoss} lines={lines.loss} markers={lines.markers} />
      {scores.length > 1 && (
        <label class="check">
          {t.runScore}
          <select value={shownScore} onChange={(event) => setScore(event.currentTarget.value)}>
            {scores.map((name) => (
              <option key={name} value={name}>
                {measureName(name, t)}
              </option>
            ))}
          </select>
        </label>
      )}
      <LineChart
        {...common}
        title={shownScore === undefined ? t.runScore : `${t.runScore}: ${measureName(shownScore, t)}`}
        empty={t.runNoScores}
        lines={lines.score}
        markers={lines.markers}
        small
      />
      <div class="pair">
        <LineChart {...common} title={t.runLearningRate} lines={lines.rate} markers={lines.markers} small />
        <LineChart {...common} title={t.runThroughput} lines={lines.throughput} small />
      </div>
    </section>
  );
}
