// Layer normalisation over the last dimension (Ba et al., 2016), forward and backward in one pass each, with the cast
// to another storage dtype on the way out.
//
// x [..., E]; weight and bias [E] in fp32, then x and the result are fp32 or bf16 in any pairing; or all in fp64. Mean
// and biased variance come from two passes over the row, in fp32 (fp64); x, mean and 1/deviation are saved. The
// gradient of x has its dtype; those of weight and bias are fp32 (fp64) sums over blocks of 64 rows, added in order:
// the same bits for any number of threads.
// Why: a bf16 matrix product after an fp32 residual stream costs a cast of the library's result each way, and small
// rows cost more in its calls than in arithmetic. CPU time on one AVX-512 thread, forward and backward of fp32 to bf16:
// [2048, 512] 0.45 ms against 1.0 ms, [2048, 2048] 3.5 against 6.5.
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "simd.h"

namespace openplug {
namespace {

constexpr int64_t rowBlock = 64;

// Rows [begin, end) of `out`, their means and 1/sqrt(variance + eps).
template <typename X, typename Y>
KERNEL_INLINE void normRowsBody(Y* out, Compute<X>* means, Compute<X>* scales, const X* x,
                                const Compute<X>* __restrict weight, const Compute<X>* __restrict bias, Compute<X> eps,
                                int64_t columns, int64_t begin, int64_t end) {
  using C = Compute<X>;
  for (int64_t r = begin; r < end; ++r) {
    const X* __restrict xRow = x + r * columns;
    Y* __restrict outRow = out + r * columns;
    C sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < columns; ++j) sum += load(xRow[j]);
    const C nearMean = sum / static_cast<C>(columns);
    C rest = 0, squares = 0;
#pragma omp simd reduction(+ : rest, squares)
    for (int64_t j = 0; j < columns; ++j) {
      const C d = load(xRow[j]) - nearMean;
      rest += d;
      squares += d * d;
    }
    rest /= static_cast<C>(columns); // what rounding left out of the mean: matters when it is large
    const C mean = nearMean + rest;
    const C scale = C(1) / std::sqrt(squares / static_cast<C>(columns) - rest * rest + eps);
    means[r] = mean;
    scales[r] = scale;
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) outRow[j] = narrow<Y>((load(xRow[j]) - mean) * scale * weight[j] + bias[j]);
  }
}

// Gradient of x for rows [begin, end), and in `sums` [2, E] those rows' part of the gradients of weight and bias. With
// h = (x - mean) * scale and u = grad * weight: gradX = (u - mean(u) - h * mean(u * h)) * scale.
template <typename X, typename Y>
KERNEL_INLINE void normRowsGradientBody(X* gradX, Compute<X>* __restrict sums, const Y* grad, const X* x,
                                        const Compute<X>* __restrict weight, const Compute<X>* means,
                                        const Compute<X>* scales, int64_t columns, int64_t begin, int64_t end) {
  using C = Compute<X>;
  C* __restrict weightSums = sums;
  C* __restrict biasSums = sums + columns;
  for (int64_t j = 0; j < 2 * columns; ++j) sums[j] = 0;
  for (int64_t r = begin; r < end; ++r) {
    const X* __restrict xRow = x + r * columns;
    const Y* __restrict gradRow = grad + r * columns;
    X* __restrict outRow = gradX + r * columns;
    const C mean = means[r], scale = scales[r];
    C sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
    for (int64_t j = 0; j < columns; ++j) {
      const C g = load(gradRow[j]), h = (load(xRow[j]) - mean) * scale, u = g * weight[j];
      weightSums[j] += g * h;
      biasSums[j] += g;
      sum += u;
      dot += u * h;
    }
    sum /= static_cast<C>(columns);
    dot /= static_cast<C>(columns);
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) {
      const C h = (load(xRow[j]) - mean) * scale;
      outRow[j] = narrow<X>((load(gradRow[j]) * weight[j] - sum - h * dot) * scale);
    }
  }
}

// Adds up `sums` [blocks, 2, E] over the blocks, in order.
template <typename C>
KERNEL_INLINE void addBlocksBody(C* __restrict weight, C* __restrict bias, const C* __restrict sums, int64_t blocks,
                                 int64_t columns) {
  for (int64_t b = 0; b < blocks; ++b) {
    const C* __restrict block = sums + 2 * b * columns;
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) {
      weight[j] += block[j];
      bias[j] += block[columns + j];
    }
  }
}
KERNEL_MULTIVERSION(normRows)
KERNEL_MULTIVERSION(normRowsGradient)
KERNEL_MULTIVERSION(addBlocks)

void checkArguments(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, at::ScalarType outType) {
  const char* op = "openplug::layer_norm";
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 1 && weight.size(0) == x.size(-1) && bias.sizes() == weight.sizes(), op,
              ": expected x [..., E], weight and bias [E], got ", x.sizes(), ", ", weight.sizes(), " and ",
              bias.sizes());
  const auto parameters = weight.scalar_type();
  TORCH_CHECK((parameters == at::kFloat || parameters == at::kDouble) && bias.scalar_type() == parameters, op,
              ": weight and bias must both be float32 or both float64, got ", parameters, " and ", bias.scalar_type());
  for (const auto type : {x.scalar_type(), outType}) {
    TORCH_CHECK(parameters == at::kDouble ? type == at::kDouble : type == at::kFloat || type == at::kBFloat16, op,
                ": with ", parameters, " weights x and the result must be ",
                parameters == at::kDouble ? "float64" : "float32 or bfloat16", ", got ", type);
  }
}

// Calls body(x tag, result tag) for the pairs that checkArguments lets through.
template <typename Body>
void dispatchPair(at::ScalarType x, at::ScalarType result, Body body) {
  if (x == at::kDouble) return body(double{}, double{});
  if (x == at::kFloat) return result == at::kFloat ? body(float{}, float{}) : body(float{}, Bf16{});
  return result == at::kFloat ? body(Bf16{}, float{}) : body(Bf16{}, Bf16{});
}

int64_t rowsOf(const at::Tensor& x) { return x.numel() == 0 ? 0 : x.numel() / x.size(-1); }

struct Forward {
  at::Tensor out, x, mean, scale; // x contiguous; mean and scale [rows]
};

Forward layerNormForward(const at::Tensor& input, const at::Tensor& weightInput, const at::Tensor& biasInput, double eps,
                         at::ScalarType outType) {
  checkArguments(input, weightInput, biasInput, outType);
  const at::Tensor x = input.contiguous(), weight = weightInput.contiguous(), bias = biasInput.contiguous();
  const int64_t columns = x.size(-1), rows = rowsOf(x);
  Forward result{at::empty(x.sizes(), x.options().dtype(outType)), x, at::empty({rows}, weight.options()),
                 at::empty({rows}, weight.options())};
  if (rows == 0) return result;
  dispatchPair(x.scalar_type(), outType, [&](auto xTag, auto outTag) {
    using X = decltype(xTag);
    using Y = decltype(outTag);
    using C = Compute<X>;
    at::parallel_for(0, rows, 1 + 16384 / columns, [&](int64_t begin, int64_t end) {
      normRows(dataOf<Y>(result.out), dataOf<C>(result.mean), dataOf<C>(result.scale),
               static_cast<const X*>(dataOf<X>(x)), static_cast<const C*>(dataOf<C>(weight)),
               static_cast<const C*>(dataOf<C>(bias)), static_cast<C>(eps), columns, begin, end);
    });
  });
  return result;
}

// Gradients of x, weight and bias.
std::tuple<at::Tensor, at::Tensor, at::Tensor> layerNormBackward(const at::Tensor& gradInput, const at::Tensor& x,
                                                                 const at::Tensor& weightInput, const at::Tensor& mean,
                                                                 const at::Tensor& scale) {
  const at::Tensor grad = gradInput.contiguous(), weight = weightInput.contiguous();
  const int64_t columns = weight.size(0), rows = rowsOf(x), blocks = (rows + rowBlock - 1) / rowBlock;
  at::Tensor gradX = at::empty(x.sizes(), x.options());
  const at::Tensor gradWeight = at::zeros({columns}, weight.options());
  const at::Tensor gradBias = at::zeros({columns}, weight.options());
  if (rows > 0) {
    const at::Tensor sums = at::empty({blocks, 2, columns}, weight.options());
    dispatchPair(x.scalar_type(), grad.scalar_type(), [&](auto xTag, auto gradTag) {
      using X = decltype(xTag);
      using Y = decltype(gradTag);
      using C = Compute<X>;
      at::parallel_for(0, blocks, 1 + 16384 / (columns * rowBlock), [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          normRowsGradient(dataOf<X>(gradX), dataOf<C>(sums) + 2 * b * columns, static_cast<const Y*>(dataOf<Y>(grad)),
                           static_cast<const X*>(dataOf<X>(x)), static_cast<const C*>(dataOf<C>(weight)),
                           static_cast<const C*>(dataOf<C>(mean)), static_cast<const C*>(dataOf<C>(scale)), columns,
                           b * rowBlock, std::min(rows, (b + 1) * rowBlock));
        }
      });
      addBlocks(dataOf<C>(gradWeight), dataOf<C>(gradBias), static_cast<const C*>(dataOf<C>(sums)), blocks, columns);
    });
  }
  return {gradX, gradWeight, gradBias};
}

at::Tensor layerNormCpu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps,
                        at::ScalarType outType) {
  return layerNormForward(x, weight, bias, eps, outType).out;
}

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct LayerNormFunction : torch::autograd::Function<LayerNormFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            double eps, at::ScalarType outType) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Forward result = layerNormForward(x, weight, bias, eps, outType);
    ctx->save_for_backward({result.x, weight, result.mean, result.scale});
    return result.out;
  }
  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto [gradX, gradWeight, gradBias] = layerNormBackward(grads[0], saved[0], saved[1], saved[2], saved[3]);
    return {gradX, gradWeight, gradBias, at::Tensor(), at::Tensor()};
  }
};

at::Tensor layerNormAutograd(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps,
                             at::ScalarType outType) {
  return LayerNormFunction::apply(x, weight, bias, eps, outType);
}

} // namespace
} // namespace openplug

TORCH_LIBRARY_FRAGMENT(openplug, m) {
  m.def("layer_norm(Tensor x, Tensor weight, Tensor bias, float eps, ScalarType out_dtype) -> Tensor");
}
TORCH_LIBRARY_IMPL(openplug, CPU, m) {
  m.impl("layer_norm", openplug::layerNormCpu);
}
TORCH_LIBRARY_IMPL(openplug, AutogradCPU, m) {
  m.impl("layer_norm", openplug::layerNormAutograd);
}
