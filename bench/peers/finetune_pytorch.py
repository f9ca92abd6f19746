"""The PyTorch side of `npm run bench -- finetune`: epochs of classification, batches padded to their longest.

The loop of the usual fine-tuning script: autocast, nn.Dropout, AdamW, clipping. PyTorch 2 uses its fused attention.
"""
import resource

import torch
from torch import nn
from torch.nn import functional as F

from case import answer, timed
from plug_pytorch import autocast, load_model
from training import adam_w

case, config, model = load_model()
if hasattr(nn.functional, "scaled_dot_product_attention"):
    from plug_sdpa import with_sdpa

    with_sdpa(model, config)
texts, labels, size = case["texts"], case["labels"], case["batch"]
optimizer = adam_w(case, model)


def padded(indices):
    longest = max(len(texts[index]) for index in indices)
    ids = torch.zeros(len(indices), longest, dtype=torch.long)
    visible = torch.zeros(len(indices), longest, dtype=torch.bool)
    for row, index in enumerate(indices):
        ids[row, : len(texts[index])] = torch.tensor(texts[index])
        visible[row, : len(texts[index])] = True
    return ids, visible


def batches():
    return [range(begin, min(begin + size, len(texts))) for begin in range(0, len(texts), size)]


def epoch():
    losses = []
    for indices in batches():
        with autocast(case):
            logits = model.classify(*padded(indices))
        loss = F.cross_entropy(logits.float(), torch.tensor([labels[index] for index in indices]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), case["clipGradNorm"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return losses


def check(_):
    model.eval()
    return {"losses": epoch()}


def train(_):
    model.train()
    seconds, losses = timed(epoch)
    return {"seconds": seconds, "loss": sum(losses) / len(losses)}


def classify():
    right = 0
    with torch.inference_mode(), autocast(case):
        for indices in batches():
            chosen = model.classify(*padded(indices)).float().argmax(-1).tolist()
            right += sum(label == labels[index] for label, index in zip(chosen, indices))
    return right / len(texts)


def evaluate(_):
    model.eval()
    seconds, accuracy = timed(classify)
    return {"seconds": seconds, "accuracy": accuracy}


def memory(_):
    return {"peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


answer({"check": check, "train": train, "evaluate": evaluate, "memory": memory})
