// The model card, Markdown from the model's folder. Its parts become elements one by one and never HTML text, so whatever
// it holds it cannot put code, styles or requests into the page: HTML is shown as it is spelled, images by their words.
import type { Token, Tokens } from 'marked';
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError } from './api.js';
import { useAsking } from './asking.js';
import { Failure } from './failure.js';
import { readCard } from './model-api.js';
import type { Texts } from './texts.js';

interface Read {
  file: string;
  tokens: Token[];
}

export function Card({ t, model, shown }: { t: Texts; model: string; shown: boolean }) {
  const { answer, failure, ask } = useAsking<Read>();
  const [wanted, setWanted] = useState(false);
  const read = () =>
    void ask(async (signal) => {
      const { file, text } = await readCard(model, signal);
      // Only whoever looks at a card loads the parser: marked, small and well kept.
      const { lexer } = await import('marked');
      return { file, tokens: lexer(text) };
    });
  if (shown && !wanted) setWanted(true);
  // Read once, when the page is first looked at.
  useEffect(() => {
    if (wanted) read();
  }, [wanted]);
  const none = failure instanceof ApiError && failure.status === 404;

  return (
    <section class="card" aria-labelledby="card-title">
      <h2 id="card-title">
        {t.card} {answer && <span class="quiet">{answer.file}</span>}
      </h2>
      {none && <p class="quiet">{t.cardNone}</p>}
      {failure && !none && <Failure t={t} error={failure} retry={read} />}
      {!answer && !failure && <p role="status">{t.aboutLoading}</p>}
      {answer && <div class="markdown">{blocks(answer.tokens)}</div>}
    </section>
  );
}

function blocks(tokens: readonly Token[]): ComponentChildren {
  return tokens.map((token, index) => <Block key={index} token={token} />);
}

function Block({ token }: { token: Token }) {
  switch (token.type) {
    case 'heading': {
      // The page has h1 and this section h2.
      const Heading = `h${Math.min(6, (token as Tokens.Heading).depth + 2)}` as 'h3';
      return <Heading>{inlines(token.tokens ?? [])}</Heading>;
    }
    case 'paragraph':
      return <p>{inlines(token.tokens ?? [])}</p>;
    case 'code':
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
      return <pre tabIndex={0}>{(token as Tokens.Code).text}</pre>;
    case 'blockquote':
      return <blockquote>{blocks(token.tokens ?? [])}</blockquote>;
    case 'hr':
      return <hr />;
    case 'list': {
      const { ordered, start, items } = token as Tokens.List;
      const entries = items.map((item, index) => <li key={index}>{blocks(item.tokens)}</li>);
      return ordered ? <ol start={Number(start) || 1}>{entries}</ol> : <ul>{entries}</ul>;
    }
    case 'table':
      return <Table table={token as Tokens.Table} />;
    case 'text':
      return <>{token.tokens ? inlines(token.tokens) : (token as Tokens.Text).text}</>;
    case 'space':
    case 'def':
      return null;
    default:
      return <p>{token.raw}</p>;
  }
}

function Table({ table: { header, rows } }: { table: Tokens.Table }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <div class="scroll" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {header.map(({ tokens }, index) => (
              <th key={index} scope="col">
                {inlines(tokens)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {row.map(({ tokens }, column) => (
                <td key={column}>{inlines(tokens)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function inlines(tokens: readonly Token[]): ComponentChildren {
  return tokens.map((token, index) => <Inline key={index} token={token} />);
}

function Inline({ token }: { token: Token }) {
  const tokens = 'tokens' in token ? token.tokens : undefined;
  const inner = () => inlines(tokens ?? []);
  switch (token.type) {
    case 'strong':
      return <strong>{inner()}</strong>;
    case 'em':
      return <em>{inner()}</em>;
    case 'del':
      return <del>{inner()}</del>;
    case 'codespan':
      return <code>{(token as Tokens.Codespan).text}</code>;
    case 'br':
      return <br />;
    case 'link': {
      const { href } = token as Tokens.Link;
      if (!/^https?:\/\//i.test(href)) return <>{inner()}</>;
      return (
        <a href={href} rel="noopener noreferrer" target="_blank">
          {inner()}
        </a>
      );
    }
    case 'image':
      return <em>{(token as Tokens.Image).text}</em>;
    case 'text':
    case 'escape':
      return <>{tokens ? inner() : (token as Tokens.Text).text}</>;
    default:
      return <>{token.raw}</>;
  }
}
