// The calculator: what a size takes in memory, operations and time, for training and for inference.
import { useEffect, useState } from 'preact/hooks';
import type { Model } from './api.js';
import { useAsking } from './asking.js';
import { Failure } from './failure.js';
import { type Plan, plan } from './model-api.js';
import { PlanResult } from './plan-result.js';
import {
  DTYPES,
  PLAN_DEFAULTS,
  type PlanFields,
  type PlanNumber,
  planRequest,
  SIZES,
  withJob,
  withSize,
} from './plan-settings.js';
import type { Texts } from './texts.js';

/** The server is asked when changing rests. */
const PAUSE_MS = 300;

export function Calculator({ t, model, shown }: { t: Texts; model: Model; shown: boolean }) {
  const [fields, setFields] = useState<PlanFields>(PLAN_DEFAULTS);
  const { answer, busy, failure, ask } = useAsking<{ plan: Plan; fields: PlanFields }>();
  const reckon = () =>
    void ask(async (signal) => ({ plan: await plan(planRequest(fields, model.id), signal), fields }));
  // Asked when a field or the model changes.
  useEffect(() => {
    if (!shown) return;
    const timer = setTimeout(reckon, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [fields, model.id, shown]);

  const change = (part: Partial<PlanFields>) => setFields({ ...fields, ...part });
  const numbers = (keys: readonly (readonly [PlanNumber, string])[]) =>
    keys.map(([key, title]) => (
      <label key={key}>
        {title}
        <input
          type="number"
          min={key === 'decHiddenLayers' ? 0 : 1}
          step={1}
          value={fields[key]}
          onChange={(event) => {
            const value = Math.round(event.currentTarget.valueAsNumber);
            if (Number.isFinite(value)) change({ [key]: value });
            else event.currentTarget.value = String(fields[key]);
          }}
        />
      </label>
    ));
  const training = fields.job === 'training';

  return (
    <section class="card" aria-labelledby="plan-title">
      <h2 id="plan-title">{t.plan}</h2>
      <p class="quiet">{t.planHint}</p>
      <form onSubmit={(event) => event.preventDefault()}>
        <fieldset class="words">
          <legend>{t.planJob}</legend>
          {(['training', 'inference'] as const).map((job) => (
            <label key={job}>
              <input
                type="radio"
                name="job"
                checked={fields.job === job}
                onChange={() => setFields(withJob(fields, job))}
              />
              <span>{job === 'training' ? t.planTraining : t.planInference}</span>
            </label>
          ))}
        </fieldset>
        <div class="numbers">
          <label>
            {t.planSize}
            <select
              value={fields.size}
              onChange={(event) => setFields(withSize(fields, event.currentTarget.value, model.positions))}
            >
              {SIZES.map((size) => (
                <option key={size}>{size}</option>
              ))}
              <option value="this">{t.planThis}</option>
              <option value="own">{t.planOwn}</option>
            </select>
          </label>
          {fields.size === 'own' &&
            numbers([
              ['numHiddenLayers', t.planEncoderLayers],
              ['decHiddenLayers', t.planDecoderLayers],
              ['hiddenSize', t.factHidden],
              ['numAttentionHeads', t.planHeads],
            ])}
          <label>
            {t.planDtype}
            <select value={fields.dtype} onChange={(event) => change({ dtype: event.currentTarget.value })}>
              {DTYPES[fields.job].map((dtype) => (
                <option key={dtype}>{dtype}</option>
              ))}
            </select>
          </label>
          {numbers([
            ['batch', t.planBatch],
            ['sourceLength', t.planSource],
            ['targetLength', t.planTarget],
            ['data', t.planData],
            ['tensor', t.planTensor],
          ])}
          {training && numbers([['trainingTokens', t.planTokens]])}
        </div>
        {training && (
          <label class="check">
            <input
              type="checkbox"
              checked={fields.recompute}
              onChange={(event) => change({ recompute: event.currentTarget.checked })}
            />
            {t.planRecompute}
          </label>
        )}
      </form>
      <div aria-live="polite" aria-busy={busy}>
        {failure && <Failure t={t} error={failure} retry={reckon} />}
        {answer && (
          <div class={failure ? 'stale' : ''}>
            <PlanResult t={t} plan={answer.plan} job={answer.fields.job} dtype={answer.fields.dtype} />
          </div>
        )}
        {!answer && !failure && <p class="plan-place quiet">{t.aboutLoading}</p>}
      </div>
    </section>
  );
}
