// How fast memory is read, which is the limit of writing one token at a time.
import { aten, noGrad, scope, zeros } from '@openplug/torch';

/** Best rate at which both cores together read memory, bytes/s: the sum of an array far larger than any cache. */
export function readRate(): number {
  const numBytes = 2 ** 29;
  const seconds: number[] = [];
  noGrad(() =>
    scope(() => {
      const values = zeros([numBytes / 4]);
      for (let turn = 0; turn < 4; turn++) {
        const started = performance.now();
        aten.sum(values).dispose();
        seconds.push((performance.now() - started) / 1000);
      }
    }),
  );
  return numBytes / Math.min(...seconds);
}
