"""The PyTorch side of `npm run bench -- train`: training steps of plug_pytorch.Plug on request.

Full masked-LM logits [B, S, V] with the loss ignoring unlabelled positions, nn.Dropout, autocast, AdamW, clipping.
"""
import torch
from torch.nn import functional as F

from plug_pytorch import answer, autocast, load_case, timed

UNLABELLED = -100

case, config, model = load_case()
batch = case["batch"]
source = torch.tensor(batch["sourceIds"])
labels = torch.full_like(source, UNLABELLED)
for row, (positions, values) in enumerate(zip(batch["labelPositions"], batch["labels"])):
    labels[row, positions] = torch.tensor(values)
decoder_input = torch.tensor(batch["decoderInputIds"])
target = torch.tensor(batch["targetIds"])


def decays(name):
    return not name.endswith("bias") and "layernorm" not in name.lower()


named = list(model.named_parameters())
optimizer = torch.optim.AdamW(
    [
        {"params": [p for name, p in named if decays(name)], "weight_decay": case["weightDecay"]},
        {"params": [p for name, p in named if not decays(name)], "weight_decay": 0.0},
    ],
    lr=case["learningRate"],
)


def cross_entropy(logits, wanted):
    return F.cross_entropy(logits.float().view(-1, logits.size(-1)), wanted.view(-1), ignore_index=UNLABELLED)


def step():
    with autocast(case):
        encoded, mask = model.encode(source)
        decoded = model.decode(decoder_input, encoded, mask)
        mlm = cross_entropy(model.mlm_logits(encoded), labels)
        lm = cross_entropy(model.lm_logits(decoded), target)
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


answer({"check": check, "steps": steps})
