// What the shipped weights were trained with.

const short = {
  size: 'tiny',
  maxPositions: 256,
  initializerRange: 0.08,
  dropout: 0,
  beta2: 0.98,
  warmupFraction: 0.03,
};

export const recipe = {
  collections: ['tang', 'ci'],
  vocabulary: { vocabSize: 16_384, minFrequency: 5 },
  stage1: {
    ...short,
    learningRate: 1e-3,
    tokensPerBatch: 2048,
    maxLength: 64,
    totalSteps: 1500,
    evaluateEvery: 250,
  },
  stage2: {
    ...short,
    learningRate: 2.5e-3,
    tokensPerBatch: 1024,
    minSideLength: 4,
    maxSideLength: 64,
    totalSteps: 16_000,
    evaluateEvery: 1000,
  },
  finetune: {
    learningRate: 1e-3,
    tokensPerBatch: 1024,
    epochs: 2,
    maxLength: 128,
    maxTargetLength: 128,
    evaluateEvery: 2000,
    patience: 0,
    beta2: 0.98,
  },
  precision: 'int8',
};
