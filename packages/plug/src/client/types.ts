// Requests and answers of the server's own routes, as the schemas say that check them. Types alone: nothing of the server is
// loaded with the client.
import type { z } from 'zod';
import type {
  choiceSchema,
  classifySchema,
  generatedSchema,
  generateSchema,
  generateTokenSchema,
  labelledSchema,
  loadModelSchema,
  modelSchema,
  scoreSchema,
} from '../serve/schemas.js';

/** Of /v1/generate; all but `prompt` has a default. Streaming is a method of its own. */
export type GenerateRequest = Omit<z.input<typeof generateSchema>, 'stream'>;
export type GeneratedTexts = z.output<typeof generatedSchema>;
/** A token with its probability. */
export type TokenChoice = z.output<typeof choiceSchema>;
/** A token of a stream, of the text `candidate`; `finish` on a text's last. */
export type GenerateToken = z.output<typeof generateTokenSchema>;
/** A stream begins with the model, the seed and notes, then come tokens, at the end `usage`. */
export type { GenerateEvent } from '../serve/schemas.js';
export type ScoreRequest = z.input<typeof scoreSchema>;
export type ClassifyRequest = z.input<typeof classifySchema>;
/** Labels of each text, the most probable first. */
export type Labelled = z.output<typeof labelledSchema>;
export type LoadModelRequest = z.input<typeof loadModelSchema>;
export type ServedModel = z.output<typeof modelSchema>;
