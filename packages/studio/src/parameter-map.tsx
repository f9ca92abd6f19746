// The map of a model's parameters: a bar for embeddings, each layer and each head, divided into its parts; one of them is
// chosen, and its tensors are listed.
import { useMemo, useState } from 'preact/hooks';
import type { StoredTensor } from './model-api.js';
import { type Group, groupTensors, KINDS, type Measure } from './parameter-groups.js';
import { bytes, compact, share } from './quantities.js';
import type { Texts } from './texts.js';

interface Props {
  t: Texts;
  tensors: readonly StoredTensor[];
}

export function ParameterMap({ t, tensors }: Props) {
  const [measure, setMeasure] = useState<Measure>('parameters');
  const [chosen, setChosen] = useState('embeddings');
  const groups = useMemo(() => groupTensors(tensors), [tensors]);
  const total = groups.reduce((sum, group) => sum + group[measure], 0);
  const largest = Math.max(...groups.map((group) => group[measure]));
  const group = groups.find(({ key }) => key === chosen) ?? groups[0];
  const heads = (part: Group['part']) => part !== 'embeddings' && part !== 'encoder' && part !== 'decoder';
  const blocks = [
    { title: t.mapEmbeddings, groups: groups.filter(({ part }) => part === 'embeddings') },
    { title: t.mapEncoder, groups: groups.filter(({ part }) => part === 'encoder') },
    { title: t.mapDecoder, groups: groups.filter(({ part }) => part === 'decoder') },
    { title: t.mapHeads, groups: groups.filter(({ part }) => heads(part)) },
  ].filter((block) => block.groups.length > 0);
  const used = KINDS.filter((kind) =>
    groups.some(({ kinds }) => kinds.some((entry) => entry.kind === kind && entry[measure] > 0)),
  );

  return (
    <section class="card" aria-labelledby="map-title">
      <div class="row">
        <h2 id="map-title">{t.map}</h2>
        <fieldset class="words map-measure">
          <legend class="unseen">{t.mapBy}</legend>
          {(['parameters', 'bytes'] as const).map((name) => (
            <label key={name}>
              <input
                type="radio"
                name="measure"
                checked={measure === name}
                onChange={() => setMeasure(name)}
              />
              <span>{name === 'parameters' ? t.mapParameters : t.mapBytes}</span>
            </label>
          ))}
        </fieldset>
      </div>
      <p class="quiet">{t.mapHint}</p>
      <ul class="map-legend">
        {used.map((kind) => (
          <li key={kind}>
            <span class={`swatch kind-${kind}`} aria-hidden="true" />
            {t[`mapKind_${kind}`]}
          </li>
        ))}
      </ul>
      <div class="map">
        {blocks.map((block) => (
          <div key={block.title} class="map-block">
            <h3>
              {block.title}{' '}
              <span class="quiet">
                {share(
                  block.groups.reduce((sum, one) => sum + one[measure], 0),
                  total,
                  t.locale,
                )}
              </span>
            </h3>
            {block.groups.map((one) => (
              <button
                key={one.key}
                type="button"
                class="map-row"
                aria-pressed={one === group}
                onClick={() => setChosen(one.key)}
              >
                <span class="map-name">{nameOf(t, one)}</span>
                <span class="map-bar" aria-hidden="true">
                  {one.kinds.map((entry) => (
                    <span
                      key={entry.kind}
                      class={`kind-${entry.kind}`}
                      style={{ width: `${(100 * entry[measure]) / largest}%` }}
                    />
                  ))}
                </span>
                <span class="figure">
                  {measure === 'bytes' ? bytes(one.bytes, t.locale) : compact(one.parameters, t.locale)}{' '}
                  <span class="quiet">{share(one[measure], total, t.locale)}</span>
                </span>
              </button>
            ))}
          </div>
        ))}
      </div>
      {group && <Tensors t={t} group={group} />}
    </section>
  );
}

function nameOf(t: Texts, { part, layer }: Group): string {
  if (layer !== undefined) return `${t.mapLayer} ${layer + 1}`;
  if (part === 'embeddings') return t.mapEmbeddings;
  return part === 'encoder' || part === 'decoder' ? t.mapRest : t[`mapPart_${part}`];
}

function Tensors({ t, group }: { t: Texts; group: Group }) {
  const where = { encoder: t.mapEncoder, decoder: t.mapDecoder }[group.part as string];
  return (
    <div aria-live="polite">
      <h3>
        {where && `${where} · `}
        {nameOf(t, group)}{' '}
        <span class="quiet">
          {group.tensors.length} {t.mapTensors} · {bytes(group.bytes, t.locale)}
        </span>
      </h3>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard */}
      <div class="scroll" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t.tensorName}</th>
              <th scope="col">{t.tensorShape}</th>
              <th scope="col">{t.tensorType}</th>
              <th scope="col">{t.tensorSize}</th>
            </tr>
          </thead>
          <tbody>
            {group.tensors.map(({ name, shape, dtype, bytes: size }) => (
              <tr key={name}>
                <td class="code">{name}</td>
                <td>{shape.join(' × ')}</td>
                <td>{dtype}</td>
                <td>{bytes(size, t.locale)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}
