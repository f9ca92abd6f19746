// A line chart, with its numbers as words and as a table for those who do not see it.
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Axis, type Line, type Marker, thinned } from './run-curves.js';
import { duration, figure } from './run-figures.js';
import type { Texts } from './texts.js';
import { Wide } from './wide.js';

interface Props {
  t: Texts;
  title: string;
  axis: Axis;
  lines: readonly Line[];
  markers?: readonly Marker[];
  /** Said in place of the chart when there is no line. */
  empty: string;
  small?: boolean;
}
type Chart = ReturnType<typeof import('./echarts-parts.js').init>;

const tableRows = 12;
/** Besides the colour, what tells lines apart. */
const dashes = ['solid', [7, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 2]] as const;

export function LineChart(props: Props) {
  const { t, title, lines, empty, small } = props;
  const place = useRef<HTMLDivElement>(null);
  const [chart, setChart] = useState<Chart>();
  const theme = useThemeChanges();
  const isEmpty = lines.length === 0;

  useEffect(() => {
    const element = place.current;
    if (isEmpty || !element) return undefined;
    let made: Chart | undefined;
    let gone = false;
    const sizes = new ResizeObserver(() => made?.resize());
    void import('./echarts-parts.js').then(({ init }) => {
      if (gone) return;
      made = init(element, null, { renderer: 'svg' });
      sizes.observe(element);
      setChart(made);
    });
    return () => {
      gone = true;
      sizes.disconnect();
      made?.dispose();
      setChart(undefined);
    };
  }, [isEmpty]);
  useEffect(() => {
    // Replaces the lines alone: what the reader points at stays.
    if (chart && !chart.isDisposed()) chart.setOption(optionOf(props), { replaceMerge: ['series'] });
  }, [chart, theme, t, props.axis, lines, props.markers]);

  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      {isEmpty ? (
        <p class={`quiet plot ${small ? 'small' : ''}`}>{empty}</p>
      ) : (
        <>
          <div
            class={`plot ${small ? 'small' : ''}`}
            ref={place}
            role="img"
            aria-label={`${title}: ${lines.map((line) => inWords(line, t)).join('; ')}`}
          />
          {lines.length > 1 && <Legend lines={lines} />}
          <details>
            <summary>{t.runTable}</summary>
            <Table {...props} />
          </details>
        </>
      )}
    </figure>
  );
}

function Legend({ lines }: { lines: readonly Line[] }) {
  return (
    <ul class="legend">
      {lines.map(({ name, colour, dotted }) => (
        <li key={name} class={`series-${colour}`}>
          <svg viewBox="0 0 28 8" aria-hidden="true">
            <line x1="0" x2="28" y1="4" y2="4" stroke-dasharray={dotted ? '' : dashOf(colour).join(' ')} />
            {dotted && <circle cx="14" cy="4" r="3" />}
          </svg>
          <span>{name}</span>
        </li>
      ))}
    </ul>
  );
}

/** A dozen rows of each line. */
function Table({ t, title, axis, lines }: Props) {
  return (
    <Wide label={title}>
      {lines.map(({ name, points }) => (
        <table key={name}>
          <caption>{name}</caption>
          <thead>
            <tr>
              <th scope="col">{t.runStep}</th>
              {axis === 'seconds' && <th scope="col">{t.runByTime}</th>}
              <th scope="col">{title}</th>
            </tr>
          </thead>
          <tbody>
            {thinned(points, tableRows).map(([x, y, step]) => (
              <tr key={step}>
                <th scope="row">{step}</th>
                {axis === 'seconds' && <td>{duration(x, t)}</td>}
                <td>{figure(y)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ))}
    </Wide>
  );
}

function inWords({ name, points }: Line, t: Texts): string {
  const [first, last] = [points[0]!, points.at(-1)!];
  const words = { first: figure(first[1]), from: first[2], last: figure(last[1]), to: last[2] };
  return `${name} ${t.runFromTo.replace(/\{(\w+)\}/g, (_, key: keyof typeof words) => String(words[key]))}`;
}

function dashOf(colour: number): readonly number[] {
  const dash = dashes[colour % dashes.length]!;
  return dash === 'solid' ? [] : dash;
}

/** A colour of the palette as it is now; the property itself would still say `light-dark(…)`. */
function colourOf(name: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(--${name})`;
  document.documentElement.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function optionOf({ t, axis, lines, markers = [], small }: Props): Parameters<Chart['setOption']>[0] {
  const [ink, quiet, soft] = [colourOf('ink'), colourOf('quiet'), colourOf('soft')];
  const xWords = (x: number): string => (axis === 'step' ? String(x) : duration(x, t));
  const shared = {
    axisLabel: { color: quiet, hideOverlap: true },
    splitLine: { lineStyle: { color: soft } },
  };
  return {
    animation: false,
    grid: {
      left: 8,
      right: 18,
      top: small ? 12 : 26,
      bottom: 8,
      outerBoundsMode: 'same',
      outerBoundsContain: 'axisLabel',
    },
    tooltip: {
      trigger: 'axis',
      confine: true,
      backgroundColor: colourOf('card'),
      borderColor: soft,
      textStyle: { color: ink, fontSize: 13 },
      valueFormatter: (value: unknown) => (typeof value === 'number' ? figure(value) : ''),
      axisPointer: {
        label: { formatter: ({ value }: { value: unknown }) => xWords(Math.round(Number(value))) },
      },
    },
    xAxis: {
      type: 'value',
      max: 'dataMax',
      ...shared,
      splitLine: { show: false },
      axisLine: { lineStyle: { color: soft } },
      axisLabel: { ...shared.axisLabel, formatter: xWords },
    },
    yAxis: {
      type: 'value',
      scale: true,
      splitNumber: small ? 3 : 5,
      ...shared,
      axisLabel: { color: quiet, formatter: figure },
    },
    series: lines.flatMap(({ name, colour, points, raw, dotted }, index) => {
      const stroke = colourOf(`series-${colour}`);
      const lineStyle = {
        width: 2,
        color: stroke,
        ...(!dotted && colour > 0 && { type: [...dashOf(colour)] }),
      };
      return [
        ...(raw
          ? [
              {
                type: 'line' as const,
                data: raw.map(([x, y]) => [x, y]),
                symbol: 'none',
                silent: true,
                tooltip: { show: false },
                lineStyle: { width: 1, color: stroke, opacity: 0.28 },
              },
            ]
          : []),
        {
          type: 'line' as const,
          name,
          data: points.map(([x, y]) => [x, y]),
          itemStyle: { color: stroke },
          lineStyle: { ...lineStyle, ...(dotted && { width: 1.4 }) },
          symbol: dotted || points.length === 1 ? 'circle' : 'none',
          symbolSize: 6,
          ...(index === 0 && markers.length > 0 && { markLine: markLines(markers) }),
        },
      ];
    }),
  };

  function markLines(places: readonly Marker[]) {
    return {
      silent: true,
      symbol: 'none',
      lineStyle: { type: 'dashed' as const, color: quiet },
      label: { formatter: t.runSwitch, color: quiet, position: 'end' as const },
      data: places.map(({ x }, at) => ({ xAxis: x, label: { show: at === 0 && !small } })),
    };
  }
}

/** Another number whenever colours change, as the chart has to be drawn anew then. */
function useThemeChanges(): number {
  const [count, setCount] = useState(0);
  useEffect(() => {
    const change = () => setCount((before) => before + 1);
    const attribute = new MutationObserver(change);
    attribute.observe(document.documentElement, { attributeFilter: ['data-theme'] });
    const wish = matchMedia('(prefers-color-scheme: dark)');
    wish.addEventListener('change', change);
    return () => {
      attribute.disconnect();
      wish.removeEventListener('change', change);
    };
  }, []);
  return count;
}
