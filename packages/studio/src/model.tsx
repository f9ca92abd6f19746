// The page about the model itself: what it is, where its parameters are, its vocabulary, what sizes take, and its card.
import { useEffect } from 'preact/hooks';
import type { Model } from './api.js';
import { useAsking } from './asking.js';
import { Calculator } from './calculator.js';
import { Card } from './card.js';
import { Failure } from './failure.js';
import { type ModelParameters, readParameters } from './model-api.js';
import type { PageProps } from './pages.js';
import { ParameterMap } from './parameter-map.js';
import { bytes, exact } from './quantities.js';
import type { Texts } from './texts.js';
import { TokenLookup } from './token-lookup.js';

export function ModelPage({ t, model, shown }: PageProps) {
  const { answer, failure, ask } = useAsking<ModelParameters>();
  const id = model?.id;
  const isOther = answer?.model !== id;
  const read = () => {
    if (id !== undefined) void ask((signal) => readParameters(id, signal));
  };
  // Asked once the page is first looked at with a model.
  useEffect(() => {
    if (shown && isOther) read();
  }, [shown, id]);
  const known = isOther ? undefined : answer;

  return (
    <>
      <div class="columns">
        <div>
          <section class="card" aria-labelledby="about-title">
            <h2 id="about-title">{t.about}</h2>
            {failure && <Failure t={t} error={failure} retry={read} />}
            {model && !known && !failure && <p role="status">{t.aboutLoading}</p>}
            {model && known && <Facts t={t} model={model} known={known} />}
          </section>
          {model && <TokenLookup t={t} model={model.id} shown={shown} />}
        </div>
        {known ? (
          <ParameterMap key={known.model} t={t} tensors={known.tensors} />
        ) : (
          <section class="card map-place" aria-busy={!failure} aria-label={t.map} />
        )}
      </div>
      {model && <Calculator t={t} model={model} shown={shown} />}
      {model && <Card key={model.id} t={t} model={model.id} shown={shown} />}
    </>
  );
}

function Facts({ t, model, known }: { t: Texts; model: Model; known: ModelParameters }) {
  const { config, files, stored, heldBytes } = known;
  const number = (value: number) => exact(value, t.locale);
  const what = model.labels ? t.aboutClassifier : config.decHiddenLayers > 0 ? t.aboutWriter : t.aboutEncoder;
  const disk = [
    bytes(known.bytes, t.locale),
    stored === 'plain' ? Object.keys(known.totals).join(', ') : stored,
    `${files.length} ${files.length === 1 ? t.file : t.files}`,
  ];
  const facts: [string, string][] = [
    [t.factParameters, number(known.parameters)],
    [t.factLayers, `${config.numHiddenLayers} + ${config.decHiddenLayers}`],
    [t.factHidden, number(config.hiddenSize)],
    [t.factHeads, number(config.numAttentionHeads)],
    [t.factFeedForward, number(config.intermediateSize)],
    [t.factPositions, number(config.maxPositionEmbeddings)],
    [t.factVocabulary, number(config.originalVocabSize)],
    [t.factNorm, config.preLn ? t.factPreLn : t.factPostLn],
    [t.factStored, disk.join(' · ')],
  ];
  if (heldBytes !== undefined)
    facts.push([t.factHeld, `${bytes(heldBytes, t.locale)} · ${model.precision ?? ''}`]);
  if (model.labels) facts.push([t.factLabels, model.labels.join('、')]);
  return (
    <>
      <p>
        <strong class="long">{model.id}</strong> {what}
      </p>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}
