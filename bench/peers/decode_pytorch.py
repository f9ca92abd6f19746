"""The PyTorch side of `npm run bench -- decode`: greedy decoding, batch 1, the whole decoder at each step.

Logits are computed for the last token alone, which is all that a step needs.
"""
import torch

from plug_pytorch import answer, autocast, load_case, timed

case, config, model = load_case()
model.eval()
prompt = torch.tensor([case["prompt"]])
start_id = case["prompt"][0]


def generate():
    with torch.no_grad(), autocast(case):
        encoded, mask = model.encode(prompt)
        ids = [start_id]
        for _ in range(case["newTokens"]):
            decoded = model.decode(torch.tensor([ids]), encoded, mask)
            logits = model.lm_logits(decoded[:, -1]).float()[0]
            logits[config["original_vocab_size"] :] = -float("inf")
            logits[case["forbiddenIds"]] = -float("inf")
            ids.append(int(logits.argmax()))
        return ids[1:]


def on_generate(_):
    seconds, ids = timed(generate)
    return {"seconds": seconds, "ids": ids}


answer({"generate": on_generate})
