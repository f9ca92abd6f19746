// Streams at a time: what each waits for its first token, and what all get in a second; and the same requests all at
// once against one after another. Server, model and clients share the cores.
import { buildInfo } from '@openplug/torch';
import {
  BenchmarkError,
  type BenchOptions,
  pairedRatio,
  report,
  selected,
  spreadOf,
  takeTurns,
} from '../harness/harness.js';
import { type Shape, shapes } from '../shapes.js';
import { type Answer, together, tokensOf } from './client.js';
import { comparePeer } from './compare.js';
import { mixedPrompts, ServedShape } from './server.js';

const defaultRounds = 5;
const precisions = ['float32', 'bfloat16', 'int8'] as const;
const counts = [1, 8, 32, 128] as const;
/** Texts may differ where two tokens are equally probable up to rounding, which the size of a batch changes. */
const leastEqualShare = 0.95;

interface Measured {
  streams: number;
  tokensPerSecond: number;
  firstTokenP50: number;
  firstTokenP95: number;
}

export async function benchServe(options: BenchOptions): Promise<void> {
  const [name] = selected(
    'shape',
    ['quickstart', 'reference', 'trial'] as const,
    options.shape ?? 'quickstart',
  );
  const shape: Shape = shapes[name!];
  const rounds = options.rounds ?? defaultRounds;
  const [precision] = selected('dtype', precisions, options.dtype ?? 'float32');
  // One thread: server and clients want the other cores, and a model as small as this gains nothing from more.
  await using served = await ServedShape.start(shape, ['--threads', '1', '--precision', precision!]);
  const requests = mixedPrompts(shape, 128, 1).map((prompt, index) => ({
    prompt,
    seed: index,
    maxLength: shape.newTokens,
    minLength: shape.newTokens,
  }));
  const stream = (request: object): Promise<Answer> => served.client.stream(request);
  const rows: Measured[] = [];
  for (const streams of counts) {
    await together(stream, requests.slice(0, streams)); // warms up
    const turns: Answer[][] = [];
    const rates: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const { answers, seconds } = await together(stream, requests.slice(0, streams));
      turns.push(answers);
      rates.push(tokensOf(answers) / seconds);
    }
    const waits = turns.flat().map(({ firstTokenSeconds }) => firstTokenSeconds);
    waits.sort((a, b) => a - b);
    rows.push({
      streams,
      tokensPerSecond: spreadOf(rates).median,
      firstTokenP50: waits[Math.floor(0.5 * waits.length)]!,
      firstTokenP95: waits[Math.floor(0.95 * waits.length)]!,
    });
  }
  const batch = requests.slice(0, 32);
  const texts: { alone: string[]; together: string[] } = { alone: [], together: [] };
  const measured = await takeTurns(rounds, {
    alone: async () => {
      const started = performance.now();
      const answers: Answer[] = [];
      for (const request of batch) answers.push(await stream(request));
      texts.alone = answers.map(({ text }) => text);
      return tokensOf(answers) / ((performance.now() - started) / 1000);
    },
    together: async () => {
      const { answers, seconds } = await together(stream, batch);
      texts.together = answers.map(({ text }) => text);
      return tokensOf(answers) / seconds;
    },
  });
  const equal = texts.alone.filter((text, index) => text === texts.together[index]).length / batch.length;
  if (equal < leastEqualShare)
    throw new BenchmarkError(
      `Only ${(100 * equal).toFixed(0)} % of the texts are what each request gets alone.`,
    );
  const gain = pairedRatio(measured.together, measured.alone);
  const compared = await comparePeer(served, requests, precision!, rounds);
  report(
    options,
    [
      ['streams', 'tokens/s', 'first token p50', 'p95'],
      ...rows.map(({ streams, tokensPerSecond, firstTokenP50, firstTokenP95 }) => [
        String(streams),
        tokensPerSecond.toFixed(0),
        `${(1000 * firstTokenP50).toFixed(0)} ms`,
        `${(1000 * firstTokenP95).toFixed(0)} ms`,
      ]),
      [
        '32 at once against one by one',
        `×${gain.median.toFixed(2)}`,
        `texts equal ${(100 * equal).toFixed(0)} %`,
        '',
      ],
      ...compared.map(({ peer, streams, way, ratio, peerTokensPerSecond, equal: share }) => [
        `${streams} at once, ${way}, against ${peer}`,
        `×${ratio.median.toFixed(2)}`,
        `${peerTokensPerSecond.toFixed(0)} tokens/s there`,
        `texts equal ${(100 * share).toFixed(0)} %`,
      ]),
    ],
    {
      bench: 'serve',
      shape: name,
      precision,
      rounds,
      torchVersion: buildInfo().torchVersion,
      rows,
      gain,
      equal,
      peer: compared,
    },
  );
}
