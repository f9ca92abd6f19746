// Numbers of runs in words.
import type { Run } from './runs-api.js';
import { type Texts, wordOf } from './texts.js';

/** "2 h 5 min", of the two largest units. */
export function duration(seconds: number, t: Texts): string {
  const units: [number, string][] = [
    [86_400, t.runDays],
    [3600, t.runHours],
    [60, t.runMinutes],
    [1, t.runSeconds],
  ];
  const first = units.findIndex(([size]) => seconds >= size);
  if (first < 0) return `0 ${t.runSeconds}`;
  let rest = Math.round(seconds);
  return units
    .slice(first, first + 2)
    .flatMap(([size, name]) => {
      const count = Math.floor(rest / size);
      rest -= count * size;
      return count > 0 ? [`${count} ${name}`] : [];
    })
    .join(' ');
}

/** Four digits, with an exponent only where it is shorter to read. */
export function figure(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e6 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

export function kindOf({ kind, stage, task }: Run, t: Texts): string {
  if (kind === 'finetune') return `${t.runFinetune} · ${task}`;
  return stage === 1 ? t.runStage1 : t.runStage2;
}

export function stateOf({ state }: Run, t: Texts): string {
  return stateWord(state, t);
}

export function stateWord(state: Run['state'], t: Texts): string {
  return { running: t.runRunning, finished: t.runFinished, stopped: t.runStopped }[state];
}

/** The name of something measured, in words where there are some. */
export function measureName(name: string, t: Texts): string {
  return wordOf(t, `runName.${name}`) ?? name;
}
