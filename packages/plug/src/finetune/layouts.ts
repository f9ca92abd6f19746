// The nested files of reading tasks, as flat rows: one row for each question.
import { existsSync } from 'node:fs';
import { z } from 'zod';
import { CorpusError } from '../errors.js';
import { type Row, readDocument, readRows } from './rows.js';
import type { FinetuneTask } from './task.js';

/**
 * How a file nests its rows. `rows`: not at all. `squad` (CMRC2018, DRCD): data → paragraphs → questions; gives `id`,
 * `context`, `question`, `answer` (the first one's text), `answerStart` and `answers`. `c3`: [lines, questions, id]; gives `id`, `context`, `question`, `candidates`,
 * `answer`. `chid`: lines with texts that have places `#idiom…#`, answers in a file of their own; gives `id`, `context` with the place as
 * `#idiom#`, `candidates`, `answer`.
 */
export const layoutNames = ['rows', 'squad', 'c3', 'chid'] as const;
export type LayoutName = (typeof layoutNames)[number];

/** The layout of a task's files; classification has flat rows alone. */
export function layoutOf(task: FinetuneTask): LayoutName {
  return task.kind === 'classification' ? 'rows' : (task.layout ?? 'rows');
}

/** @throws CorpusError when the file does not have the layout */
export async function rowsOf(path: string, layout: LayoutName): Promise<Row[]> {
  switch (layout) {
    case 'rows':
      return await readRows(path);
    case 'squad':
      return squadRows(path);
    case 'c3':
      return c3Rows(path);
    case 'chid':
      return await chidRows(path);
  }
}

const squad = z.object({
  data: z.array(
    z.object({
      paragraphs: z.array(
        z.object({
          context: z.string(),
          qas: z.array(
            z.object({
              id: z.string(),
              question: z.string(),
              answers: z.array(z.object({ text: z.string(), answer_start: z.int() })).optional(),
            }),
          ),
        }),
      ),
    }),
  ),
});

function squadRows(path: string): Row[] {
  const { data } = checked(squad, readDocument(path), path);
  return data
    .flatMap(({ paragraphs }) => paragraphs)
    .flatMap(({ context, qas }) =>
      qas.map(({ id, question, answers }) => {
        const [first] = answers ?? [];
        const answer = first && { answer: first.text, answerStart: first.answer_start };
        const all = answers && { answers: answers.map(({ text }) => text) };
        return { values: { id, context, question, ...answer, ...all }, where: `${path}, question ${id}` };
      }),
    );
}

const c3 = z.array(
  z.tuple([
    z.array(z.string()),
    z.array(
      z.object({
        question: z.string(),
        choice: z.array(z.string()),
        answer: z.string().optional(),
        id: z.int().optional(),
      }),
    ),
    z.union([z.string(), z.int()]),
  ]),
);

function c3Rows(path: string): Row[] {
  return checked(c3, readDocument(path), path).flatMap(([lines, questions, documentId]) =>
    questions.map(({ question, choice, answer, id }, index) => ({
      // Test questions have numbers of their own; the others are told apart by their place.
      values: {
        id: id ?? `${documentId}-${index}`,
        context: lines.join('\n'),
        question,
        candidates: choice,
        ...(answer !== undefined && { answer }),
      },
      where: `${path}, question ${index + 1} of ${documentId}`,
    })),
  );
}

const chidLine = z.object({ candidates: z.array(z.string()), content: z.array(z.string()) });
const chidAnswers = z.record(z.string(), z.int());
const idiomPlace = /#idiom\d+#/g;

/** Whether a file holds the answers to another one: it is read with that, and is no data by itself. */
export function isAnswersFile(path: string, layout: LayoutName): boolean {
  return layout === 'chid' && /_answer\.\w+$/i.test(path);
}

async function chidRows(path: string): Promise<Row[]> {
  const answersPath = path.replace(/(\.\w+)$/, '_answer$1');
  const answers = existsSync(answersPath)
    ? checked(chidAnswers, readDocument(answersPath), answersPath)
    : undefined;
  const rows: Row[] = [];
  for (const { values, where } of await readRows(path)) {
    const { candidates, content } = checked(chidLine, values, where);
    for (const text of content)
      for (const [place] of text.matchAll(idiomPlace)) {
        // The other places of a text stay open.
        const context = text.replace(place, '#idiom#').replace(idiomPlace, '');
        const answer = answers?.[place];
        if (answers && answer === undefined)
          throw new CorpusError(`${answersPath}: there is no answer for ${place} of ${where}.`);
        rows.push({
          values: { id: place, context, candidates, ...(answer !== undefined && { answer }) },
          where: `${where}, ${place}`,
        });
      }
  }
  return rows;
}

function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, where: string): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new CorpusError(`${where}: ${issue?.path.join('.') || 'the whole'}: ${issue?.message}.`);
}
