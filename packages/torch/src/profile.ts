// Where the time goes: every operator that libtorch runs while a function does, backward passes included.
import { native } from './native.js';

/** One operator's run. Operators that it calls itself are events of their own, inside its time. */
export interface ProfileEvent {
  /** "aten::mm", "openplug::packed_attention"; backward nodes have their C++ names. */
  readonly name: string;
  /** Shapes of the tensors among the arguments: "[2048,512] [512,512]". */
  readonly shapes: string;
  /** On a clock that only differences of count. */
  readonly startUs: number;
  readonly durationUs: number;
  readonly thread: number;
}

/**
 * Runs `body` and records the operators meanwhile, on all threads. Operators take about 1 µs longer.
 * @throws NativeError when a profile is being taken already
 */
export async function profiled<Result>(
  body: () => Result | Promise<Result>,
): Promise<{ result: Result; events: ProfileEvent[] }> {
  native.startProfile();
  let result: Result;
  try {
    result = await body();
  } catch (error) {
    native.stopProfile();
    throw error;
  }
  const events = native
    .stopProfile()
    .map(([name, shapes, startUs, durationUs, thread]) => ({ name, shapes, startUs, durationUs, thread }));
  return { result, events };
}

/** The events in Chrome's trace format, as JSON: open it in chrome://tracing or ui.perfetto.dev. */
export function chromeTrace(events: readonly ProfileEvent[]): string {
  const origin = events.reduce((first, { startUs }) => Math.min(first, startUs), Number.POSITIVE_INFINITY);
  const traceEvents = events.map(({ name, shapes, startUs, durationUs, thread }) => ({
    name,
    ph: 'X',
    ts: startUs - origin,
    dur: durationUs,
    pid: 1,
    tid: thread,
    args: { shapes },
  }));
  return JSON.stringify({ displayTimeUnit: 'ms', traceEvents });
}

/** What one operator took by itself, over all its runs with the same shapes. */
export interface OperatorTime {
  readonly name: string;
  readonly shapes: string;
  readonly count: number;
  /** Without the operators that it called. */
  readonly selfUs: number;
}

/** Sums the events by operator and shapes, the most expensive first. */
export function operatorTimes(events: readonly ProfileEvent[]): OperatorTime[] {
  const times = new Map<string, { name: string; shapes: string; count: number; selfUs: number }>();
  const add = ({ name, shapes }: ProfileEvent, selfUs: number, count: number): void => {
    const key = `${name} ${shapes}`;
    const time = times.get(key) ?? { name, shapes, count: 0, selfUs: 0 };
    times.set(key, { ...time, count: time.count + count, selfUs: time.selfUs + selfUs });
  };
  // Outer operators start earlier and, of those that start together, end later.
  const ordered = [...events].sort((a, b) => a.startUs - b.startUs || b.durationUs - a.durationUs);
  const open = new Map<number, ProfileEvent[]>();
  for (const event of ordered) {
    const stack = open.get(event.thread) ?? [];
    open.set(event.thread, stack);
    while (stack.length > 0 && stack.at(-1)!.startUs + stack.at(-1)!.durationUs <= event.startUs) stack.pop();
    const outer = stack.at(-1);
    if (outer) add(outer, -event.durationUs, 0);
    add(event, event.durationUs, 1);
    stack.push(event);
  }
  return [...times.values()].sort((a, b) => b.selfUs - a.selfUs);
}
