"""The PyTorch side of `npm run bench -- train`: training steps of plug_pytorch.Plug on request.

Full masked-LM logits [B, S, V] with the loss ignoring unlabelled positions, nn.Dropout, autocast, AdamW, clipping.
"""
from plug_pytorch import autocast, load_model
from training import adam_w, answer_training, cross_entropy, load_batch

case, config, model = load_model()
source, labels, decoder_input, target = load_batch(case)


def losses():
    with autocast(case):
        encoded, mask = model.encode(source)
        decoded = model.decode(decoder_input, encoded, mask)
        mlm = cross_entropy(model.mlm_logits(encoded), labels)
        lm = cross_entropy(model.lm_logits(decoded), target)
    return mlm, lm


answer_training(case, model, adam_w(case, model), losses)
