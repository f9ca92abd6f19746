export { addToken, readTokenFile, type TokenHolder } from './access.js';
export { buildServer, type ServerOptions } from './app.js';
export type { ServerLimits } from './context.js';
export { HostedModel } from './hosted-model.js';
export type { HostingListener, HostingOptions } from './hosting.js';
export { ServerMetrics } from './metrics.js';
export { ModelPool, type PoolListener, type PoolOptions, type ServedModel } from './model-pool.js';
export { studioFolder } from './studio.js';
