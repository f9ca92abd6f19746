// Packed rows to padded heads, as a cache keeps keys and values: the rows of a batch stand one after another without
// padding, [N, features], tokens past the last row are filler. One pass of block copies replaces the slice, pad, permute
// and contiguous() calls (and their backward passes: index_add, stack, zero-fill) that library ops would need.
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cstring>

namespace openplug {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::vector<int64_t> startsOf(const at::Tensor& lengths, int64_t maxLength, int64_t rows) {
  TORCH_CHECK(lengths.dim() == 1 && lengths.scalar_type() == at::kLong && lengths.is_contiguous(),
              "lengths must be a contiguous int64 vector");
  const int64_t* data = lengths.data_ptr<int64_t>();
  std::vector<int64_t> starts(lengths.size(0) + 1, 0);
  for (int64_t b = 0; b < lengths.size(0); b++) {
    TORCH_CHECK(data[b] >= 0 && data[b] <= maxLength, "row ", b, " has length ", data[b], ", expected 0 to ", maxLength);
    starts[b + 1] = starts[b] + data[b];
  }
  TORCH_CHECK(starts.back() <= rows, "the lengths sum to ", starts.back(), ", but there are ", rows, " packed tokens");
  return starts;
}

// x [N, parts·H·D] -> parts tensors [B, H, T, D]; positions past a row's length are zero.
std::vector<at::Tensor> splitHeads(const at::Tensor& input, const at::Tensor& lengths, int64_t maxLength,
                                   int64_t heads, int64_t parts) {
  TORCH_CHECK(input.dim() == 2, "x must be [tokens, features]");
  TORCH_CHECK(heads > 0 && parts > 0 && input.size(1) % (heads * parts) == 0, "features (", input.size(1),
              ") must be a multiple of parts x heads (", parts, " x ", heads, ")");
  at::Tensor x = input.contiguous();
  auto starts = startsOf(lengths, maxLength, x.size(0));
  int64_t batch = lengths.size(0), depth = x.size(1) / (heads * parts);
  size_t block = depth * x.element_size(), line = x.size(1) * x.element_size();
  std::vector<at::Tensor> results;
  std::vector<char*> targets;
  for (int64_t p = 0; p < parts; p++) {
    results.push_back(at::empty({batch, heads, maxLength, depth}, x.options()));
    targets.push_back(static_cast<char*>(results.back().data_ptr()));
  }
  const char* source = static_cast<const char*>(x.data_ptr());
  at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t bh = begin; bh < end; bh++) {
      int64_t b = bh / heads, h = bh % heads, length = starts[b + 1] - starts[b];
      for (int64_t p = 0; p < parts; p++) {
        char* target = targets[p] + bh * maxLength * block;
        const char* from = source + starts[b] * line + (p * heads + h) * block;
        for (int64_t t = 0; t < length; t++) std::memcpy(target + t * block, from + t * line, block);
        std::memset(target + length * block, 0, (maxLength - length) * block);
      }
    }
  });
  return results;
}

// The inverse: parts tensors [B, H, T, D] -> [N, parts·H·D]; padded positions are dropped. Undefined parts are zero.
at::Tensor mergeParts(const std::vector<at::Tensor>& parts, const at::Tensor& lengths, int64_t rows) {
  const at::Tensor* model = nullptr;
  for (const auto& part : parts)
    if (part.defined()) model = &part;
  TORCH_CHECK(model && model->dim() == 4, "expected [B, H, T, D]");
  int64_t batch = model->size(0), heads = model->size(1), maxLength = model->size(2), depth = model->size(3);
  TORCH_CHECK(lengths.size(0) == batch, "there are ", batch, " rows, but ", lengths.size(0), " lengths");
  auto starts = startsOf(lengths, maxLength, rows);
  int64_t count = parts.size();
  size_t block = depth * model->element_size(), line = count * heads * block;
  at::Tensor result = at::empty({rows, count * heads * depth}, model->options());
  char* target = static_cast<char*>(result.data_ptr());
  std::memset(target + starts.back() * line, 0, (rows - starts.back()) * line);
  for (int64_t p = 0; p < count; p++) {
    at::Tensor part = parts[p].defined() ? parts[p].contiguous() : at::zeros_like(*model);
    const char* source = static_cast<const char*>(part.data_ptr());
    at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t bh = begin; bh < end; bh++) {
        int64_t b = bh / heads, h = bh % heads, length = starts[b + 1] - starts[b];
        const char* from = source + bh * maxLength * block;
        char* to = target + starts[b] * line + (p * heads + h) * block;
        for (int64_t t = 0; t < length; t++) std::memcpy(to + t * line, from + t * block, block);
      }
    });
  }
  return result;
}

struct SplitHeads : torch::autograd::Function<SplitHeads> {
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& lengths,
                               int64_t maxLength, int64_t heads, int64_t parts) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->saved_data["lengths"] = lengths;
    context->saved_data["rows"] = x.size(0);
    return splitHeads(x, lengths, maxLength, heads, parts);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto lengths = context->saved_data["lengths"].toTensor();
    return {mergeParts(gradients, lengths, context->saved_data["rows"].toInt()), {}, {}, {}, {}};
  }
};

std::vector<at::Tensor> splitHeadsAutograd(const at::Tensor& x, const at::Tensor& lengths, int64_t maxLength,
                                           int64_t heads, int64_t parts) {
  return SplitHeads::apply(x, lengths, maxLength, heads, parts);
}

TORCH_LIBRARY_FRAGMENT(openplug, m) {
  m.def("split_heads(Tensor x, Tensor lengths, int max_length, int num_heads, int parts) -> Tensor[]");
}

TORCH_LIBRARY_IMPL(openplug, CPU, m) {
  m.impl("split_heads", splitHeads);
}

TORCH_LIBRARY_IMPL(openplug, AutogradCPU, m) {
  m.impl("split_heads", splitHeadsAutograd);
}

} // namespace
} // namespace openplug
