// A plan as tables for people.
import { formatColumns } from '../config/index.js';
import { type HardwarePlan, type Ladder, type Plan, utilisationOf } from '../plan/index.js';
import { formatBytes } from './convert.js';

const titles: Readonly<Record<string, string>> = {
  embeddings: 'embeddings',
  encoder: 'encoder',
  decoder: 'decoder',
  maskedLmHead: 'masked-LM head',
  sentenceHead: 'sentence head',
  pooler: 'pooler (stored, not used)',
  weights: 'weights',
  moments: 'optimiser moments, float32',
  gradients: 'gradients, float32',
  castWeights: 'weights in the compute dtype',
  activations: 'activations',
  logits: 'logits',
  workspace: 'in work: of one layer or operator',
  freed: 'freed, kept by the allocator',
  outputEmbedding: 'output embedding, packed',
  vectors: 'biases and norms, float32',
  keysValues: 'key/value cache',
  process: 'Node, libtorch, code',
  total: 'total',
  perStep: 'a training step',
  perToken: 'a token in training',
  perSourceToken: 'a source token encoded',
  perTokenWritten: 'a token written',
};

const notYet =
  'Training and writing on several ranks or on a GPU are not there yet: such rows say what they would take.';

export function renderPlan(plan: Plan): string {
  const { config, work, parameters, memory, operations, disk } = plan;
  const training = 'dtype' in work;
  const layers = `${config.numHiddenLayers} + ${config.decHiddenLayers} layers, hidden ${config.hiddenSize}, ${config.numAttentionHeads} heads`;
  const target = config.decHiddenLayers > 0 ? ` + ${work.targetLength}` : '';
  const what = training
    ? `training in ${work.dtype}, ${work.optimizer}${work.recompute ? ', layers recomputed' : ''}`
    : `inference with ${work.precision} weights`;
  const { data, tensor } = work.mesh;
  const ranks = data * tensor;
  const heading = [
    `${plan.title}: ${layers}, vocabulary ${config.vocabSize}`,
    `${what}, ${work.batch} ${work.batch === 1 ? 'text' : 'texts'} of ${work.sourceLength}${target} tokens${ranks > 1 ? `, mesh of ${data} data × ${tensor} tensor ranks` : ''}`,
  ];
  const bytesTitle = `memory${ranks > 1 ? ' of one rank' : ''}${training ? `, at its most (${memory.moment})` : ''}`;
  const sizes = Object.entries(memory).filter(
    (entry): entry is [string, number] => typeof entry[1] === 'number' && entry[1] > 0,
  );
  return [
    heading.join('\n'),
    table(
      ['parameters', ''],
      Object.entries(parameters).map(([part, count]) => [titles[part]!, count.toLocaleString('en')]),
    ),
    table(
      [bytesTitle, ''],
      sizes
        .filter(([kind]) => kind !== 'total')
        .concat([['total', memory.total as number]])
        .map(([kind, bytes]) => [titleOf(kind, training), formatBytes(bytes)]),
    ),
    table(
      ['operations', ''],
      Object.entries(operations).map(([kind, count]) => [titles[kind]!, `${formatCount(count)}FLOP`]),
    ),
    table(
      ['on disk', ''],
      Object.entries(disk).map(([format, bytes]) => [format, formatBytes(bytes)]),
    ),
    hardwareTable(plan),
    advice(plan),
    assumptions(plan),
  ]
    .filter(Boolean)
    .join('\n\n');
}

function titleOf(kind: string, training: boolean): string {
  return kind === 'weights' ? (training ? 'weights, float32' : 'weights, packed') : titles[kind]!;
}

/** A table with numbers to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const width = Math.max(...rows.map(([, value]) => value!.length));
  return formatColumns([head, ...rows.map(([name, value]) => [`  ${name}`, value!.padStart(width)])]);
}

function hardwareTable({ work, hardware, trainingTokens }: Plan): string {
  const training = 'dtype' in work;
  const head = [
    work.mesh.data * work.mesh.tensor > 1 ? 'on a mesh of' : 'on',
    'memory',
    'fits',
    'smallest mesh that fits',
    ...(training
      ? ['tokens/s', `${formatCount(trainingTokens).trim()} tokens take`]
      : ['encoding', 'tokens/s written']),
  ];
  const rows = hardware.map(
    ({ hardware: { name, memoryBytes }, fits, spareBytes, smallestMesh, ...time }) => [
      name,
      formatBytes(memoryBytes),
      fits ? 'yes' : `short of ${formatBytes(-spareBytes)}`,
      smallestMesh ? `${smallestMesh.data} × ${smallestMesh.tensor}` : 'none',
      ...(time.training
        ? [formatCount(time.training.tokensPerSecond).trim(), formatDuration(time.training.days * 86_400)]
        : [
            formatDuration(time.inference!.encodeSeconds),
            formatCount(time.inference!.tokensPerSecond).trim(),
          ]),
    ],
  );
  return formatColumns([head, ...rows]);
}

/** What would make it fit where it does not; where everything fits, nothing. */
function advice({ hardware }: Plan): string {
  const lines = hardware
    .filter(({ fits }) => !fits)
    .map(({ hardware: { name }, spareBytes, remedies }: HardwarePlan) => {
      const ways = remedies.map(({ flags, total }) => `${flags} (${formatBytes(total)})`).join(', or ');
      return `${name}: ${formatBytes(-spareBytes)} too much. ${ways ? `Fits with ${ways}.` : 'Nothing that can be changed here makes it fit: take a smaller size.'}`;
    });
  return lines.join('\n');
}

function assumptions({ hardware, work }: Plan): string {
  const kinds = [...new Set(hardware.map(({ hardware: { kind } }) => kind))];
  const percent = (share: number): string => `${Math.round(100 * share)} %`;
  const shares = kinds.map((kind) => {
    const { training, encoding, reading } = utilisationOf[kind];
    return `${kind.toUpperCase()}: ${percent('dtype' in work ? training : encoding)} of the peak of matrix products, ${percent(reading)} of the memory's bandwidth`;
  });
  const tera = (rate: number): string => (rate / 1e12).toLocaleString('en', { maximumSignificantDigits: 3 });
  const rows = hardware.map(({ hardware: { name, peak, bandwidth, source } }) => [
    `  ${name}`,
    `${tera(peak.float32)} / ${tera(peak.half)} / ${tera(peak.int8)}`,
    `${(bandwidth / 1e9).toFixed(0)} GB/s`,
    source,
  ]);
  return [
    `Assumed of ${shares.join('; ')}; nothing for what ranks send each other.`,
    formatColumns([['  TFLOP/s in', 'float32 / half / int8', 'memory', 'from'], ...rows]),
    notYet,
  ].join('\n');
}

export function renderLadder({ work, rows }: Ladder): string {
  const head = [
    'size',
    'hidden',
    'heads',
    'layers',
    'parameters',
    'float16',
    'int8',
    'int4',
    'training',
    'recomputing',
  ];
  const lines = rows.map(({ size, config, parameters, disk, trainingBytes, recomputingBytes }) => [
    size,
    `${config.hiddenSize}`,
    `${config.numAttentionHeads} × ${config.hiddenSize / config.numAttentionHeads}`,
    `${config.numHiddenLayers} + ${config.decHiddenLayers}`,
    parameters.toLocaleString('en'),
    ...[disk.float16!, disk.int8!, disk.int4!, trainingBytes, recomputingBytes].map(formatBytes),
  ]);
  const { dtype, optimizer, batch, sourceLength, targetLength } = work;
  return [
    formatColumns([head, ...lines]),
    `float16, int8, int4: on disk. training, recomputing: peak memory of one process, ${dtype}, ${optimizer}, ${batch} texts of ${sourceLength} + ${targetLength} tokens.`,
    '`plug plan --size NAME` says more about one.',
  ].join('\n\n');
}

/** 12345 → "12.3 k": three digits and a power of ten. */
function formatCount(count: number): string {
  const units = ['', 'k', 'M', 'G', 'T', 'P', 'E'];
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(count, 1)) / 3)));
  return `${(count / 1000 ** unit).toPrecision(3)} ${units[unit]}`;
}

/** Seconds in the unit that suits them. */
function formatDuration(seconds: number): string {
  const units = [
    ['years', 365.25 * 86_400],
    ['days', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const;
  const [unit, length] = units.find(([, least]) => seconds >= least) ?? ['ms', 0.001];
  return `${(seconds / length).toPrecision(3)} ${unit}`;
}
