"""Writes the reference that our reading of Hugging Face's BERT layout is tested against, or checks an export of ours.

    bert_reference.py write FOLDER   a tiny random BERT, saved by transformers, with inputs and what it computes of them
    bert_reference.py check FOLDER REFERENCE   loads FOLDER and prints how far it is from what REFERENCE holds

Needs torch, transformers and safetensors. Weights are far larger than those of a new model, so that every part of the
network moves the result. Everything is computed in float64.
"""
import json
import os
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining

from bert_vocabulary import VOCABULARY


def random_model():
    torch.manual_seed(20)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
    )
    model = BertForPreTraining(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 0.25)
            if name.endswith("LayerNorm.weight"):
                parameter.add_(1)
    return model


def inputs():
    generator = torch.Generator().manual_seed(21)
    lengths = torch.tensor([16, 1, 9])
    mask = (torch.arange(16)[None, :] < lengths[:, None]).long()
    ids = torch.randint(5, len(VOCABULARY), (3, 16), generator=generator)
    types = torch.randint(0, 2, (3, 16), generator=generator)
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": types * mask}


def outputs(model, batch):
    """Hidden states after the embeddings and after each layer, and the masked LM's logits."""
    with torch.no_grad():
        result = model.double().eval()(**batch, output_hidden_states=True)
    logits = result.prediction_logits if "prediction_logits" in result else result.logits
    states = {f"hidden_states.{index}": state for index, state in enumerate(result.hidden_states)}
    return {**states, "prediction_logits": logits}


def write(folder):
    model = random_model()
    model.save_pretrained(folder)
    old = {}
    for name, tensor in model.state_dict().items():
        old[name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    # What BERT's earliest ports wrote: a pickle, the old names, the tied matrix and a buffer of positions.
    old["bert.embeddings.position_ids"] = torch.arange(16)[None, :]
    torch.save(old, os.path.join(folder, "pytorch_model.bin"))
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as file:
        file.write("".join(f"{token}\n" for token in VOCABULARY))
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"tokenizer_class": "BertTokenizer", "do_lower_case": False}, file)
    batch = inputs()
    save_file({**batch, **outputs(model, batch)}, os.path.join(folder, "expected.safetensors"))


def check(folder, reference):
    expected = load_file(os.path.join(reference, "expected.safetensors"))
    batch = {name: expected.pop(name) for name in ("input_ids", "attention_mask", "token_type_ids")}
    found = outputs(BertForMaskedLM.from_pretrained(folder), batch)
    real = batch["attention_mask"].bool()
    error = max((found[name] - value)[real].abs().max().item() for name, value in expected.items())
    print(json.dumps({"maxAbsError": error}))


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](*sys.argv[2:])
