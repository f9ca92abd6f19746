"""Writes the reference that our reading of PALM 2.0's layout is tested against: `palm_reference.py FOLDER`.

A tiny PALM with random weights as it is published (config.json, bert/, pytorch_model.bin), with inputs and what the
architecture computes of them. Written from the description of the model: a post-LN BERT encodes; the decoder has
a word table of its own times the root of its width plus sinusoids, pre-LN layers with masked self-attention, attention
to the source and a feed-forward part with gelu by tanh, LayerNorm with epsilon 1e-6, and logits from its table and a
bias. Needs torch and safetensors; everything is computed in float64.
"""
import json
import math
import os
import sys

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from bert_vocabulary import VOCABULARY

E, HEADS, LAYERS, WIDTH, POSITIONS, TYPES = 16, 2, 2, 24, 20, 2
DECODER_HEADS, DECODER_LAYERS, DECODER_WIDTH = 4, 2, 20
V = len(VOCABULARY)
generator = torch.Generator().manual_seed(30)
weights = {}


def dense(name, inputs, outputs):
    weights[f"{name}.weight"] = torch.randn(outputs, inputs, generator=generator) * 0.25
    weights[f"{name}.bias"] = torch.randn(outputs, generator=generator) * 0.25


def norm(name):
    weights[f"{name}.weight"] = 1 + torch.randn(E, generator=generator) * 0.25
    weights[f"{name}.bias"] = torch.randn(E, generator=generator) * 0.25


def table(name, rows):
    weights[f"{name}.weight"] = torch.randn(rows, E, generator=generator) * 0.25


def make_weights():
    for kind, rows in (("word", V), ("position", POSITIONS), ("token_type", TYPES)):
        table(f"bert.embeddings.{kind}_embeddings", rows)
    norm("bert.embeddings.LayerNorm")
    for index in range(LAYERS):
        layer = f"bert.encoder.layer.{index}"
        for part in ("query", "key", "value"):
            dense(f"{layer}.attention.self.{part}", E, E)
        dense(f"{layer}.attention.output.dense", E, E)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", E, WIDTH)
        dense(f"{layer}.output.dense", WIDTH, E)
        norm(f"{layer}.output.LayerNorm")
    dense("bert.pooler.dense", E, E)
    table("decoder.embeddings", V)
    for index in range(DECODER_LAYERS):
        layer = f"decoder.transformer_layers.{index}"
        for attention in ("self_attn", "context_attn"):
            for part in ("linear_keys", "linear_values", "linear_query", "final_linear"):
                dense(f"{layer}.{attention}.{part}", E, E)
        norm(f"{layer}.feed_forward.layer_norm")
        dense(f"{layer}.feed_forward.w_1", E, DECODER_WIDTH)
        dense(f"{layer}.feed_forward.w_2", DECODER_WIDTH, E)
        norm(f"{layer}.layer_norm_1")
        norm(f"{layer}.layer_norm_2")
    norm("decoder.layer_norm")
    weights["generator.dense.bias"] = torch.randn(V, generator=generator) * 0.25


def linear(name, x):
    return F.linear(x, weights[f"{name}.weight"].double(), weights[f"{name}.bias"].double())


def normed(name, x, eps):
    return F.layer_norm(x, (E,), weights[f"{name}.weight"].double(), weights[f"{name}.bias"].double(), eps)


def rows(name, ids):
    return weights[f"{name}.weight"].double()[ids]


def attend(query, key, value, heads, visible=None):
    """[T, E], [S, E], [S, E] → [T, E]; `visible` [T, S] is true where a token may look."""
    split = lambda x: x.view(x.size(0), heads, E // heads).transpose(0, 1)
    scores = split(query) @ split(key).transpose(1, 2) / math.sqrt(E // heads)
    if visible is not None:
        scores = scores.masked_fill(~visible, -math.inf)
    return (torch.softmax(scores, -1) @ split(value)).transpose(0, 1).reshape(query.size(0), E)


def encode(ids):
    embeddings = "bert.embeddings"
    x = rows(f"{embeddings}.word_embeddings", ids)
    x = x + rows(f"{embeddings}.position_embeddings", torch.arange(len(ids)))
    x = x + rows(f"{embeddings}.token_type_embeddings", torch.zeros_like(ids))
    x = normed(f"{embeddings}.LayerNorm", x, 1e-12)
    for index in range(LAYERS):
        layer = f"bert.encoder.layer.{index}"
        q, k, v = (linear(f"{layer}.attention.self.{part}", x) for part in ("query", "key", "value"))
        attended = linear(f"{layer}.attention.output.dense", attend(q, k, v, HEADS))
        x = normed(f"{layer}.attention.output.LayerNorm", x + attended, 1e-12)
        inner = F.gelu(linear(f"{layer}.intermediate.dense", x))
        x = normed(f"{layer}.output.LayerNorm", x + linear(f"{layer}.output.dense", inner), 1e-12)
    return x


def sinusoids(length):
    frequencies = torch.exp(torch.arange(0, E, 2, dtype=torch.float64) * -(math.log(10000.0) / E))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return torch.stack([torch.sin(angles), torch.cos(angles)], -1).view(length, E)


def decode(ids, memory):
    length = len(ids)
    earlier = torch.ones(length, length).tril().bool()
    x = rows("decoder.embeddings", ids) * math.sqrt(E) + sinusoids(length)
    for index in range(DECODER_LAYERS):
        layer = f"decoder.transformer_layers.{index}"

        def attention(name, query, source, visible=None):
            q = linear(f"{layer}.{name}.linear_query", query)
            k = linear(f"{layer}.{name}.linear_keys", source)
            v = linear(f"{layer}.{name}.linear_values", source)
            return linear(f"{layer}.{name}.final_linear", attend(q, k, v, DECODER_HEADS, visible))

        first = normed(f"{layer}.layer_norm_1", x, 1e-6)
        x = x + attention("self_attn", first, first, earlier)
        x = x + attention("context_attn", normed(f"{layer}.layer_norm_2", x, 1e-6), memory)
        inner = linear(f"{layer}.feed_forward.w_1", normed(f"{layer}.feed_forward.layer_norm", x, 1e-6))
        x = x + linear(f"{layer}.feed_forward.w_2", F.gelu(inner, approximate="tanh"))
    hidden = normed("decoder.layer_norm", x, 1e-6)
    return hidden @ weights["decoder.embeddings.weight"].double().T + weights["generator.dense.bias"].double()


def write(folder):
    make_weights()
    expected = {}
    for index, (source_length, target_length) in enumerate([(20, 9), (1, 1), (7, 20)]):
        source = torch.randint(5, V, (source_length,), generator=generator)
        target = torch.randint(5, V, (target_length,), generator=generator)
        encoded = encode(source)
        expected |= {
            f"{index}.source": source,
            f"{index}.target": target,
            f"{index}.encoded": encoded,
            f"{index}.logits": decode(target, encoded),
        }
    save_file(expected, os.path.join(folder, "expected.safetensors"))
    saved = dict(weights)
    # What published files hold besides: the tied matrix and buffers.
    saved["generator.dense.weight"] = saved["decoder.embeddings.weight"]
    saved["decoder.pos_emb.pe"] = sinusoids(POSITIONS).float()[None]
    mask = torch.ones(1, POSITIONS, POSITIONS).triu(1).to(torch.uint8)
    for index in range(DECODER_LAYERS):
        saved[f"decoder.transformer_layers.{index}.mask"] = mask
    torch.save({"model": {f"palm.{name}": tensor for name, tensor in saved.items()}},
               os.path.join(folder, "pytorch_model.bin"))
    os.makedirs(os.path.join(folder, "bert"), exist_ok=True)
    with open(os.path.join(folder, "bert", "vocab.txt"), "w", encoding="utf-8") as file:
        file.write("".join(f"{token}\n" for token in VOCABULARY))
    write_json(folder, "bert/config.json", {
        "model_type": "bert", "vocab_size": V, "hidden_size": E, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "intermediate_size": WIDTH, "max_position_embeddings": POSITIONS,
        "type_vocab_size": TYPES, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
    })
    write_json(folder, "config.json", {
        "encoder": "zh_bert", "encoder_pth": "bert", "max_pos": POSITIONS, "share_emb": True, "dec_layers": DECODER_LAYERS,
        "dec_hidden_size": E, "dec_heads": DECODER_HEADS, "dec_ff_size": DECODER_WIDTH, "dec_dropout": 0.2,
        "use_bert_emb": True, "label_smoothing": 0.1, "alpha": 0.6, "beam_size": 5,
    })


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)


if __name__ == "__main__":
    write(sys.argv[1])
