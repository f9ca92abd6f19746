"""What the PyTorch sides of `npm run bench -- train` share: the batch, AdamW, clipping, and the requests they answer."""
import resource

import torch
from torch.nn import functional as F

from case import answer, timed

UNLABELLED = -100


def load_batch(case):
    """Tensors of the batch; `labels` is [B, S], `UNLABELLED` where nothing is to be predicted."""
    batch = case["batch"]
    source = torch.tensor(batch["sourceIds"])
    labels = torch.full_like(source, UNLABELLED)
    for row, (positions, values) in enumerate(zip(batch["labelPositions"], batch["labels"])):
        labels[row, positions] = torch.tensor(values)
    return source, labels, torch.tensor(batch["decoderInputIds"]), torch.tensor(batch["targetIds"])


def cross_entropy(logits, wanted):
    return F.cross_entropy(logits.float().view(-1, logits.size(-1)), wanted.view(-1), ignore_index=UNLABELLED)


def decays(name):
    return not name.endswith("bias") and "layernorm" not in name.lower()


def adam_w(case, model, **options):
    named = list(model.named_parameters())
    groups = [
        {"params": [p for name, p in named if decays(name)], "weight_decay": case["weightDecay"]},
        {"params": [p for name, p in named if not decays(name)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=case["learningRate"], **options)


def answer_training(case, model, optimizer, losses):
    """Answers until stdin ends. `losses()` gives the masked-LM and the LM loss of the batch."""

    def step():
        mlm, lm = losses()
        (mlm + lm).backward()
        gradient_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), case["clipGradNorm"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return mlm.item(), lm.item(), gradient_norm.item()

    def check(request):
        model.eval()
        numbers = [step() for _ in range(request["steps"])]
        return {
            "losses": [loss for mlm, lm, _ in numbers for loss in (mlm, lm)],
            "gradientNorms": [norm for _, _, norm in numbers],
        }

    def steps(request):
        model.train()
        seconds, numbers = timed(lambda: [step() for _ in range(request["count"])])
        return {"seconds": seconds, "loss": sum(numbers[-1][:2])}

    def memory(_):
        return {"peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}

    answer({"check": check, "steps": steps, "memory": memory})
