// All but the charts: ECharts takes half a second to load, so who draws imports './charts.js' itself.
export * from './board.js';
export * from './bootstrap.js';
export * from './kneser-ney.js';
export {
  type BigramClassifier,
  type BigramClassifierOptions,
  type ClassifierExample,
  trainBigramClassifier,
} from './linear-classifier.js';
export * from './metrics.js';
export * from './span-metrics.js';
export * from './tables.js';
export * from './text-metrics.js';
