// The project's kernels against the same work done by library operators, in pairs: both sides of a pair alternate in
// one process, so a busy machine slows both alike. Medians of at least five rounds; the last line is JSON.
import { availableParallelism } from 'node:os';
import {
  aten,
  backward,
  buildInfo,
  callOperator,
  type DType,
  full,
  getNumThreads,
  nn,
  noGrad,
  scope,
  setNumThreads,
  type Tensor,
  tensor,
  zeros,
} from '@openplug/torch';
import { type BenchOptions, pairedRatio, spreadOf, takeTurns } from './harness/harness.js';

interface Pair {
  name: string;
  dtype: DType;
  kernel: () => void;
  plain: () => void;
  /** Calls in one turn of a side. Default 1; more where one is shorter than what a timer and a scheduler can tell. */
  calls?: number;
}

interface PairResult {
  name: string;
  dtype: DType;
  kernelMs: number;
  plainMs: number;
  /** Plain time over kernel time, median over the rounds: above 1 the kernel wins. */
  ratio: number;
  /** Slowest minus fastest round over the median, of the kernel. */
  spread: number;
}

const defaultRounds = 9;
/** What one decoding step does takes microseconds. */
const callsOfStep = 200;

const normal = (shape: number[], dtype: DType): Tensor => aten.normal_(zeros(shape)).to(dtype);

const leaf = (shape: number[], dtype: DType): Tensor => {
  const result = normal(shape, dtype);
  result.requiresGrad = true;
  return result;
};

const own = (name: string, ...operands: Parameters<typeof callOperator>[1][]): Tensor =>
  callOperator(`openplug::${name}`, ...operands) as Tensor;

/** One forward and backward pass; gradients start empty, as after an optimiser step. */
function forwardBackward(leaves: Tensor[], gradient: Tensor, forward: () => Tensor): () => void {
  return () => {
    for (const each of leaves) each.grad = undefined;
    scope(() => backward(forward(), gradient));
  };
}

function dropoutPairs(dtype: DType): Pair[] {
  const large = normal([4096, 1024], dtype);
  const [residual, x, gradient] = [
    leaf([4096, 512], dtype),
    leaf([4096, 512], dtype),
    normal([4096, 512], dtype),
  ];
  return [
    {
      name: 'dropout [4096,1024] forward',
      dtype,
      kernel: () => noGrad(() => scope(() => void own('dropout', large, 0.1, 1, 0))),
      plain: () => noGrad(() => scope(() => void aten.dropout(large, 0.1, true))),
    },
    {
      name: 'residual + dropout [4096,512] forward, backward',
      dtype,
      kernel: forwardBackward([residual, x], gradient, () => own('residual_dropout', residual, x, 0.1, 1, 0)),
      plain: forwardBackward([residual, x], gradient, () => residual.add(aten.dropout(x, 0.1, true))),
    },
  ];
}

function attentionPair(dtype: DType, [batch, length]: [number, number], p: number): Pair {
  const [heads, headSize] = [8, 64];
  const width = heads * headSize;
  const projected = leaf([batch * length, 3 * width], dtype);
  const gradient = normal([batch * length, width], dtype);
  const lengths = tensor(new BigInt64Array(batch).fill(BigInt(length)));
  return {
    name: `attention B ${batch}, H 8, T ${length}, D 64, p ${p} forward, backward`,
    dtype,
    kernel: forwardBackward([projected], gradient, () =>
      nn.packedAttention(projected, {
        lengths,
        numHeads: heads,
        scale: 0.125,
        dropoutP: p,
        key: { seed: 1, offset: 0 },
      }),
    ),
    plain: forwardBackward([projected], gradient, () => {
      const parts = projected.reshape(batch, length, 3, heads, headSize).permute(2, 0, 3, 1, 4);
      const [q, k, v] = aten['unbind.int'](parts, 0) as [Tensor, Tensor, Tensor];
      const probabilities = q.matmul(k.transpose(2, 3)).mul(0.125).softmax(-1);
      const attended = (p > 0 ? aten.dropout(probabilities, p, true) : probabilities).matmul(v);
      return attended.transpose(1, 2).reshape(batch * length, width);
    }),
  };
}

function geluPair(dtype: DType): Pair {
  const [x, bias, gradient] = [leaf([4096, 2048], dtype), leaf([2048], dtype), normal([4096, 2048], dtype)];
  return {
    name: 'gelu(x + bias) [4096,2048] forward, backward',
    dtype,
    kernel: forwardBackward([x, bias], gradient, () => own('gelu_bias', x, bias)),
    plain: forwardBackward([x, bias], gradient, () => x.add(bias).gelu()),
  };
}

/** A weight of a feed-forward layer with bias and gelu, against the library's product in the same precision. */
function packedLinearPairs(precision: nn.Precision): Pair[] {
  const dtype = precision === 'bfloat16' ? 'bfloat16' : 'float32';
  const weight = normal([2048, 512], dtype);
  const bias = normal([2048], dtype);
  const packed = nn.packLinear(weight, precision);
  return [1, 2048].map((rows) => {
    const x = normal([rows, 512], dtype);
    return {
      name: `linear + gelu [${rows},512]·[2048,512], weight ${precision}`,
      dtype,
      calls: rows === 1 ? callsOfStep : 1,
      kernel: () => noGrad(() => scope(() => void nn.packedLinear(x, packed, bias, 'gelu'))),
      plain: () => noGrad(() => scope(() => void aten.linear(x, weight, bias).gelu())),
    };
  });
}

/**
 * int4 at the sizes of the 27B model, past what caches hold, against packed weights of other precisions: one row, which
 * reading the weights limits, and the rows of a prompt, which arithmetic does.
 */
function int4Pairs(): Pair[] {
  const [inputs, outputs] = [8192, 16384];
  const weight = normal([outputs, inputs], 'bfloat16');
  const packed = nn.packLinear(weight, 'int4');
  return (
    [
      [1, 'bfloat16'],
      [128, 'int8'],
    ] as const
  ).map(([rows, precision]) => {
    const x = normal([rows, inputs], 'bfloat16');
    const other = nn.packLinear(weight, precision);
    return {
      name: `linear [${rows},${inputs}]·[${outputs},${inputs}] int4, plain: packed ${precision}`,
      dtype: 'bfloat16',
      calls: rows === 1 ? 5 : 1,
      kernel: () => noGrad(() => scope(() => void nn.packedLinear(x, packed))),
      plain: () => noGrad(() => scope(() => void nn.packedLinear(x, other))),
    };
  });
}

/**
 * What the library needs for a step: the token's place in the cache, then products of one row. `kept` bfloat16 under
 * float32 queries is what int8 models have; the library has no such product and keeps float32.
 */
function attentionStepPairs(dtype: DType, kept: DType = dtype): Pair[] {
  const [batch, heads, length, headSize] = [8, 8, 256, 64];
  const width = heads * headSize;
  const lengths = full([batch], length, 'int64');
  const texts = normal([batch * length, 2 * width], dtype);
  const memory = {
    ...nn.keepTexts(texts, lengths, length, heads, kept),
    visible: lengths,
    sources: tensor(
      Array.from({ length: batch }, (_, row) => row),
      { dtype: 'int64' },
    ),
    scale: 0.125,
  };
  const [keys, values] = [0, 1].map(() => normal([batch, heads, length, headSize], dtype)) as [
    Tensor,
    Tensor,
  ];
  const projected = normal([batch, 3 * width], dtype);
  const positions = full([batch], length - 1, 'int64');
  const query = projected.narrow(1, 0, width).contiguous();
  const plainAttention = (q: Tensor): Tensor =>
    q.reshape(batch, heads, 1, headSize).matmul(keys.transpose(2, 3)).mul(0.125).softmax(-1).matmul(values);
  const suffix = kept === dtype ? '' : `, ${kept} kept`;
  return [
    {
      name: `self-attention step B 8, H 8, 256 tokens, D 64${suffix}`,
      dtype,
      calls: callsOfStep,
      kernel: () => noGrad(() => scope(() => void nn.selfAttentionStep(projected, memory, positions, 0.125))),
      plain: () =>
        noGrad(() =>
          scope(() => {
            const [q, k, v] = projected.split(width, 1) as [Tensor, Tensor, Tensor];
            for (const [cache, token] of [
              [keys, k],
              [values, v],
            ] as const)
              cache.narrow(2, length - 1, 1).copy_(token.reshape(batch, heads, 1, headSize));
            plainAttention(q);
          }),
        ),
    },
    {
      name: `cross-attention step B 8, H 8, 256 tokens, D 64${suffix}`,
      dtype,
      calls: callsOfStep,
      kernel: () => noGrad(() => scope(() => void nn.crossAttentionStep(query, memory))),
      plain: () => noGrad(() => scope(() => void plainAttention(query))),
    },
    {
      name: `keys and values of 8 sources of 256 tokens, H 8, D 64${suffix}`,
      dtype,
      kernel: () => scope(() => void nn.keepTexts(texts, lengths, length, heads, kept)),
      plain: () =>
        scope(() => {
          const [k, v] = texts.to(kept).split(width, 1) as [Tensor, Tensor];
          k.reshape(batch, length / nn.keptGroup, nn.keptGroup, heads, headSize)
            .permute(0, 3, 1, 4, 2)
            .contiguous();
          v.reshape(batch, length, heads, headSize).transpose(1, 2).contiguous();
        }),
    },
  ];
}

function candidatesPair(dtype: DType): Pair {
  const logits = normal([8, 21504], dtype);
  return {
    name: '26 candidates of [8,21504] with log-sum-exp',
    dtype,
    calls: callsOfStep,
    kernel: () => noGrad(() => scope(() => void nn.candidates(logits, 21500, 26))),
    plain: () =>
      noGrad(() =>
        scope(() => {
          logits.narrow(1, 0, 21500).topk(26);
          aten.logsumexp(logits, [1]);
        }),
      ),
  };
}

function optimizerPairs(): Pair[] {
  const shapes = Array.from({ length: 40 }, (_, i) => (i % 2 ? [512] : [512, 600]));
  const parameters = shapes.map((shape) => normal(shape, 'float32'));
  const gradients = shapes.map((shape) => normal(shape, 'float32'));
  const first = shapes.map((shape) => zeros(shape));
  const second = shapes.map((shape) => zeros(shape));
  return [
    {
      name: 'AdamW step, 6.2M parameters',
      dtype: 'float32',
      kernel: () =>
        void callOperator(
          'openplug::adamw_',
          parameters,
          gradients,
          first,
          second,
          1e-3,
          0.9,
          0.999,
          1e-8,
          0.01,
          3,
          1,
        ),
      plain: () =>
        scope(() => {
          for (const [i, parameter] of parameters.entries()) {
            aten['mul_.Scalar'](parameter, 1 - 1e-5);
            aten['add_.Tensor'](aten['mul_.Scalar'](first[i]!, 0.9), gradients[i]!, 0.1);
            aten.addcmul_(aten['mul_.Scalar'](second[i]!, 0.999), gradients[i]!, gradients[i]!, 0.001);
            aten.addcdiv_(parameter, first[i]!, second[i]!.sqrt().div(0.0547).add(1e-8), -3.69e-3);
          }
        }),
    },
    {
      name: 'sum of squares, 6.2M elements',
      dtype: 'float32',
      kernel: () => scope(() => void own('sum_of_squares', gradients).item()),
      plain: () =>
        scope(
          () => void gradients.reduce((sum, g) => sum + aten.dot(g.reshape(-1), g.reshape(-1)).item(), 0),
        ),
    },
  ];
}

async function measure(pair: Pair, rounds: number): Promise<PairResult> {
  const { calls = 1 } = pair;
  const timed = (run: () => void) => async (): Promise<number> => {
    const start = performance.now();
    for (let call = 0; call < calls; call++) run();
    return (performance.now() - start) / calls;
  };
  const times = await takeTurns(rounds, { kernel: timed(pair.kernel), plain: timed(pair.plain) });
  const kernel = spreadOf(times.kernel);
  return {
    name: pair.name,
    dtype: pair.dtype,
    kernelMs: kernel.median,
    plainMs: spreadOf(times.plain).median,
    ratio: pairedRatio(times.plain, times.kernel).median,
    spread: kernel.spread,
  };
}

/**
 * Measures every kernel against library operators. Prints a table unless `json`, and always one JSON line at the end.
 * Uses every core.
 */
export async function benchKernels({ json, rounds = defaultRounds }: BenchOptions): Promise<void> {
  setNumThreads(availableParallelism());
  const makers = (['bfloat16', 'float32'] as const).flatMap((dtype) => [
    () => dropoutPairs(dtype),
    () => [attentionPair(dtype, [8, 256], 0.1)],
    () => [attentionPair(dtype, [8, 256], 0)],
    () => [attentionPair(dtype, [1, 2048], 0)],
    () => [geluPair(dtype)],
    () => attentionStepPairs(dtype),
    () => [candidatesPair(dtype)],
  ]);
  const mixed = () => attentionStepPairs('float32', 'bfloat16');
  const packed = (['float32', 'bfloat16', 'int8', 'int4'] as const).map(
    (precision) => () => packedLinearPairs(precision),
  );
  const results: PairResult[] = [];
  for (const make of [...makers, mixed, ...packed, int4Pairs, optimizerPairs]) {
    for (const pair of make()) {
      const result = await measure(pair, rounds);
      results.push(result);
      if (json) continue;
      const times = `${result.kernelMs.toFixed(3).padStart(8)} ms  plain ${result.plainMs.toFixed(3).padStart(8)} ms`;
      console.log(`${`${pair.name}, ${pair.dtype}`.padEnd(66)} ${times}  ×${result.ratio.toFixed(2)}`);
    }
    await new Promise(setImmediate); // lets finalizers release the tensors of the last pair
  }
  console.log(
    JSON.stringify({
      bench: 'kernels',
      rounds,
      threads: getNumThreads(),
      torchVersion: buildInfo().torchVersion,
      results,
    }),
  );
}
