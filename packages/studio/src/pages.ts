// The pages, in the order of the navigation. The name stands in the address after '#' and is the key of the page's title.
import type { FunctionComponent } from 'preact';
import type { Model } from './api.js';
import { ModelPage } from './model.js';
import { Playground } from './playground.js';
import { Results } from './results.js';
import { Runs } from './runs.js';
import { fromHash } from './settings.js';
import type { Texts } from './texts.js';
import { Understand } from './understand.js';

export interface PageProps {
  t: Texts;
  /** Chosen in the heading; undefined until the server has named its models. */
  model: Model | undefined;
  /** False while another page is looked at: timers and requests of its own rest. */
  shown: boolean;
  /** Takes a model that was just loaded, and goes to a page with it. */
  open: (model: Model, page: 'write' | 'understand') => void;
}

export const pages = [
  { name: 'write', View: Playground },
  { name: 'understand', View: Understand },
  { name: 'runs', View: Runs },
  { name: 'results', View: Results },
  { name: 'model', View: ModelPage },
] as const satisfies readonly { name: keyof Texts; View: FunctionComponent<PageProps> }[];

export type PageName = (typeof pages)[number]['name'];

/** The page that an address names, the first where it names none that there is. */
export function pageOf(hash: string): PageName {
  const { page } = fromHash(hash);
  return pages.find(({ name }) => name === page)?.name ?? pages[0].name;
}
