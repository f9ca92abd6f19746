export { isPublishedPlug, type OpenPublishedOptions, openPublishedPlug } from './open-published.js';
export { type SplitOptions, splitToShards } from './split-shards.js';
