// What flows through the corpus room: text documents on the way in, token documents on the way out.

/** A text with its sentences, before tokenisation. */
export interface TextDocument {
  /** Stable name of the document: the held-out split hashes it, so it must not depend on the machine. */
  id: string;
  /** The sentences in order, each with its own closing punctuation. */
  sentences: string[];
  /** Where the text came from: a file name or a collection. */
  source: string;
}

/** A document as token ids. */
export interface TokenDocument {
  /** Token ids without special tokens. */
  tokens: Uint16Array | Uint32Array;
  /** Index in `tokens` of the first token of each sentence; strictly increasing, begins with 0. */
  sentenceStarts: Uint32Array;
}

/** Documents as token ids, with access to any of them by number. */
export interface TokenCorpus {
  readonly numDocuments: number;
  readonly numTokens: number;
  /** Number of tokens of document `index`. Throws `RangeError` for an index that does not exist. */
  documentLength(index: number): number;
  /**
   * Document `index`; its arrays may be views of read-only memory and must not be written to.
   * Throws `RangeError` for an index that does not exist, `DisposedError` after `close()`.
   */
  document(index: number): TokenDocument;
  /** Lets go of the files. Views that were handed out stay readable. */
  close(): void;
}

/** The part of a tokenizer that the corpus needs; every `Tokenizer` of the text room has it. */
export interface CorpusTokenizer {
  /** Ids lie in [0, vocabSize). */
  readonly vocabSize: number;
  /** Token ids of a text, without special tokens; a "[SEP]" spelled out in the text stays text. */
  encode(text: string, options?: { splitSpecialTokens: true }): ArrayLike<number>;
  /** Entry of the vocabulary; when present, the corpus records a hash of the whole vocabulary. */
  idToToken?(id: number): string;
}
