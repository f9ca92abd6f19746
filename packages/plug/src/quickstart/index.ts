export type { PhaseProgress, QuickstartListener } from './listener.js';
export { quickstart } from './quickstart.js';
export { comparisons, type QuickstartReport, terminalReport } from './report.js';
export { type QuickstartSettings, quickstartSchema } from './settings.js';
