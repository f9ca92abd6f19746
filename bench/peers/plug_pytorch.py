"""PLUG in plain PyTorch, as the published model is built: separate library operators, additive masks, padded rows.

Module names are the published parameter names, so a file of weights loads without renaming. Needs torch alone.
Shapes: B batch, S source length, T target length, E hidden, V vocabulary.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F

from case import load_case, safetensors_entries

MASKED = -10000.0


def norm(config):
    return nn.LayerNorm(config["hidden_size"], eps=config["layernorm_epsilon"])


class Attention(nn.Module):
    """Multi-head attention without its projections; q and k are each scaled by D^-1/4."""

    def __init__(self, config):
        super().__init__()
        self.heads = config["num_attention_heads"]
        self.dropout = nn.Dropout(config["attention_probs_dropout_prob"])

    def split(self, x):
        return x.view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)

    def forward(self, q, k, v, mask, causal=None):
        q, k, v = self.split(q), self.split(k), self.split(v)
        root = math.sqrt(math.sqrt(q.size(-1)))
        scores = torch.matmul(q / root, (k / root).transpose(-1, -2))
        if causal is not None:
            scores = scores * causal + MASKED * (1.0 - causal)
        else:
            scores = scores + mask
        probabilities = self.dropout(torch.softmax(scores, dim=-1))
        context = torch.matmul(probabilities, v).transpose(1, 2).contiguous()
        return context.view(context.size(0), context.size(1), -1)


class Projection(nn.Module):
    """Holds `dense`, the published name of a single linear layer."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)


class EncoderSelf(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.query_key_value = nn.Linear(config["hidden_size"], 3 * config["hidden_size"])
        self.attend = Attention(config)

    def forward(self, x, mask):
        return self.attend(*self.query_key_value(x).chunk(3, dim=-1), mask)


class EncoderAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.LayerNorm = norm(config)
        self.self = EncoderSelf(config)
        self.output = Projection(config["hidden_size"], config["hidden_size"])


class EncoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        self.attention = EncoderAttention(config)
        self.LayerNorm = norm(config)
        self.intermediate = Projection(hidden, inner)
        self.output = Projection(inner, hidden)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, x, mask):
        attended = self.attention.self(self.attention.LayerNorm(x), mask)
        x = x + self.dropout(self.attention.output.dense(attended))
        inner = F.gelu(self.intermediate.dense(self.LayerNorm(x)))
        return x + self.dropout(self.output.dense(inner))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer = nn.ModuleList([EncoderLayer(config) for _ in range(config["num_hidden_layers"])])
        self.LayerNorm = norm(config)

    def forward(self, x, mask):
        for layer in self.layer:
            x = layer(x, mask)
        return self.LayerNorm(x)


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], hidden)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], hidden)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], hidden)
        self.LayerNorm = norm(config)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, ids):
        positions = torch.arange(ids.size(1)).unsqueeze(0).expand_as(ids)
        x = self.word_embeddings(ids) + self.position_embeddings(positions)
        x = x + self.token_type_embeddings(torch.zeros_like(ids))
        return self.dropout(self.LayerNorm(x))


class Bert(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Projection(config["hidden_size"], config["hidden_size"])


class SelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden = config["hidden_size"]
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.dense = nn.Linear(hidden, hidden)
        self.attend = Attention(config)

    def forward(self, x, causal):
        return self.dense(self.attend(*self.query_key_value(x).chunk(3, dim=-1), None, causal))


class CrossAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden = config["hidden_size"]
        self.query = nn.Linear(hidden, hidden)
        self.key_value = nn.Linear(hidden, 2 * hidden)
        self.dense = nn.Linear(hidden, hidden)
        self.attend = Attention(config)

    def forward(self, x, encoded, mask):
        return self.dense(self.attend(self.query(x), *self.key_value(encoded).chunk(2, dim=-1), mask))


class DecoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        self.input_layernorm = norm(config)
        self.attention = SelfAttention(config)
        self.post_attention_layernorm = norm(config)
        self.cross_attention = CrossAttention(config)
        self.post_cross_attention_layernorm = norm(config)
        self.intermediate = nn.Linear(hidden, inner)
        self.output = nn.Linear(inner, hidden)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, x, causal, encoded, mask):
        x = x + self.dropout(self.attention(self.input_layernorm(x), causal))
        x = x + self.dropout(self.cross_attention(self.post_attention_layernorm(x), encoded, mask))
        inner = F.gelu(self.intermediate(self.post_cross_attention_layernorm(x)))
        return x + self.dropout(self.output(inner))


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer = nn.ModuleList([DecoderLayer(config) for _ in range(config["dec_hidden_layers"])])
        self.final_layernorm = norm(config)

    def forward(self, x, encoded, mask):
        causal = torch.tril(torch.ones(x.size(1), x.size(1))).view(1, 1, x.size(1), x.size(1))
        for layer in self.layer:
            x = layer(x, causal, encoded, mask)
        return self.final_layernorm(x)


class Transform(Projection):
    def __init__(self, config):
        super().__init__(config["hidden_size"], config["hidden_size"])
        self.LayerNorm = norm(config)

    def forward(self, x):
        # LayerNorm runs in fp32, as published; elsewhere its input, the residual sum, is fp32 already.
        return self.LayerNorm(F.gelu(self.dense(x)).float())


class Predictions(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.transform = Transform(config)
        self.bias = nn.Parameter(torch.zeros(config["vocab_size"]))


class Plug(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.bert = Bert(config)
        self.cls = nn.Module()
        self.cls.predictions = Predictions(config)
        self.cls.seq_relationship = nn.Linear(config["hidden_size"], 3)
        self.decoder = nn.Module()
        self.decoder.decoder = Decoder(config)

    def mask_of(self, ids, visible):
        """Additive [B, 1, 1, S] from boolean [B, S]; the published code adds it where nothing is hidden too."""
        visible = torch.ones_like(ids) if visible is None else visible
        return (1.0 - visible.float()[:, None, None, :]) * MASKED

    def encode(self, ids, visible=None):
        mask = self.mask_of(ids, visible)
        return self.bert.encoder(self.bert.embeddings(ids), mask), mask

    def decode(self, ids, encoded, mask):
        return self.decoder.decoder(self.bert.embeddings(ids), encoded, mask)

    def classify(self, ids, visible):
        """[B, S] -> the three logits of the sentence head [B, 3]."""
        encoded, _ = self.encode(ids, visible)
        return self.cls.seq_relationship(encoded[:, 0])

    def mlm_logits(self, encoded):
        """[B, S, E] -> [B, S, V], at every position, as published."""
        head = self.cls.predictions
        return F.linear(head.transform(encoded), self.bert.embeddings.word_embeddings.weight, head.bias)

    def lm_logits(self, decoded):
        return F.linear(decoded, self.bert.embeddings.word_embeddings.weight)


def load_model():
    """The case that this process was started with, and its model with the initial weights."""
    case, config = load_case()
    torch.set_num_threads(case["threads"])
    model = Plug(config)
    weights = {
        name: torch.frombuffer(data, dtype=torch.float32).view(shape).clone()
        for name, shape, data in safetensors_entries(f"{case['model']}/model.safetensors")
    }
    model.load_state_dict(weights, strict=True)
    return case, config, model


def autocast(case):
    """bf16 as PyTorch users switch it on; nothing in float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=case["precision"] == "bfloat16")
