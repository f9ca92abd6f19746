// Judging texts: by labels of one's own without fine-tuning, by a fine-tuned classifier, and which characters mattered.
import { useEffect, useState } from 'preact/hooks';
import { useAsking } from './asking.js';
import { Failure } from './failure.js';
import { LabelBars } from './label-bars.js';
import type { PageProps } from './pages.js';
import { SaliencyView } from './saliency.js';
import type { Texts } from './texts.js';
import {
  classify,
  explain,
  type LabelScore,
  type Saliency,
  score,
  type TextOrPair,
} from './understand-api.js';

const WAYS = ['labels', 'classify', 'saliency'] as const;
type Way = (typeof WAYS)[number];

/** What came back, with the texts that it is of. */
type Answer = { scores: LabelScore[] } | { saliency: Saliency; texts: string[] };

export function Understand({ t, model }: PageProps) {
  const [way, setWay] = useState<Way>('labels');
  const [input, setInput] = useState('这部电影太好看了，我还想再看一遍！');
  const [pair, setPair] = useState('');
  const [labels, setLabels] = useState('正面\n负面');
  const [label, setLabel] = useState('');
  const { busy, answer, failure, ask, clear } = useAsking<Answer>();
  const words = { labels: t.wayLabels, classify: t.wayClassify, saliency: t.waySaliency };

  const list = [...new Set(labels.split('\n').map((one) => one.trim()))].filter((one) => one !== '');
  const byClassifier = way === 'classify' || (way === 'saliency' && model?.labels !== undefined);
  const takesPair = byClassifier && model?.takesPairs === true;
  const choices = byClassifier ? (model?.labels ?? []) : list;
  const chosen = choices.includes(label) ? label : '';
  const cannot = way === 'classify' ? !model?.labels : !byClassifier && model?.canWrite === false;
  const hasTexts = input.trim() !== '' && (!takesPair || pair.trim() !== '');
  const ready = model !== undefined && !cannot && hasTexts && (byClassifier || list.length >= 2);

  // An answer of another model or of another kind says nothing here.
  useEffect(clear, [way, model?.id]);

  const judge = () => {
    if (!model) return;
    const text: TextOrPair = takesPair ? { text: input, textPair: pair } : input;
    void ask(async (signal) => {
      const common = { model: model.id };
      if (way === 'saliency') {
        const body = {
          ...common,
          input: text,
          ...(!byClassifier && { labels: list }),
          ...(chosen !== '' && { label: chosen }),
        };
        return { saliency: await explain(body, signal), texts: takesPair ? [input, pair] : [input] };
      }
      if (way === 'classify') return { scores: await classify({ ...common, input: text }, signal) };
      return { scores: await score({ ...common, input, labels: list }, signal) };
    });
  };

  return (
    <div class="columns">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) judge();
        }}
      >
        <fieldset class="words">
          <legend class="unseen">{t.way}</legend>
          {WAYS.map((name) => (
            <label key={name}>
              <input type="radio" name="way" checked={way === name} onChange={() => setWay(name)} />
              <span>{words[name]}</span>
            </label>
          ))}
        </fieldset>
        <label>
          {t.sentence}
          <textarea
            rows={4}
            lang="zh-CN"
            placeholder={t.sentenceHint}
            value={input}
            onInput={(event) => setInput(event.currentTarget.value)}
          />
        </label>
        {takesPair && (
          <label>
            {t.sentencePair}
            <textarea
              rows={3}
              lang="zh-CN"
              placeholder={t.sentenceHint}
              value={pair}
              onInput={(event) => setPair(event.currentTarget.value)}
            />
          </label>
        )}
        {!byClassifier && (
          <label>
            {t.labels}
            <textarea
              rows={4}
              lang="zh-CN"
              value={labels}
              onInput={(event) => setLabels(event.currentTarget.value)}
            />
          </label>
        )}
        {way === 'saliency' && (
          <label>
            {t.explainedLabel}{' '}
            <select value={chosen} onChange={(event) => setLabel(event.currentTarget.value)}>
              <option value="">{t.likeliest}</option>
              {choices.map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
        )}
        {model && cannot && <Cannot t={t} way={way} />}
        {!cannot && !ready && <p class="quiet">{missing(t, byClassifier, takesPair)}</p>}
        <button class="main" type="submit" disabled={!ready || busy}>
          {busy ? t.judging : way === 'saliency' ? t.explain : t.judge}
        </button>
      </form>
      <section class="card" aria-label={t.result} aria-live="polite" aria-busy={busy}>
        {failure && <Failure t={t} error={failure} retry={judge} />}
        {!answer && !failure && <p class="empty quiet">{busy ? t.judging : emptyOf(t, way, takesPair)}</p>}
        {answer && 'scores' in answer && <LabelBars scores={answer.scores} />}
        {answer && 'saliency' in answer && (
          <SaliencyView t={t} saliency={answer.saliency} texts={answer.texts} />
        )}
      </section>
    </div>
  );
}

function Cannot({ t, way }: { t: Texts; way: Way }) {
  if (way !== 'classify') return <p role="status">{t.noDecoder}</p>;
  return (
    <div role="status">
      <p>{t.noClassifier}</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard */}
      <pre tabIndex={0}>{`plug finetune tnews --model runs/quickstart --data data/tnews --out runs/tnews
plug serve --model runs/quickstart runs/tnews`}</pre>
    </div>
  );
}

function missing(t: Texts, byClassifier: boolean, takesPair: boolean): string {
  if (takesPair) return t.needPair;
  return byClassifier ? t.needSentence : t.needLabels;
}

function emptyOf(t: Texts, way: Way, takesPair: boolean): string {
  if (way === 'saliency') return t.saliencyEmpty;
  if (way === 'labels') return t.scoreEmpty;
  return takesPair ? t.pairEmpty : t.classifyEmpty;
}
