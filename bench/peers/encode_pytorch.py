"""The PyTorch sides of `npm run bench -- encode`: texts to the three logits of the sentence head.

Batches are padded to their longest, with a mask; the second argument is their order, `given` or `sorted` by length.
PyTorch 2 uses its fused attention. int8 is dynamic quantisation of the linear layers.
"""
import sys

import torch
from torch import nn

from case import answer, timed
from plug_pytorch import autocast, load_model

case, config, model = load_model()
if hasattr(nn.functional, "scaled_dot_product_attention"):
    from plug_sdpa import with_sdpa

    with_sdpa(model, config)
model.eval()
if case["precision"] == "int8":
    model = torch.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
texts = case["texts"]
order = list(range(len(texts)))
if sys.argv[2] == "sorted":
    order.sort(key=lambda index: -len(texts[index]))


def classify():
    logits = [None] * len(texts)
    with torch.inference_mode(), autocast(case):
        for begin in range(0, len(order), case["batch"]):
            indices = order[begin : begin + case["batch"]]
            longest = max(len(texts[index]) for index in indices)
            ids = torch.zeros(len(indices), longest, dtype=torch.long)
            visible = torch.zeros(len(indices), longest, dtype=torch.bool)
            for row, index in enumerate(indices):
                ids[row, : len(texts[index])] = torch.tensor(texts[index])
                visible[row, : len(texts[index])] = True
            rows = model.classify(ids, visible).float().tolist()
            for index, row in zip(indices, rows):
                logits[index] = row
    return [value for row in logits for value in row]


def encode(_):
    seconds, logits = timed(classify)
    return {"seconds": seconds, "logits": logits}


answer({"encode": encode})
