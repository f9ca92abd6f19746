// What the samplers need to know of a corpus and of a vocabulary. Structural: the corpus and the tokenizer of
// the product fit these types, and so does a test's in-memory object.

/** The tokens of one document and the offsets at which its sentences start (the first is 0). */
export interface DocumentView {
  readonly tokens: ArrayLike<number>;
  readonly sentenceStarts: ArrayLike<number>;
}

/** Documents by number; reading one must be cheap (memory mapped or in memory). */
export interface CorpusView {
  readonly numDocuments: number;
  /** Tokens in a document, without touching its tokens. */
  documentLength(document: number): number;
  document(document: number): DocumentView;
}

/** The ids that masking needs. `vocabSize` counts real entries, not the padding rows of the model. */
export interface VocabularyView {
  readonly vocabSize: number;
  readonly special: { pad: number; unk: number; cls: number; sep: number; mask: number };
}
