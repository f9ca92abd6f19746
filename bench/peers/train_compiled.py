"""The PyTorch 2 sides of `npm run bench -- train`, as a careful user writes them today.

Attention by `scaled_dot_product_attention` without any mask (no row of the batch is padded), everything up to the
losses in one `torch.compile`, fused AdamW. The second argument says where the masked-LM head is computed: `all`
positions, as published, or the `labelled` ones alone.
"""
import sys

import torch

from plug_pytorch import autocast, load_model
from plug_sdpa import with_sdpa
from training import UNLABELLED, adam_w, answer_training, cross_entropy, load_batch

case, config, model = load_model()
with_sdpa(model, config)
source, labels, decoder_input, target = load_batch(case)
if sys.argv[2] == "labelled":
    labelled = (labels.view(-1) != UNLABELLED).nonzero().view(-1)
else:
    labelled = None


@torch.compile
def losses():
    with autocast(case):
        encoded, _ = model.encode(source)
        decoded = model.decode(decoder_input, encoded, None)
        if labelled is None:
            mlm = cross_entropy(model.mlm_logits(encoded), labels)
        else:
            mlm = cross_entropy(model.mlm_logits(encoded.flatten(0, 1)[labelled]), labels.view(-1)[labelled])
        lm = cross_entropy(model.lm_logits(decoded), target)
    return mlm, lm


answer_training(case, model, adam_w(case, model, fused=True), losses)
