"""plug_pytorch.Plug with PyTorch 2's fused attention in place of separate operators."""
from torch import nn
from torch.nn import functional as F


class FusedAttention(nn.Module):
    """As plug_pytorch.Attention, which scales by D^-1/2 in two halves. `mask` is boolean, True is visible."""

    def __init__(self, config):
        super().__init__()
        self.heads = config["num_attention_heads"]
        self.dropout = config["attention_probs_dropout_prob"]

    def split(self, x):
        return x.view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)

    def forward(self, q, k, v, mask, causal=None):
        context = F.scaled_dot_product_attention(
            self.split(q),
            self.split(k),
            self.split(v),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal is not None,
        )
        return context.transpose(1, 2).flatten(2)


def with_sdpa(model, config):
    """Swaps the attention of a model in place; its masks are boolean from then on, and absent where none is needed."""
    for module in list(model.modules()):
        if hasattr(module, "attend"):
            module.attend = FusedAttention(config)
    model.mask_of = lambda ids, visible: None if visible is None else visible[:, None, None, :]
