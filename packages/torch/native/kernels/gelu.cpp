// gelu(x + bias) in the exact form u * Phi(u) (Hendrycks and Gimpel, 2016), forward and backward in one pass each.
//
// x [..., N] and bias [N] of one dtype; only they are saved, u = x + bias is made again. The derivative is
// Phi(u) + u * phi(u). The bias gradient sums blocks of 64 rows in order, in fp32: the same bits for any number of
// threads.
// Why: the library adds in a pass of its own and stores the sum for the backward pass. Measured on two AVX-512 cores,
// [4096, 2048]: bfloat16 forward 4.4 ms against 7.4 ms, forward and backward 5.9 against 7.3; float32 22 against 33.
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "normal.h"

namespace openplug {
namespace {

constexpr int64_t rowBlock = 64;

template <typename T>
KERNEL_INLINE void geluRowsBody(T* __restrict out, const T* __restrict x, const T* __restrict bias, int64_t columns,
                                int64_t begin, int64_t end) {
  using C = Compute<T>;
  for (int64_t r = begin; r < end; ++r) {
    const T* __restrict xRow = x + r * columns;
    T* __restrict outRow = out + r * columns;
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) {
      const C u = load(xRow[j]) + load(bias[j]);
      C distribution, density;
      normal(u, distribution, density);
      outRow[j] = narrow<T>(u * distribution);
    }
  }
}

// Gradient of x for rows [begin, end), and their column sums in `sums`.
template <typename T>
KERNEL_INLINE void geluRowsGradientBody(T* __restrict gradX, Compute<T>* __restrict sums, const T* __restrict grad,
                                        const T* __restrict x, const T* __restrict bias, int64_t columns, int64_t begin,
                                        int64_t end) {
  using C = Compute<T>;
  for (int64_t j = 0; j < columns; ++j) sums[j] = 0;
  for (int64_t r = begin; r < end; ++r) {
    const T* __restrict gradRow = grad + r * columns;
    const T* __restrict xRow = x + r * columns;
    T* __restrict outRow = gradX + r * columns;
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) {
      const C u = load(xRow[j]) + load(bias[j]);
      C distribution, density;
      normal(u, distribution, density);
      const C g = load(gradRow[j]) * (distribution + u * density);
      outRow[j] = narrow<T>(g);
      sums[j] += g;
    }
  }
}
KERNEL_MULTIVERSION(geluRows)
KERNEL_MULTIVERSION(geluRowsGradient)

void checkArguments(const at::Tensor& x, const at::Tensor& bias) {
  const char* op = "openplug::gelu_bias";
  TORCH_CHECK(x.dim() >= 1 && bias.dim() == 1 && bias.size(0) == x.size(-1), op,
              ": expected x [..., N] and bias [N], got ", x.sizes(), " and ", bias.sizes());
  TORCH_CHECK(x.scalar_type() == bias.scalar_type(), op, ": x and bias must have one dtype, got ", x.scalar_type(),
              " and ", bias.scalar_type());
}

at::Tensor geluBiasCpu(const at::Tensor& input, const at::Tensor& biasInput) {
  checkArguments(input, biasInput);
  const at::Tensor x = input.contiguous(), bias = biasInput.contiguous();
  at::Tensor out = at::empty(x.sizes(), x.options());
  const int64_t columns = bias.size(0);
  if (x.numel() == 0) return out;
  dispatchFloating(x.scalar_type(), "openplug::gelu_bias", [&](auto tag) {
    using T = decltype(tag);
    at::parallel_for(0, x.numel() / columns, 1 + 8192 / columns, [&](int64_t begin, int64_t end) {
      geluRows(dataOf<T>(out), static_cast<const T*>(dataOf<T>(x)), static_cast<const T*>(dataOf<T>(bias)), columns,
               begin, end);
    });
  });
  return out;
}

std::vector<at::Tensor> geluBiasBackward(const at::Tensor& gradInput, const at::Tensor& input,
                                         const at::Tensor& biasInput) {
  const at::Tensor grad = gradInput.contiguous(), x = input.contiguous(), bias = biasInput.contiguous();
  at::Tensor gradX = at::empty(x.sizes(), x.options());
  const int64_t columns = bias.size(0);
  if (x.numel() == 0) return {gradX, at::zeros_like(bias)};
  const int64_t rows = x.numel() / columns, blocks = (rows + rowBlock - 1) / rowBlock;
  const auto sumType = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor sums = at::empty({blocks, columns}, x.options().dtype(sumType));
  dispatchFloating(x.scalar_type(), "openplug::gelu_bias backward", [&](auto tag) {
    using T = decltype(tag);
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        geluRowsGradient(dataOf<T>(gradX), dataOf<Compute<T>>(sums) + b * columns, static_cast<const T*>(dataOf<T>(grad)),
                         static_cast<const T*>(dataOf<T>(x)), static_cast<const T*>(dataOf<T>(bias)), columns,
                         b * rowBlock, std::min(rows, (b + 1) * rowBlock));
      }
    });
  });
  for (int64_t b = 1; b < blocks; ++b) sums.select(0, 0).add_(sums.select(0, b));
  return {gradX, sums.select(0, 0).to(bias.scalar_type())};
}

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct GeluBiasFunction : torch::autograd::Function<GeluBiasFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& bias) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, bias});
    return geluBiasCpu(x, bias);
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    return geluBiasBackward(grads[0], saved[0], saved[1]);
  }
};

at::Tensor geluBiasAutograd(const at::Tensor& x, const at::Tensor& bias) { return GeluBiasFunction::apply(x, bias); }

} // namespace
} // namespace openplug

TORCH_LIBRARY_FRAGMENT(openplug, m) {
  m.def("gelu_bias(Tensor x, Tensor bias) -> Tensor");
}
TORCH_LIBRARY_IMPL(openplug, CPU, m) {
  m.impl("gelu_bias", openplug::geluBiasCpu);
}
TORCH_LIBRARY_IMPL(openplug, AutogradCPU, m) {
  m.impl("gelu_bias", openplug::geluBiasAutograd);
}
