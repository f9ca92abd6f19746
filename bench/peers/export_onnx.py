"""Writes the encoder and its sentence head as ONNX for `npm run bench -- encode`: CASE OUTPUT.

fp32 goes through the transformer optimiser of ONNX Runtime; int8 is its dynamic quantisation, of that.
"""
import sys

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from torch import nn

from plug_pytorch import load_model

case, config, model = load_model()
model.eval()
output = sys.argv[2]


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.plug = model

    def forward(self, ids, mask):
        return self.plug.classify(ids, mask)


ids = torch.full((2, 9), 7, dtype=torch.long)
mask = torch.ones_like(ids)
torch.onnx.export(
    Classifier(),
    (ids, mask),
    f"{output}.plain",
    input_names=["ids", "mask"],
    output_names=["logits"],
    dynamic_axes={"ids": {0: "B", 1: "S"}, "mask": {0: "B", 1: "S"}, "logits": {0: "B"}},
    opset_version=17,
    dynamo=False,
)
optimized = optimize_model(
    f"{output}.plain",
    model_type="bert",
    num_heads=config["num_attention_heads"],
    hidden_size=config["hidden_size"],
    opt_level=1,
)
print(optimized.get_fused_operator_statistics(), file=sys.stderr)
if case["precision"] == "int8":
    optimized.save_model_to_file(f"{output}.optimized")
    # Fused operators are unknown to shape inference; everything here is float.
    options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(
        f"{output}.optimized", output, weight_type=QuantType.QInt8, per_channel=True, extra_options=options
    )
else:
    optimized.save_model_to_file(output)
