// Loss curves as SVG text, drawn by ECharts on the server side: no browser, no canvas.
import { LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent, MarkLineComponent, TitleComponent } from 'echarts/components';
import { init, use } from 'echarts/core'; // the parts by name: loads in a fraction of the whole library's time
import { SVGRenderer } from 'echarts/renderers';
import { ConfigError } from '../errors.js';

use([LineChart, GridComponent, LegendComponent, MarkLineComponent, TitleComponent, SVGRenderer]);

/** One line of the chart. */
export interface CurveSeries {
  name: string;
  /** [x, y] in ascending x. Points that are not finite are left out as gaps. */
  points: readonly (readonly [x: number, y: number])[];
}

/** What `lossCurveSvg` draws. */
export interface LossCurve {
  title: string;
  series: readonly CurveSeries[];
  xLabel: string;
  yLabel: string;
  /** Dashed vertical lines, for example where the learning rate or the objective changes. */
  markers?: readonly { x: number; label: string }[];
  /** Pixels; default 840. */
  width?: number;
  /** Pixels; default 440. */
  height?: number;
}

// Okabe & Ito's palette (2008): told apart with every common form of colour blindness.
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#000000'];

/** The chart as one SVG document. Throws ConfigError without series or with two of the same name. */
export function lossCurveSvg(curve: LossCurve): string {
  const { title, series, xLabel, yLabel, markers = [], width = 840, height = 440 } = curve;
  const names = series.map(({ name }) => name);
  if (names.length === 0) throw new ConfigError(`The chart '${title}' has no series to draw.`);
  if (new Set(names).size < names.length) {
    throw new ConfigError(`The chart '${title}' has two series of one name: ${names.join(', ')}.`);
  }
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: '#ffffff',
      color: colours,
      title: { text: title, left: 'center', top: 10, textStyle: { fontSize: 15 } },
      legend: { data: names, bottom: 8, type: 'plain' },
      grid: { left: 64, right: 32, top: 64, bottom: 84 },
      xAxis: axis(xLabel, 28),
      yAxis: { ...axis(yLabel, 44), scale: true, axisLine: { show: true } },
      series: series.map(({ name, points }, index) => ({
        type: 'line' as const,
        name,
        data: points.map(([x, y]) => [x, Number.isFinite(y) ? y : null]),
        symbol: points.length > 40 ? 'none' : 'circle',
        symbolSize: 4,
        lineStyle: { width: 1.6 },
        // ECharts hangs vertical lines on a series; the first one bears them all.
        ...(index === 0 && markers.length > 0 ? { markLine: markLines(markers) } : {}),
      })),
    });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}

function axis(name: string, nameGap: number) {
  return {
    type: 'value' as const,
    name,
    nameLocation: 'middle' as const,
    nameGap,
    splitLine: { lineStyle: { color: '#e8e8e8' } },
  };
}

function markLines(markers: readonly { x: number; label: string }[]) {
  return {
    silent: true,
    symbol: 'none',
    lineStyle: { color: '#777777', type: 'dashed' as const },
    label: { color: '#555555', position: 'end' as const },
    data: markers.map(({ x, label }) => ({ xAxis: x, label: { formatter: label } })),
  };
}
