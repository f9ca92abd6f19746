// What Prometheus is told. The library is the one that Node services use for it.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ModelPool, PoolListener, ServedModel } from './model-pool.js';

const secondBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Metrics of one server, in a registry of their own. */
export class ServerMetrics {
  readonly registry = new Registry();
  readonly requests = new Counter({
    name: 'plug_requests_total',
    help: 'Requests by route and HTTP status',
    labelNames: ['route', 'status'],
    registers: [this.registry],
  });
  readonly requestSeconds = new Histogram({
    name: 'plug_request_seconds',
    help: 'Time from a request to the end of its answer',
    labelNames: ['route'],
    buckets: secondBuckets,
    registers: [this.registry],
  });
  readonly firstTokenSeconds = new Histogram({
    name: 'plug_first_token_seconds',
    help: 'Time from a request to its first token',
    labelNames: ['model'],
    buckets: secondBuckets,
    registers: [this.registry],
  });
  readonly tokens = new Counter({
    name: 'plug_tokens_written_total',
    help: 'Tokens written',
    labelNames: ['model'],
    registers: [this.registry],
  });
  readonly batchRows = new Histogram({
    name: 'plug_batch_rows',
    help: 'Texts written together in one step',
    labelNames: ['model'],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128],
    registers: [this.registry],
  });
  readonly restarts = new Counter({
    name: 'plug_model_exits_total',
    help: 'Processes of models that ended by themselves',
    labelNames: ['model'],
    registers: [this.registry],
  });

  readonly loads = new Counter({
    name: 'plug_model_loads_total',
    help: 'Times that a model was loaded',
    labelNames: ['model'],
    registers: [this.registry],
  });
  readonly unloads = new Counter({
    name: 'plug_model_unloads_total',
    help: 'Times that a model was unloaded, to make room or when it was asked for',
    labelNames: ['model'],
    registers: [this.registry],
  });

  /** What models tell while they work. */
  readonly listener: PoolListener = {
    onStep: (model, rows, tokens) => {
      this.tokens.inc({ model }, tokens);
      this.batchRows.observe({ model }, rows);
    },
    onFirstToken: (model, seconds) => this.firstTokenSeconds.observe({ model }, seconds),
    onExit: (model) => this.restarts.inc({ model }),
    onLoad: (model) => this.loads.inc({ model }),
    onUnload: (model) => this.unloads.inc({ model }),
  };

  /** Gauges that are read when they are asked for. */
  watch(pool: ModelPool): void {
    const gauge = (name: string, help: string, read: (model: ServedModel) => number): void => {
      new Gauge({
        name,
        help,
        labelNames: ['model'],
        registers: [this.registry],
        collect() {
          this.reset(); // of models that are forgotten by now
          for (const model of pool.models) this.set({ model: model.name }, read(model));
        },
      });
    };
    gauge('plug_calls', 'Requests being answered or waiting', ({ hosted }) => hosted?.numCalls ?? 0);
    gauge(
      'plug_waiting_texts',
      'Texts that wait for a place in the batch',
      ({ hosted }) => hosted?.load.waiting ?? 0,
    );
    gauge('plug_cache_use', 'Share of the places for texts that is in use', ({ hosted, info }) =>
      hosted && info.maxRows ? Math.min(1, hosted.load.rows / info.maxRows) : 0,
    );
    gauge('plug_model_ready', '1 while the model is loaded', ({ hosted }) => (hosted?.isReady ? 1 : 0));
    gauge('plug_model_memory_bytes', 'Memory that a loaded model takes at most', ({ hosted, bytes }) =>
      hosted ? bytes : 0,
    );
  }
}
