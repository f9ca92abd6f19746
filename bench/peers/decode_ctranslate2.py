"""The CTranslate2 side of `npm run bench -- decode`."""
from case import answer, load_case, timed
from plug_ctranslate2 import load_translator, token

case, config = load_case()
translator = load_translator(case, config, case["prompts"][0][0], case["endId"])
prompts = [[token(token_id) for token_id in prompt] for prompt in case["prompts"]]
# The least length keeps the end token away, and needs nothing done at a step besides.
forbidden = [[token(token_id)] for token_id in case["forbiddenIds"] if token_id != case["endId"]]


def written(new_tokens):
    return translator.translate_batch(
        prompts,
        beam_size=1,
        max_input_length=0,
        min_decoding_length=new_tokens,
        max_decoding_length=new_tokens,
        suppress_sequences=forbidden,
    )


def on_generate(_):
    first_seconds, _ = timed(lambda: written(1))
    seconds, results = timed(lambda: written(case["newTokens"]))
    ids = [int(written_token[1:]) for result in results for written_token in result.hypotheses[0]]
    return {"seconds": seconds, "firstSeconds": first_seconds, "ids": ids}


answer({"generate": on_generate})
