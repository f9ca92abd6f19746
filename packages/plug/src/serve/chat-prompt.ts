// A talk as one text to continue. PLUG was not trained on talks, so this is a convention: documented, and plain.

/** One message of a talk. */
export interface ChatMessage {
  readonly role: 'system' | 'developer' | 'user' | 'assistant';
  readonly content: string;
}

/**
 * One message alone is its own prompt. Of several, each is a line: instructions as they are, questions after `问：`,
 * answers after `答：`, and an open `答：` in the end.
 */
export function chatPrompt(messages: readonly ChatMessage[]): string {
  if (messages.length === 1) return messages[0]!.content;
  const marks = { system: '', developer: '', user: '问：', assistant: '答：' } as const;
  return `${messages.map(({ role, content }) => `${marks[role]}${content}\n`).join('')}答：`;
}
