// The third page: runs that train or have trained, followed live.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { Failure } from './failure.js';
import type { PageProps } from './pages.js';
import { usePolling } from './polling.js';
import { RunCharts } from './run-charts.js';
import type { Drawn } from './run-curves.js';
import { RunFacts } from './run-facts.js';
import { maxCompared, RunList } from './run-list.js';
import { RunSamples } from './run-samples.js';
import { type Curves, followCurves, listRuns, type RunListing } from './runs-api.js';

/** Few enough requests to stay below a server's limit by the minute, often enough to watch. */
const intervalMs = 4000;

export function Runs({ t, shown, open }: PageProps) {
  const [chosen, setChosen] = useState(chosenInAddress);
  const list = usePolling<RunListing>('runs', shown, intervalMs, (_, signal) => listRuns(signal));
  const runs = list.value?.data;
  const known = chosen.filter((id) => runs?.some((run) => run.id === id));
  // Until somebody chooses: the newest run.
  const drawnIds = known.length > 0 ? known : (runs ?? []).slice(0, 1).map(({ id }) => id);
  const key = drawnIds.join('\n');
  const chosenRuns = drawnIds.flatMap((id) => runs?.find((run) => run.id === id) ?? []);
  const isLive = chosenRuns.some(({ state }) => state === 'running');
  const curves = usePolling<ReadonlyMap<string, Curves>>(
    key,
    shown && key !== '',
    isLive ? intervalMs : undefined,
    async (before, signal) =>
      new Map(
        await Promise.all(
          drawnIds.map(async (id) => [id, await followCurves(id, before?.get(id), signal)] as const),
        ),
      ),
  );
  const drawn = useMemo(
    () =>
      chosenRuns.flatMap((run): Drawn[] => {
        const found = curves.value?.get(run.id);
        return found ? [{ run, curves: found }] : [];
      }),
    [curves.value, key],
  );

  // A link holds what is looked at.
  useEffect(() => {
    if (!shown || known.length === 0) return;
    const query = new URLSearchParams(known.map((id) => ['run', id]));
    window.history.replaceState(null, '', `#runs?${query}`);
  }, [shown, known.join('\n')]);
  useEffect(() => {
    const follow = () => setChosen(chosenInAddress());
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);

  const failure = list.failure ?? curves.failure;
  if (!runs)
    return list.failure ? (
      <Failure t={t} error={list.failure} retry={list.retry} />
    ) : (
      <p role="status">{t.runsLoading}</p>
    );
  const [first] = chosenRuns;
  if (!first)
    return (
      <section class="card empty-runs">
        <p role="status">{t.runsNone}</p>
        <p class="quiet">{t.runsNoneHint}</p>
        <pre>{'npx plug quickstart\nnpx plug pretrain --help\nnpx plug finetune --help'}</pre>
      </section>
    );
  return (
    <>
      {failure?.status === 0 && (
        <p class="failure" role="status">
          {t.runsStale}
        </p>
      )}
      {failure && failure.status !== 0 && (
        <Failure t={t} error={failure} retry={list.failure ? list.retry : curves.retry} />
      )}
      <div class="runs">
        <RunList
          t={t}
          runs={runs}
          truncated={list.value?.truncated ?? false}
          chosen={drawnIds}
          choose={setChosen}
        />
        <div>
          <RunFacts t={t} runs={chosenRuns} open={open} />
          {curves.value ? (
            <RunCharts t={t} drawn={drawn} />
          ) : (
            <section class="card charts" aria-busy="true">
              <p class="quiet plot">{t.runChartsLoading}</p>
            </section>
          )}
          <RunSamples
            key={first.id}
            t={t}
            run={first}
            shown={shown}
            intervalMs={first.state === 'running' ? 5 * intervalMs : undefined}
          />
        </div>
      </div>
    </>
  );
}

function chosenInAddress(): string[] {
  const [page, query = ''] = location.hash.replace(/^#/, '').split('?');
  return page === 'runs' ? new URLSearchParams(query).getAll('run').slice(0, maxCompared) : [];
}
