"""PLUG in CTranslate2, through its own specification and converter.

Its vocabulary holds the real entries alone, as padding rows can never be written. The segment embedding, always of
segment 0, is part of the position encodings.
"""
import os

import ctranslate2
import numpy as np
from ctranslate2.specs import common_spec, transformer_spec

from case import read_safetensors


class Plug:
    """The weights of a case by published name, put into the places of the specification."""

    def __init__(self, config, weights):
        self.config = config
        self.weights = weights

    def linear(self, spec, *names):
        """One matrix, or several whose outputs stand side by side."""
        spec.weight = np.concatenate([self.weights[f"{name}.weight"] for name in names])
        spec.bias = np.concatenate([self.weights[f"{name}.bias"] for name in names])

    def norm(self, spec, name):
        spec.gamma = self.weights[f"{name}.weight"]
        spec.beta = self.weights[f"{name}.bias"]

    def embeddings(self, spec, embedding):
        name = "bert.embeddings"
        rows = self.config["original_vocab_size"]
        embedding.weight = self.weights[f"{name}.word_embeddings.weight"][:rows]
        spec.scale_embeddings = False
        positions = self.weights[f"{name}.position_embeddings.weight"]
        spec.position_encodings.encodings = positions + self.weights[f"{name}.token_type_embeddings.weight"][0]
        self.norm(spec.layernorm_embedding, f"{name}.LayerNorm")

    def encoder_layer(self, spec, name):
        self.norm(spec.self_attention.layer_norm, f"{name}.attention.LayerNorm")
        self.linear(spec.self_attention.linear[0], f"{name}.attention.self.query_key_value")
        self.linear(spec.self_attention.linear[1], f"{name}.attention.output.dense")
        self.norm(spec.ffn.layer_norm, f"{name}.LayerNorm")
        self.linear(spec.ffn.linear_0, f"{name}.intermediate.dense")
        self.linear(spec.ffn.linear_1, f"{name}.output.dense")

    def decoder_layer(self, spec, name):
        self.norm(spec.self_attention.layer_norm, f"{name}.input_layernorm")
        self.linear(spec.self_attention.linear[0], f"{name}.attention.query_key_value")
        self.linear(spec.self_attention.linear[1], f"{name}.attention.dense")
        self.norm(spec.attention.layer_norm, f"{name}.post_attention_layernorm")
        self.linear(spec.attention.linear[0], f"{name}.cross_attention.query")
        self.linear(spec.attention.linear[1], f"{name}.cross_attention.key_value")
        self.linear(spec.attention.linear[2], f"{name}.cross_attention.dense")
        self.norm(spec.ffn.layer_norm, f"{name}.post_cross_attention_layernorm")
        self.linear(spec.ffn.linear_0, f"{name}.intermediate")
        self.linear(spec.ffn.linear_1, f"{name}.output")

    def spec(self):
        config = self.config
        layers = (config["num_hidden_layers"], config["dec_hidden_layers"])
        spec = transformer_spec.TransformerSpec.from_config(
            layers,
            config["num_attention_heads"],
            pre_norm=True,
            activation=common_spec.Activation.GELU,
            layernorm_embedding=True,
        )
        self.embeddings(spec.encoder, spec.encoder.embeddings[0])
        for index, layer in enumerate(spec.encoder.layer):
            self.encoder_layer(layer, f"bert.encoder.layer.{index}")
        self.norm(spec.encoder.layer_norm, "bert.encoder.LayerNorm")
        self.embeddings(spec.decoder, spec.decoder.embeddings)
        for index, layer in enumerate(spec.decoder.layer):
            self.decoder_layer(layer, f"decoder.decoder.layer.{index}")
        self.norm(spec.decoder.layer_norm, "decoder.decoder.final_layernorm")
        spec.decoder.projection.weight = spec.decoder.embeddings.weight
        spec.config.layer_norm_epsilon = config["layernorm_epsilon"]
        return spec


def token(token_id):
    return f"t{token_id}"


def convert(case, config, folder, start_id, end_id):
    spec = Plug(config, read_safetensors(f"{case['model']}/model.safetensors")).spec()
    vocabulary = [token(index) for index in range(config["original_vocab_size"])]
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.config.bos_token = spec.config.decoder_start_token = token(start_id)
    spec.config.eos_token = token(end_id)
    spec.config.unk_token = token(1)
    spec.validate()
    spec.optimize(quantization=case["precision"])
    os.makedirs(folder)
    spec.save(folder)


def load_translator(case, config, start_id, end_id):
    """The model of a case, converted unless that was done before, on all the case's threads."""
    folder = f"{case['model']}/ctranslate2-{case['precision']}"
    if not os.path.exists(folder):
        convert(case, config, folder, start_id, end_id)
    return ctranslate2.Translator(
        folder, compute_type=case["precision"], inter_threads=1, intra_threads=case["threads"]
    )
