// The request on the screen as code to paste elsewhere.
import type { GenerateRequest } from './api.js';

export function asCurl(origin: string, body: GenerateRequest): string {
  // Inside single quotes a shell leaves everything alone but the quote itself.
  const data = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return `curl ${origin}/v1/generate \\\n  -H 'content-type: application/json' \\\n  -d '${data}'\n`;
}

export function asTypescript(origin: string, body: GenerateRequest): string {
  return `const response = await fetch('${origin}/v1/generate', {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(${JSON.stringify(body, null, 2).replaceAll('\n', '\n  ')}),
});
if (!response.ok) throw new Error(await response.text());
const { texts } = (await response.json()) as { texts: { text: string }[] };
for (const { text } of texts) console.log(text);
`;
}
