// What a run wrote at each evaluation, with a slider over the training.
import { useState } from 'preact/hooks';
import { Failure } from './failure.js';
import { usePolling } from './polling.js';
import { listSamples, type Run, type SamplesAt } from './runs-api.js';
import type { Texts } from './texts.js';

interface Props {
  t: Texts;
  run: Run;
  shown: boolean;
  intervalMs: number | undefined;
}

export function RunSamples({ t, run, shown, intervalMs }: Props) {
  const {
    value: steps,
    failure,
    retry,
  } = usePolling<SamplesAt[]>(run.id, shown, intervalMs, (_, signal) => listSamples(run.id, signal));
  /** Undefined: the newest, also when newer ones come. */
  const [chosenStep, setChosenStep] = useState<number>();
  const last = (steps?.length ?? 0) - 1;
  const found = steps?.findIndex(({ step }) => step === chosenStep) ?? -1;
  const at = found < 0 ? last : found;
  const current = steps?.[at];
  const go = (index: number) => setChosenStep(index >= last ? undefined : steps?.[index]?.step);
  return (
    <section class="card samples" aria-label={t.runSamples}>
      <h2>{t.runSamples}</h2>
      {failure && failure.status !== 0 && <Failure t={t} error={failure} retry={retry} />}
      {steps && !current && <p class="quiet">{t.runSamplesNone}</p>}
      {current && (
        <>
          <p class="quiet">{t.runSamplesHint}</p>
          <div class="row slider">
            <button type="button" disabled={at === 0} onClick={() => go(at - 1)}>
              {t.runEarlier}
            </button>
            <input
              type="range"
              aria-label={t.runSamplesSlider}
              aria-valuetext={t.runSamplesStep.replace('{step}', String(current.step))}
              min={0}
              max={last}
              value={at}
              disabled={last === 0}
              onInput={(event) => go(event.currentTarget.valueAsNumber)}
            />
            <button type="button" disabled={at === last} onClick={() => go(at + 1)}>
              {t.runLater}
            </button>
            <output class="figure">{t.runSamplesStep.replace('{step}', String(current.step))}</output>
          </div>
          {current.samples.map(({ source, written, target }, index) => (
            <article key={index}>
              <p class="text" lang="zh-CN">
                <span class="quiet">{source}</span>
                <span class="written">{written}</span>
              </p>
              <details>
                <summary>{t.runTarget}</summary>
                <p class="text" lang="zh-CN">
                  <span class="quiet">{source}</span>
                  {target}
                </p>
              </details>
            </article>
          ))}
        </>
      )}
    </section>
  );
}
