// Entry of `openplug/client`.
export { ApiError, type CallOptions, type ClientOptions, OpenPlugClient } from './client.js';
export type {
  ClassifyRequest,
  GeneratedTexts,
  GenerateEvent,
  GenerateRequest,
  GenerateToken,
  Labelled,
  LoadModelRequest,
  ScoreRequest,
  ServedModel,
  TokenChoice,
} from './types.js';
