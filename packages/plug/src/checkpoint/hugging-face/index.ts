export { huggingFaceKind } from './detect.js';
export { exportBert } from './export-bert.js';
export { openBert } from './open-bert.js';
export { openPalm } from './open-palm.js';
