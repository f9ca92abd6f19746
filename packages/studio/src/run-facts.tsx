// The chosen runs in figures, and what a finished one is good for.
import { useState } from 'preact/hooks';
import { ApiError, type Model } from './api.js';
import { Failure } from './failure.js';
import { duration, figure, kindOf, measureName, stateOf } from './run-figures.js';
import { loadRun, type Run } from './runs-api.js';
import { SettingsList } from './settings-list.js';
import type { Texts } from './texts.js';
import { Wide } from './wide.js';

interface Props {
  t: Texts;
  /** The first is the one that is looked at. */
  runs: readonly Run[];
  open: (model: Model, page: 'write' | 'understand') => void;
}

export function RunFacts({ t, runs, open }: Props) {
  const [first] = runs;
  return (
    <section class="card" aria-label={t.runState}>
      {first && runs.length === 1 ? <One t={t} run={first} /> : <Several t={t} runs={runs} />}
      {first?.opens && <Open key={first.id} t={t} run={first} page={first.opens} open={open} />}
      {first && <SettingsList title={t.runSettings} settings={first.settings} />}
    </section>
  );
}

function One({ t, run }: { t: Texts; run: Run }) {
  const { step, totalSteps, loss, tokensPerSecond, stepsPerSecond, secondsLeft, evaluation } = run;
  const scores = Object.entries(evaluation?.scores ?? {});
  return (
    <>
      <h2 class="run-title">{run.id}</h2>
      <dl class="facts">
        <Fact name={t.runState} value={stateOf(run, t)} note={kindOf(run, t)} />
        <Fact
          name={t.runStep}
          value={totalSteps ? `${Math.floor((100 * step) / totalSteps)} %` : String(step)}
          note={`${step}${totalSteps ? ` / ${totalSteps}` : ''}`}
        />
        <Fact
          name={t.runRate}
          value={tokensPerSecond === undefined ? '–' : String(tokensPerSecond)}
          note={`${t.runTokensPerSecond}${stepsPerSecond === undefined ? '' : ` · ${figure(stepsPerSecond)} ${t.runStepsPerSecond}`}`}
        />
        <Fact
          name={t.runLeft}
          value={secondsLeft === undefined ? '–' : duration(secondsLeft, t)}
          note={`${t.runUpdated} ${new Date(run.updatedAt).toLocaleTimeString()}`}
        />
        <Fact
          name={t.runLoss}
          value={loss === undefined ? '–' : figure(loss)}
          note={`${t.runStep} ${step}`}
        />
        {scores.slice(0, 4).map(([name, value]) => (
          <Fact
            key={name}
            name={measureName(name, t)}
            value={figure(value)}
            note={`${t.runStep} ${evaluation?.step}`}
          />
        ))}
      </dl>
    </>
  );
}

function Fact({ name, value, note }: { name: string; value: string; note: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value} <span class="quiet">{note}</span>
      </dd>
    </div>
  );
}

function Several({ t, runs }: { t: Texts; runs: readonly Run[] }) {
  const names = [...new Set(runs.flatMap(({ evaluation }) => Object.keys(evaluation?.scores ?? {})))];
  const cell = (value: number | undefined) => (value === undefined ? '–' : figure(value));
  return (
    <Wide label={t.runCompare}>
      <table>
        <thead>
          <tr>
            <th scope="col">{t.runName}</th>
            <th scope="col">{t.runState}</th>
            <th scope="col">{t.runStep}</th>
            <th scope="col">{t.runTokensPerSecond}</th>
            <th scope="col">{t.runLeft}</th>
            <th scope="col">{t.runLoss}</th>
            {names.map((name) => (
              <th scope="col" key={name}>
                {measureName(name, t)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {runs.map((run, index) => (
            <tr key={run.id} class={`series-${index}`}>
              <th scope="row">{run.id}</th>
              <td>{stateOf(run, t)}</td>
              <td>{run.step}</td>
              <td>{cell(run.tokensPerSecond)}</td>
              <td>{run.secondsLeft === undefined ? '–' : duration(run.secondsLeft, t)}</td>
              <td>{cell(run.loss)}</td>
              {names.map((name) => (
                <td key={name}>{cell(run.evaluation?.scores[name])}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

interface OpenProps {
  t: Texts;
  run: Run;
  page: 'write' | 'understand';
  open: Props['open'];
}

function Open({ t, run, page, open }: OpenProps) {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<ApiError>();
  const load = async () => {
    setBusy(true);
    setFailure(undefined);
    try {
      open(await loadRun(run.id), page);
    } catch (error) {
      setFailure(error instanceof ApiError ? error : new ApiError(String(error), 0));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      {failure && <Failure t={t} error={failure} retry={() => void load()} />}
      <div class="row">
        <button type="button" class="main" disabled={busy} onClick={() => void load()}>
          {busy ? t.runOpening : page === 'write' ? t.runOpenWrite : t.runOpenUnderstand}
        </button>
      </div>
    </>
  );
}
