// Horizontal bars, drawn by ECharts once there are any: the library comes only with the first chart.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { BarDrawing, BarRow } from './bar-drawing.js';

interface Props {
  title: string;
  rows: readonly BarRow[];
  /** Shown until the library has come. */
  busy: string;
}

export function BarChart({ title, rows, busy }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const [drawing, setDrawing] = useState<BarDrawing>();

  useEffect(() => {
    let made: BarDrawing | undefined;
    let isGone = false;
    void import('./bar-drawing.js').then(({ barDrawing }) => {
      if (isGone || !place.current) return;
      made = barDrawing(place.current);
      setDrawing(made);
    });
    return () => {
      isGone = true;
      made?.dispose();
    };
  }, []);
  useEffect(() => drawing?.draw(rows), [drawing, rows]);

  return (
    <div
      class="chart"
      role="img"
      aria-label={`${title}: ${rows.map(({ name, text }) => `${name} ${text}`).join('; ')}`}
    >
      {!drawing && <p class="quiet">{busy}</p>}
      <div ref={place} />
    </div>
  );
}
