// `npm run parity -- MODEL [REFERENCE]`: checks the numbers of this build with a model's weights against a reference
// folder and prints a table of errors against budgets; the last line is JSON. Exit code 1 when something is over budget.
import { openWeights } from '../checkpoint/index.js';
import { formatColumns } from '../config/index.js';
import { compare, type Errors, type Precision } from './compare.js';
import { readReference } from './reference.js';

/** Largest errors allowed; a missing number is not checked at that precision. */
type Budget = Partial<Record<'loss' | 'sentence' | 'logits' | 'gradient' | 'tenSteps', number>> & {
  greedy?: true;
};

const rows: { precision: Precision; budget: Budget }[] = [
  {
    precision: { name: 'fp32 weights, float64', parameterDType: 'float64', computeDType: 'float64' },
    budget: { loss: 1e-6, sentence: 1e-6, logits: 3e-6, gradient: 1e-6, tenSteps: 1e-5, greedy: true },
  },
  {
    precision: { name: 'fp32 weights, fp32', parameterDType: 'float32', computeDType: 'float32' },
    budget: { loss: 2e-6, sentence: 2e-6, logits: 3e-5, gradient: 3e-5, tenSteps: 1e-4, greedy: true },
  },
  {
    precision: {
      name: 'fp16-rounded weights, fp32',
      roundedTo: 'float16',
      parameterDType: 'float32',
      computeDType: 'float32',
    },
    // The sentence loss has no budget here: rounding these weights moves it by 4.0e-4 even in float64.
    budget: { loss: 3e-4, logits: 1e-2, gradient: 1e-2 },
  },
  {
    precision: { name: 'fp32 master weights, bf16', parameterDType: 'float32', computeDType: 'bfloat16' },
    budget: { loss: 2e-2, sentence: 2e-2, tenSteps: 5e-2 },
  },
];

const columns = ['loss', 'sentence', 'logits', 'gradient', 'tenSteps'] as const;

function main(): void {
  const [folder, referenceFolder = folder] = process.argv.slice(2);
  if (!folder || !referenceFolder || process.argv.length > 4) {
    console.error(
      'Usage: npm run parity -- MODEL [REFERENCE]\n\nMODEL has config.json and weights; weights in float16, as published, are held to the budget of rounded ones.\n' +
        'REFERENCE (default: MODEL) has expected.safetensors and expected.json, as the fixture plug-tiny.',
    );
    process.exit(2);
  }
  const reference = readReference(referenceFolder);
  const chosen = isHalf(folder) ? rows.filter(({ precision }) => precision.roundedTo === 'float16') : rows;
  const results = chosen.map(({ precision, budget }) => {
    const errors = compare(folder, reference, precision);
    return { precision: precision.name, errors, budget, pass: withinBudget(errors, budget) };
  });
  console.log(
    formatColumns([
      ['weights, compute', 'losses', 'sentence loss', 'logits', 'gradients', 'ten steps', 'greedy ids', ''],
      ...results.map(({ precision, errors, budget, pass }) => [
        precision,
        ...columns.map((column) =>
          budget[column] === undefined ? '–' : `${errors[column].toExponential(1)} of ${budget[column]}`,
        ),
        budget.greedy ? (errors.greedy ? 'identical' : 'DIFFERENT') : '–',
        pass ? 'ok' : 'OVER BUDGET',
      ]),
    ]),
  );
  const exact = chosen === rows ? results.filter(({ budget }) => budget.greedy) : results;
  const worst = (column: (typeof columns)[number]): number =>
    Math.max(...exact.map(({ errors }) => errors[column]));
  const pass = results.every((result) => result.pass);
  console.log(
    JSON.stringify({
      pass,
      maxRelLossError: Math.max(worst('loss'), worst('sentence')),
      maxAbsLogitError: worst('logits'),
      maxRelGradientError: worst('gradient'),
      maxRelTenStepError: worst('tenSteps'),
      greedyIdentical: exact.every(({ errors }) => errors.greedy),
      rows: results,
    }),
  );
  process.exitCode = pass ? 0 : 1;
}

/** Whether the weights are stored in float16. */
function isHalf(folder: string): boolean {
  using weights = openWeights(folder);
  return weights.info('bert.embeddings.word_embeddings.weight').dtype === 'float16';
}

function withinBudget(errors: Errors, budget: Budget): boolean {
  const small = columns.every((column) => budget[column] === undefined || errors[column] <= budget[column]);
  return small && (!budget.greedy || errors.greedy);
}

main();
