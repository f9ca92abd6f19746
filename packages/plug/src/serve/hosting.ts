// How a model is hosted, who calls it, and what is told of it.
import type { HostStart } from './messages.js';

/** How a model is hosted. */
export interface HostingOptions extends HostStart {
  /** The name that requests use. */
  readonly name: string;
  /** Calls that are being answered or wait; more are refused, except of a client with less than an equal share. */
  readonly maxCalls: number;
}

/** Events for metrics and the log. */
export interface HostingListener {
  onStep?(model: string, rows: number, tokens: number): void;
  onExit?(model: string, reason: string): void;
  onFirstToken?(model: string, seconds: number): void;
}

/** The head of a text that is being written. */
export interface Accepted {
  readonly sourceTokens: number;
  readonly notes: readonly string[];
}

/** Who asks, and how long. */
export interface Caller {
  /** Clients take turns with each other. */
  readonly client: string;
  /** Aborting it takes the call out of the process at once. */
  readonly signal: AbortSignal;
}
