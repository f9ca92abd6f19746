"""The Hugging Face side of `npm run bench -- tokenize`: BERT's normaliser, pre-tokenizer and WordPiece, on one thread.

Whole batches are encoded without offsets, its quickest way.
"""
import json
import os
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordPiece  # noqa: E402
from tokenizers.normalizers import BertNormalizer  # noqa: E402
from tokenizers.pre_tokenizers import BertPreTokenizer  # noqa: E402

from case import answer, timed  # noqa: E402

with open(sys.argv[1], encoding="utf-8") as file:
    case = json.load(file)
texts = case["texts"]
vocabulary = {entry: index for index, entry in enumerate(case["vocabulary"])}
tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
tokenizer.normalizer = BertNormalizer()
tokenizer.pre_tokenizer = BertPreTokenizer()
tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])


def encode_batch(some):
    return tokenizer.encode_batch_fast(some, add_special_tokens=False)


def fingerprint(_):
    value = 0x811C9DC5
    for encoding in encode_batch(texts):
        for token_id in [*encoding.ids, 0x7FFFFFFF]:
            value = (value ^ token_id) * 0x01000193 & 0xFFFFFFFF
    return {"fingerprint": value}


def encode(request):
    some = texts[request["begin"] : request["end"]]
    seconds, _ = timed(lambda: encode_batch(some))
    return {"seconds": seconds}


answer({"fingerprint": fingerprint, "encode": encode})
