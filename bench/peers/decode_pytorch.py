"""The published way of decoding, for `npm run bench -- decode`: batch 1, the prompt encoded once, then at each step the
whole decoder over all tokens written so far and the logits of all of them.
"""
import torch

from case import answer, timed
from plug_pytorch import autocast, load_model

case, config, model = load_model()
model.eval()
(prompt,) = case["prompts"]
prompt = torch.tensor([prompt])
start_id = case["prompts"][0][0]


def generate():
    with torch.no_grad(), autocast(case):
        encoded, mask = model.encode(prompt)
        ids = [start_id]
        for _ in range(case["newTokens"]):
            decoded = model.decode(torch.tensor([ids]), encoded, mask)
            logits = model.lm_logits(decoded)[0, -1].float()
            logits[config["original_vocab_size"] :] = -float("inf")
            logits[case["forbiddenIds"]] = -float("inf")
            ids.append(int(logits.argmax()))
        return ids[1:]


def on_generate(_):
    seconds, ids = timed(generate)
    return {"seconds": seconds, "ids": ids}


answer({"generate": on_generate})
