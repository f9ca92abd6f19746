// The columns of the three tables of results.
import type { BoardRow, FigureName, Overview, Result, Start } from './results-api.js';
import type { Column } from './results-table.js';
import { mainFigure, plusMinus, shownFigure } from './results-view.js';
import type { Texts } from './texts.js';

type Words = Texts['resultsPage'];

export const addressOf = (id: string): string => `#results?${new URLSearchParams({ id })}`;

function startOf(t: Words, { model, fromScratch, loraRank, headOnly }: Start): string {
  const ways = [fromScratch && t.fromScratch, loraRank > 0 && `LoRA ${loraRank}`, headOnly && t.headOnly];
  return [model, ...ways.filter((way) => way !== false)].join(' · ');
}

export function boardColumns(t: Words, { board }: Overview): Column<BoardRow>[] {
  const figures = board.tasks.map(
    ({ name, title }): Column<BoardRow> => ({
      title,
      value: ({ cells }) => cells[name]?.value,
      better: 'higher',
      isFigure: true,
      show({ cells }) {
        const cell = cells[name];
        if (!cell) return '–';
        const about = [
          cell.split,
          cell.numSeeds && `${cell.numSeeds} ${t.seeds}`,
          cell.bestOf && `${cell.bestOf} ${t.bestOf}`,
        ].filter(Boolean);
        return (
          <>
            {cell.id === undefined ? (
              cell.value.toFixed(2)
            ) : (
              <a href={addressOf(cell.id)} title={about.join(' · ')}>
                {cell.value.toFixed(2)}
              </a>
            )}
            {cell.plusMinus !== undefined && <small>±{cell.plusMinus.toFixed(2)}</small>}
          </>
        );
      },
    }),
  );
  return [
    {
      title: t.name,
      value: ({ name }) => name,
      show: ({ name, own, start }) => (
        <>
          <span class="name">{t.rows[name] ?? name}</span>
          {own && <span class="badge">{t.own}</span>}
          {start && <small>{startOf(t, start)}</small>}
        </>
      ),
    },
    {
      title: t.mean,
      value: ({ mean }) => mean,
      better: 'higher',
      isFigure: true,
      isComparable: ({ missing }) => missing.length === 0,
      show({ mean, missing, cells }) {
        if (mean === undefined) return '–';
        if (missing.length === 0) return mean.toFixed(3);
        return (
          <>
            ({mean.toFixed(3)})
            <small>
              {Object.keys(cells).length} / {board.tasks.length} {t.tasks}
            </small>
          </>
        );
      },
    },
    ...figures,
    {
      title: t.source,
      value: ({ own, cells }) => (own ? splitsOf(cells) : t.onBoard),
      show: ({ own, cells }) => (own ? splitsOf(cells) : t.onBoard),
    },
  ];
}

function splitsOf(cells: BoardRow['cells']): string {
  return [...new Set(Object.values(cells).map(({ split }) => split))].join(', ');
}

function commonColumns(t: Words): Column<Result>[] {
  return [
    {
      title: t.run,
      value: ({ run }) => run,
      show: ({ id, run, start }) => (
        <>
          <a class="name" href={addressOf(id)}>
            {run}
          </a>
          <small>{startOf(t, start)}</small>
        </>
      ),
    },
    {
      title: t.task,
      value: ({ task, split }) => `${task.name} ${split}`,
      show: ({ task, split }) => (
        <>
          {task.name}
          <small>{split}</small>
        </>
      ),
    },
  ];
}

function figureColumn(
  title: string,
  name: FigureName,
  better: 'higher' | 'lower' | undefined,
): Column<Result> {
  return {
    title,
    value: ({ figures }) => figures[name],
    show: ({ figures }) => shownFigure(name, figures[name]),
    better,
    isFigure: true,
  };
}

export function generationColumns(t: Words): Column<Result>[] {
  return [
    ...commonColumns(t),
    {
      ...figureColumn(t.bitsPerCharacter, 'bitsPerCharacter', 'lower'),
      show: (result) => (
        <>
          {shownFigure('bitsPerCharacter', result.figures.bitsPerCharacter)}
          <PlusMinus result={result} />
        </>
      ),
    },
    figureColumn(t.perplexity, 'perplexity', 'lower'),
    figureColumn('BLEU-4', 'bleu4', 'higher'),
    figureColumn('ROUGE-1', 'rouge1', 'higher'),
    figureColumn('ROUGE-2', 'rouge2', 'higher'),
    figureColumn('ROUGE-L', 'rougeL', 'higher'),
    figureColumn('Distinct-1', 'distinct1', undefined),
    figureColumn('Distinct-2', 'distinct2', undefined),
    {
      title: t.examples,
      value: ({ numExamples }) => numExamples,
      show: ({ numExamples }) => numExamples,
      isFigure: true,
    },
    {
      title: t.written,
      value: ({ numWritten }) => numWritten,
      show: ({ numWritten }) => numWritten ?? '–',
      isFigure: true,
    },
  ];
}

export function otherColumns(t: Words): Column<Result>[] {
  const main = ({ task, figures }: Result) => figures[mainFigure(task)];
  const second = ({ figures }: Result) => figures.macroF1 ?? figures.exactMatch;
  return [
    ...commonColumns(t),
    {
      title: `${t.score} (%)`,
      value: main,
      better: 'higher',
      isFigure: true,
      show: (result) => (
        <>
          {result.task.kind === 'span' && <span class="quiet">F1 </span>}
          {shownFigure(mainFigure(result.task), main(result))}
          <PlusMinus result={result} />
        </>
      ),
    },
    {
      title: t.secondScore,
      value: second,
      show: (result) => shownFigure('macroF1', second(result)),
      isFigure: true,
    },
    {
      title: t.examples,
      value: ({ numExamples }) => numExamples,
      show: ({ numExamples }) => numExamples,
      isFigure: true,
    },
    {
      title: t.seedsAndShots,
      value: (result) => runsOf(t, result),
      show: (result) => runsOf(t, result) ?? '–',
    },
  ];
}

export function runsOf(t: Words, { trials, shots }: Result): string | undefined {
  if (trials) return `${trials.members.length} ${trials.kind === 'seeds' ? t.seeds : t.trials}`;
  if (shots === undefined) return undefined;
  return shots === 0 ? t.zeroShot : `${shots} ${t.shots}`;
}

function PlusMinus({ result }: { result: Result }) {
  const value = plusMinus(result);
  return value === undefined ? null : <small>±{shownFigure(mainFigure(result.task), value)}</small>;
}
