// The page with what was scored: the tables, or one result that the address names.
import { useEffect, useState } from 'preact/hooks';
import { Failure } from './failure.js';
import type { PageProps } from './pages.js';
import { usePolling } from './polling.js';
import { getOverview, type Overview } from './results-api.js';
import { Detail } from './results-detail.js';
import { OverviewTables } from './results-overview.js';

/** Results come when a run ends, which nobody waits for by the second. */
const ASK_EVERY_MS = 10_000;

export function Results({ t, shown }: PageProps) {
  const [id, setId] = useState(namedResult);
  useEffect(() => {
    if (!shown) return;
    const follow = () => setId(namedResult());
    follow();
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, [shown]);
  const isOverview = shown && id === undefined;
  const {
    value: overview,
    failure,
    retry,
  } = usePolling<Overview>('results', isOverview, ASK_EVERY_MS, (_, signal) => getOverview(signal));

  if (id !== undefined) return shown ? <Detail t={t} id={id} /> : null;
  return (
    <>
      {failure && <Failure t={t} error={failure} retry={retry} />}
      {!overview && !failure && <p role="status">{t.resultsPage.loading}</p>}
      {overview && <OverviewTables t={t.resultsPage} overview={overview} />}
    </>
  );
}

/** The result in the address; undefined for all of them. */
function namedResult(): string | undefined {
  const [page, query = ''] = location.hash.slice(1).split('?');
  return (page === 'results' && new URLSearchParams(query).get('id')) || undefined;
}
