// Ten thousand requests of all kinds, of which a tenth hang up and a twentieth are wrong: nothing may crash, leak or
// stay, and every wrong one must be told which field is.
import { BenchmarkError, type BenchOptions, report } from '../harness/harness.js';
import { keyedRandom } from '../openplug.js';
import { shapes } from '../shapes.js';
import { mixedPrompts, ServedShape } from './server.js';

const clients = 32;
const requestsPerRound = 1000;
const largestGrowth = 0.05;

/** Wrong bodies, with the field that the answer must name. */
const wrong: readonly (readonly [path: string, body: object, param: string])[] = [
  ['/v1/completions', { prompt: '一', max_token: 4 }, 'max_token'],
  ['/v1/completions', { prompt: '一', temperature: 'hot' }, 'temperature'],
  ['/v1/generate', { prompt: 7 }, 'prompt'],
  ['/v1/generate', { prompt: '一', maxLength: 1_000_000 }, 'maxLength'],
  ['/v1/embeddings', { input: [''] }, 'input'],
  ['/v1/score', { input: '一', labels: ['一'] }, 'labels'],
  ['/v1/chat/completions', { messages: [] }, 'messages'],
];

type Outcome = 'answered' | 'hung up' | 'refused';

/** `--rounds` thousands of requests, 10 unless told otherwise, after one that warms up. */
export async function benchSoak(options: BenchOptions): Promise<void> {
  const shape = shapes.trial;
  const rounds = options.rounds ?? 10;
  const prompts = mixedPrompts(shape, 500, 2);
  await using served = await ServedShape.start(shape, ['--max-calls', '64']);
  const counts: Record<Outcome, number> = { answered: 0, 'hung up': 0, refused: 0 };
  const resident: { server: number; model: number }[] = [];
  const started = performance.now();
  for (let round = 0; round <= rounds; round++) {
    let next = 0;
    const client = async (): Promise<void> => {
      while (next < requestsPerRound) {
        const outcome = await request(served, prompts, round * requestsPerRound + next++);
        if (round > 0) counts[outcome]++;
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
    resident.push(served.residentBytes());
  }
  const seconds = (performance.now() - started) / 1000;
  // Hang-ups reach the server a moment later.
  await new Promise((resolve) => setTimeout(resolve, 500));
  const left = await served.metric(/plug_calls\{model="model"\} (\d+)/);
  const exits = (await served.metric(/plug_model_exits_total\{model="model"\} (\d+)/)) || 0;
  if (left !== 0) throw new BenchmarkError(`${left} requests are stuck.`);
  if (exits !== 0) throw new BenchmarkError(`The model's process ended ${exits} times.`);
  // The first half fills pools and caches; a leak would go on.
  const half = resident[Math.ceil(rounds / 2)]!;
  const growth = {
    server: resident.at(-1)!.server / half.server - 1,
    model: resident.at(-1)!.model / half.model - 1,
  };
  const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const part = (name: 'server' | 'model'): string[] => [
    `${name} resident, half-way and at the end`,
    `${mebibytes(half[name])} → ${mebibytes(resident.at(-1)![name])} (${(100 * growth[name]).toFixed(1)} %)`,
  ];
  report(
    options,
    [
      ['requests', String(rounds * requestsPerRound)],
      ...Object.entries(counts).map(([outcome, count]) => [outcome, String(count)]),
      ['a second', (((rounds + 1) * requestsPerRound) / seconds).toFixed(0)],
      part('server'),
      part('model'),
    ],
    { bench: 'soak', rounds, counts, seconds, resident, growth },
  );
  if (Math.max(growth.server, growth.model) > largestGrowth)
    throw new BenchmarkError('Memory grew by more than 5 % in the second half.');
}

/** One request; what is done depends on its number alone. @throws BenchmarkError for an answer that is not right */
async function request(served: ServedShape, prompts: readonly string[], number: number): Promise<Outcome> {
  const random = keyedRandom(3, number);
  const kind = random.uniform();
  const prompt = prompts[number % prompts.length]!;
  if (kind < 0.05) {
    const [path, body, param] = wrong[number % wrong.length]!;
    const response = await served.post(path, body);
    const { error } = (await response.json()) as { error?: { param: string; message: string } };
    if (response.status < 400 || response.status > 499 || error?.param !== param)
      throw new BenchmarkError(
        `${path} ${JSON.stringify(body)} got ${response.status} ${JSON.stringify(error)}.`,
      );
    return 'refused';
  }
  if (kind < 0.15) {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 60 * random.uniform());
    try {
      const body = { prompt, maxLength: 1000, minLength: 1000, stream: true };
      await (await served.post('/v1/generate', body, stop.signal)).text();
      throw new BenchmarkError('A client that hung up got a whole answer.');
    } catch (error) {
      if ((error as Error).name !== 'AbortError') throw error;
      return 'hung up';
    }
  }
  const length = 1 + Math.floor(24 * random.uniform());
  if (kind < 0.5) {
    await served.client.stream({ prompt, maxLength: length, numCandidates: 1 + (number % 3) });
    return 'answered';
  }
  const [path, body] =
    kind < 0.75
      ? ['/v1/completions', { prompt, max_tokens: length, n: 1 + (number % 2), stop: '一' }]
      : kind < 0.9
        ? ['/v1/embeddings', { input: [prompt, '一'] }]
        : ['/v1/score', { input: prompt, labels: ['一', '丁'] }];
  const response = await served.post(path as string, body);
  if (response.status !== 200)
    throw new BenchmarkError(`${path} got ${response.status} ${await response.text()}.`);
  await response.json();
  return 'answered';
}
