// /v1/completions and /v1/chat/completions in OpenAI's form.
import { randomUUID } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { GenerationSettings } from '../../generate/index.js';
import { chatPrompt } from '../chat-prompt.js';
import { listed, type ServerContext, seedOrChance, type Writing } from '../context.js';
import { RequestError } from '../errors.js';
import { sendEvents } from '../events.js';
import type { HostedModel } from '../hosted-model.js';
import type { Caller } from '../hosting.js';
import type { HostedToken } from '../messages.js';
import { type ChatRequest, type CompletionRequest, chatSchema, completionSchema } from '../schemas.js';
import { StopText } from '../stop-text.js';

/** One step of one text, after stop strings. */
interface Piece {
  readonly index: number;
  readonly text: string;
  readonly token: HostedToken;
  readonly finishReason?: 'stop' | 'length';
}

interface Asked {
  readonly prompts: readonly string[];
  readonly numCandidates: number;
  readonly settings: GenerationSettings;
  readonly stops: readonly string[];
  readonly numAlternatives: number;
}

/** How the two endpoints differ in form. */
interface Form {
  readonly idPrefix: string;
  readonly object: string;
  readonly chunkObject: string;
  choice(piece: Piece, logprobs: object | null): object;
  chunkChoice(piece: Piece, logprobs: object | null): object;
}

const completionForm: Form = {
  idPrefix: 'cmpl-',
  object: 'text_completion',
  chunkObject: 'text_completion',
  choice: ({ index, text, finishReason = null }, logprobs) => ({
    index,
    text,
    logprobs,
    finish_reason: finishReason,
  }),
  chunkChoice: (piece, logprobs) => completionForm.choice(piece, logprobs),
};

const chatForm: Form = {
  idPrefix: 'chatcmpl-',
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  choice: ({ index, text, finishReason = null }) => ({
    index,
    message: { role: 'assistant', content: text, refusal: null },
    logprobs: null,
    finish_reason: finishReason,
  }),
  chunkChoice: ({ index, text, finishReason = null }) => ({
    index,
    delta: { role: 'assistant', content: text },
    logprobs: null,
    finish_reason: finishReason,
  }),
};

export function openAiTextRoutes(app: FastifyInstance, context: ServerContext): void {
  app.post(
    '/v1/completions',
    { schema: { body: completionSchema, tags: ['OpenAI'] } },
    async (request, reply) => {
      const body = request.body as CompletionRequest;
      const prompts = listed(body.prompt);
      context.checkInputs(prompts, 'prompt');
      context.checkAmount({ numTexts: prompts.length * body.n, maxLength: body.max_tokens }, 'max_tokens');
      const asked = { ...sampling(body, body.max_tokens), prompts, numAlternatives: body.logprobs ?? 0 };
      const echoed = body.echo ? prompts : undefined;
      return await answer(body, asked, completionForm, echoed, request, reply);
    },
  );

  app.post(
    '/v1/chat/completions',
    { schema: { body: chatSchema, tags: ['OpenAI'] } },
    async (request, reply) => {
      const body = request.body as ChatRequest;
      const prompt = chatPrompt(body.messages);
      context.checkInputs([prompt], 'messages');
      const maxLength = body.max_completion_tokens ?? body.max_tokens ?? 128;
      context.checkAmount({ numTexts: body.n, maxLength }, 'max_completion_tokens');
      const asked = { ...sampling(body, maxLength), prompts: [prompt], numAlternatives: 0 };
      return await answer(body, asked, chatForm, undefined, request, reply);
    },
  );

  async function answer(
    body: CompletionRequest | ChatRequest,
    asked: Asked,
    form: Form,
    echoed: readonly string[] | undefined,
    request: FastifyRequest,
    reply: FastifyReply,
  ) {
    const { model, caller } = await context.admit(context.model(body.model), request, reply);
    const head = {
      id: `${form.idPrefix}${randomUUID()}`,
      created: Math.floor(Date.now() / 1000),
      model: model.name,
    };
    const writings = await begin(asked, model, caller);
    const promptTokens = writings.reduce((sum, { accepted }) => sum + accepted.sourceTokens, 0);
    let writtenTokens = 0;
    const usage = () => ({
      prompt_tokens: promptTokens,
      completion_tokens: writtenTokens,
      total_tokens: promptTokens + writtenTokens,
    });
    const pieces = merged(writings, asked);
    const echo = ({ index }: Piece): string => echoed?.[Math.floor(index / asked.numCandidates)] ?? '';
    const logprobsOf = (tokens: readonly HostedToken[]): object | null =>
      asked.numAlternatives > 0 ? logprobs(tokens) : null;
    if (!body.stream) {
      const drafts: { text: string; tokens: HostedToken[]; piece?: Piece }[] = [];
      for await (const piece of pieces) {
        writtenTokens++;
        drafts[piece.index] ??= { text: echo(piece), tokens: [] };
        const draft = drafts[piece.index]!;
        draft.text += piece.text;
        draft.tokens.push(piece.token);
        draft.piece = piece;
      }
      const choices = drafts.map(({ text, tokens, piece }) =>
        form.choice({ ...piece!, text }, logprobsOf(tokens)),
      );
      return { ...head, object: form.object, choices, usage: usage() };
    }
    const wantsUsage = body.stream_options?.include_usage === true;
    async function* chunks(): AsyncGenerator<object, void, undefined> {
      const object = form.chunkObject;
      const begun = new Set<number>();
      for await (const piece of pieces) {
        writtenTokens++;
        const text = begun.has(piece.index) ? piece.text : echo(piece) + piece.text;
        begun.add(piece.index);
        const choice = form.chunkChoice({ ...piece, text }, logprobsOf([piece.token]));
        yield { ...head, object, choices: [choice], ...(wantsUsage && { usage: null }) };
      }
      if (wantsUsage) yield { ...head, object, choices: [], usage: usage() };
    }
    return sendEvents(reply, chunks());
  }

  async function begin(
    { prompts, numCandidates, settings, numAlternatives }: Asked,
    model: HostedModel,
    caller: Caller,
  ): Promise<Writing[]> {
    const first = settings.seed!;
    const all = await Promise.allSettled(
      prompts.map((prompt, index) =>
        context.write(
          model,
          prompt,
          { ...settings, numCandidates, seed: (first + index * numCandidates) % 2 ** 32 },
          caller,
          numAlternatives,
        ),
      ),
    );
    const failed = all.find((result) => result.status === 'rejected');
    const writings = all.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    if (!failed) return writings;
    await Promise.all(writings.map(({ tokens }) => tokens.return()));
    throw inOpenAiWords(failed.reason);
  }
}

/** Names of settings as these endpoints have them. */
const openAiNames: Readonly<Record<string, string>> = { numCandidates: 'n', maxLength: 'max_tokens' };

function inOpenAiWords(error: unknown): unknown {
  if (!(error instanceof RequestError) || error.param === null) return error;
  const name = openAiNames[error.param];
  if (name === undefined) return error;
  return new RequestError(error.statusCode, error.message.replaceAll(error.param, name), { param: name });
}

function sampling(
  body: CompletionRequest | ChatRequest,
  maxLength: number,
): Pick<Asked, 'numCandidates' | 'settings' | 'stops'> {
  return {
    numCandidates: body.n,
    stops: listed(body.stop ?? []),
    settings: {
      maxLength,
      temperature: body.temperature,
      topP: body.top_p,
      topK: body.top_k,
      repetitionPenalty: body.repetition_penalty,
      seed: seedOrChance(body.seed),
    },
  };
}

/** The pieces of all texts as they come, cut at stop strings; a prompt whose texts have all stopped is left. */
async function* merged(
  writings: readonly Writing[],
  { numCandidates, stops }: Asked,
): AsyncGenerator<Piece, void, undefined> {
  const sources = writings.map(({ tokens }, prompt) =>
    cut(tokens, prompt * numCandidates, numCandidates, stops),
  );
  const next = (source: AsyncGenerator<Piece>) => source.next().then((result) => ({ source, result }));
  const pending = new Map(sources.map((source) => [source, next(source)]));
  try {
    while (pending.size > 0) {
      const { source, result } = await Promise.race(pending.values());
      if (result.done) pending.delete(source);
      else {
        pending.set(source, next(source));
        yield result.value;
      }
    }
  } finally {
    await Promise.allSettled([...pending.keys()].map((source) => source.return(undefined)));
  }
}

async function* cut(
  tokens: Writing['tokens'],
  firstIndex: number,
  numCandidates: number,
  stops: readonly string[],
): AsyncGenerator<Piece, void, undefined> {
  const texts = Array.from({ length: numCandidates }, () => new StopText(stops));
  const ended = new Set<number>();
  for await (const token of tokens) {
    const { candidate, finish } = token;
    if (ended.has(candidate)) continue;
    const { text, isStopped } = texts[candidate]!.push(token.text);
    const finishReason = isStopped || finish === 'end' ? 'stop' : finish;
    const rest = finish && !isStopped ? texts[candidate]!.end() : '';
    yield { index: firstIndex + candidate, text: text + rest, token, ...(finishReason && { finishReason }) };
    if (finishReason) ended.add(candidate);
    if (ended.size === numCandidates) return;
  }
}

/** As the completions endpoint tells them. */
function logprobs(tokens: readonly HostedToken[]): object {
  let offset = 0;
  const offsets = tokens.map(({ text }) => {
    const at = offset;
    offset += text.length;
    return at;
  });
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map(({ logProbability }) => logProbability),
    top_logprobs: tokens.map(({ alternatives = [] }) =>
      Object.fromEntries(alternatives.map(({ text, logProbability }) => [text, logProbability])),
    ),
    text_offset: offsets,
  };
}
