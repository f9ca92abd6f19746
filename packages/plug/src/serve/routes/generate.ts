// /v1/generate: PLUG's own options, candidates side by side, and the alternatives at each place.
import type { FastifyInstance } from 'fastify';
import { type ServerContext, seedOrChance } from '../context.js';
import { sendEvents } from '../events.js';
import type { HostedToken } from '../messages.js';
import { type GenerateEvent, type GenerateRequest, generatedSchema, generateSchema } from '../schemas.js';

export function generateRoute(app: FastifyInstance, context: ServerContext): void {
  const schema = { body: generateSchema, response: { 200: generatedSchema }, tags: ['PLUG'] };
  app.post('/v1/generate', { schema }, async (request, reply) => {
    const body = request.body as GenerateRequest;
    const { model: name, prompt, alternatives, stream, seed: given, ...rest } = body;
    context.checkInputs([prompt], 'prompt');
    context.checkAmount({ numTexts: body.numCandidates, maxLength: body.maxLength }, 'maxLength');
    const { model, caller } = await context.admit(context.model(name), request, reply);
    const settings = { ...rest, seed: seedOrChance(given) };
    const { accepted, tokens } = await context.write(model, prompt, settings, caller, alternatives);
    const head = { model: model.name, seed: settings.seed, notes: [...accepted.notes] };
    const usage = { promptTokens: accepted.sourceTokens, writtenTokens: 0 };
    if (!stream) return { ...head, texts: await collect(tokens, body, usage), usage };
    async function* events(): AsyncGenerator<GenerateEvent, void, undefined> {
      yield head;
      for await (const token of tokens) {
        usage.writtenTokens++;
        yield token;
      }
      yield { usage };
    }
    return sendEvents(reply, events());
  });
}

async function collect(
  tokens: AsyncIterable<HostedToken>,
  { numCandidates, alternatives }: GenerateRequest,
  usage: { writtenTokens: number },
): Promise<object[]> {
  const texts = Array.from({ length: numCandidates }, () => ({
    text: '',
    finish: 'length' as 'end' | 'length',
    logProbability: 0,
    tokens: [] as object[],
  }));
  for await (const { candidate, finish, ...token } of tokens) {
    const text = texts[candidate]!;
    usage.writtenTokens++;
    text.text += token.text;
    text.logProbability += token.logProbability;
    text.tokens.push(token);
    if (finish) text.finish = finish;
  }
  return texts.map(({ tokens: written, ...text }) =>
    alternatives > 0 ? { ...text, tokens: written } : text,
  );
}
