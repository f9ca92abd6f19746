// What a plan says: headline figures, charts by part with their numbers, and how machines cope.
import { BarChart } from './bar-chart.js';
import type { HardwarePlan, Plan } from './model-api.js';
import { bytes, compact, scientific } from './quantities.js';
import { type Texts, wordOf } from './texts.js';

interface Props {
  t: Texts;
  plan: Plan;
  job: 'training' | 'inference';
  /** Of the request: the size on disk is that of weights in it. */
  dtype: string;
}

export function PlanResult({ t, plan, job, dtype }: Props) {
  const { parameters, memory, operations, disk, hardware } = plan;
  const size = (value: number) => bytes(value, t.locale);
  const figures: [string, string][] = [
    [t.factParameters, compact(parameters.total, t.locale)],
    [t.planMemory, size(Number(memory.total))],
    [`${t.planDisk} · ${dtype}`, size(disk[dtype] ?? 0)],
  ];
  const { perToken, perSourceToken, perTokenWritten } = operations;
  if (perToken !== undefined) figures.push([t.planPerToken, scientific(perToken, t.locale)]);
  if (perSourceToken !== undefined) figures.push([t.planPerSource, scientific(perSourceToken, t.locale)]);
  if (perTokenWritten !== undefined) figures.push([t.planPerWritten, scientific(perTokenWritten, t.locale)]);
  return (
    <>
      <dl class="figures">
        {figures.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <div class="charts">
        <Parts t={t} title={t.planMemoryBy} values={memory} format={size} />
        <Parts
          t={t}
          title={t.planParametersBy}
          values={parameters}
          format={(value) => compact(value, t.locale)}
        />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard */}
      <div class="scroll" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t.planMachine}</th>
              <th scope="col">{t.planFits}</th>
              <th scope="col">{t.planMesh}</th>
              <th scope="col">{job === 'training' ? t.planPerDay : t.planPerSecond}</th>
              <th scope="col">{job === 'training' ? t.planDays : t.planEncode}</th>
            </tr>
          </thead>
          <tbody>
            {hardware.map((row) => (
              <Machine key={row.hardware.name} t={t} row={row} />
            ))}
          </tbody>
        </table>
      </div>
      <p class="quiet">{t.planNotYet}</p>
    </>
  );
}

function Machine({ t, row }: { t: Texts; row: HardwarePlan }) {
  const { hardware, fits, spareBytes, smallestMesh, training, inference } = row;
  const number = (value: number) =>
    value >= 100 ? compact(value, t.locale) : String(Number(value.toPrecision(2)));
  return (
    <tr>
      <th scope="row">{hardware.name.replace(/^CPU, (\d+) cores$/, 'CPU × $1')}</th>
      <td class={fits ? 'fits' : 'short'}>
        {fits ? '✓' : '✗'} {fits ? t.planSpare : t.planShort} {bytes(Math.abs(spareBytes), t.locale)}
      </td>
      <td>
        {smallestMesh
          ? `${smallestMesh.data * smallestMesh.tensor} (${smallestMesh.data} × ${smallestMesh.tensor})`
          : t.planNone}
      </td>
      <td>
        {training && number(training.tokensPerSecond * 86_400)}
        {inference && number(inference.tokensPerSecond)}
      </td>
      <td>
        {training && number(training.days)}
        {inference && number(inference.encodeSeconds)}
      </td>
    </tr>
  );
}

interface PartsProps {
  t: Texts;
  title: string;
  values: Record<string, number | string>;
  format: (value: number) => string;
}

/** A chart, and the same as a table. */
function Parts({ t, title, values, format }: PartsProps) {
  const rows = Object.entries(values)
    .filter((entry): entry is [string, number] => typeof entry[1] === 'number' && entry[1] > 0)
    .filter(([name]) => name !== 'total')
    .sort(([, a], [, b]) => b - a)
    .map(([name, value]) => ({ name: titleOf(t, name), value, text: format(value) }));
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <BarChart title={title} rows={rows} busy={t.planChartBusy} />
      <details>
        <summary>{t.planNumbers}</summary>
        <table>
          <thead>
            <tr>
              <th scope="col">{t.planWhat}</th>
              <th scope="col">{t.planValue}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ name, text }) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{text}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </figure>
  );
}

function titleOf(t: Texts, name: string): string {
  return wordOf(t, `planPart_${name}`) ?? name;
}
