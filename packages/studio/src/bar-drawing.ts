// The drawing of bars with ECharts, of which only these parts are loaded. Colours are the page's, and follow its
// appearance; the size follows the place.
import { BarChart } from 'echarts/charts';
import { GridComponent } from 'echarts/components';
import { init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';

use([BarChart, GridComponent, SVGRenderer]);

export interface BarRow {
  name: string;
  value: number;
  /** The value in words. */
  text: string;
}

export interface BarDrawing {
  draw(rows: readonly BarRow[]): void;
  dispose(): void;
}

const ROW_PX = 30;

export function barDrawing(place: HTMLElement): BarDrawing {
  const chart = init(place, null, { renderer: 'svg', height: ROW_PX });
  let shown: readonly BarRow[] = [];

  const draw = () => {
    const style = getComputedStyle(place);
    const font = { color: style.color, fontFamily: style.fontFamily, fontSize: 13 };
    chart.resize({ height: ROW_PX * shown.length });
    chart.setOption(
      {
        animation: false,
        grid: { left: 0, right: 84, top: 0, bottom: 0, containLabel: true },
        xAxis: { type: 'value', show: false },
        yAxis: {
          type: 'category',
          inverse: true,
          data: shown.map(({ name }) => name),
          axisLine: { show: false },
          axisTick: { show: false },
          axisLabel: { ...font, width: 130, overflow: 'truncate' },
        },
        series: [
          {
            type: 'bar',
            data: shown.map(({ value }) => value),
            barMinHeight: 2,
            barWidth: 16,
            itemStyle: { color: style.accentColor, borderRadius: 3 },
            label: {
              show: true,
              position: 'right',
              ...font,
              formatter: ({ dataIndex }: { dataIndex: number }) => shown[dataIndex]?.text ?? '',
            },
          },
        ],
      },
      { notMerge: true },
    );
  };

  const resized = new ResizeObserver(() => chart.resize());
  resized.observe(place);
  const themed = new MutationObserver(draw);
  themed.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
  const system = matchMedia('(prefers-color-scheme: dark)');
  system.addEventListener('change', draw);
  return {
    draw(rows) {
      shown = rows;
      draw();
    },
    dispose() {
      resized.disconnect();
      themed.disconnect();
      system.removeEventListener('change', draw);
      chart.dispose();
    },
  };
}
