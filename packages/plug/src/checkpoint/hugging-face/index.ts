export { exportBert } from './export-bert.js';
export { openBert } from './open-bert.js';
