// AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019) over whole lists of tensors in
// one parallel pass, with the gradient-clipping factor applied on the fly, and the sum of squares that clipping needs.
//
// The arithmetic is torch.optim.AdamW's: p *= 1 - lr*wd; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
// p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps). Work is cut in chunks of fixed size, so results have the same
// bits for any number of threads.
// Why: the library's operators need ten passes over each tensor. Measured on two AVX-512 cores, 6M parameters: the step
// 2.3 ms against 4.4 ms, the sum of squares 0.23 ms against 0.78 ms.
#include <vector>

#include "simd.h"

namespace openplug {
namespace {

constexpr int64_t chunkSize = 16384;

struct Chunk {
  size_t tensor;
  int64_t begin, count;
};

std::vector<Chunk> cutInChunks(at::TensorList tensors) {
  std::vector<Chunk> chunks;
  for (size_t t = 0; t < tensors.size(); ++t) {
    for (int64_t begin = 0; begin < tensors[t].numel(); begin += chunkSize) {
      chunks.push_back({t, begin, std::min(chunkSize, tensors[t].numel() - begin)});
    }
  }
  return chunks;
}

// Factors of one step, computed in double and rounded once, as the library's operators do.
struct StepFactors {
  double decay, beta1, oneMinusBeta1, beta2, oneMinusBeta2, rootCorrection2, eps, stepSize, gradScale;
};

template <typename P, typename G>
KERNEL_INLINE void adamwChunkBody(P* __restrict param, const G* __restrict grad, P* __restrict expAvg,
                                  P* __restrict expAvgSq, int64_t count, const StepFactors* f) {
  const P decay = static_cast<P>(f->decay), beta1 = static_cast<P>(f->beta1), beta2 = static_cast<P>(f->beta2);
  const P oneMinusBeta1 = static_cast<P>(f->oneMinusBeta1), oneMinusBeta2 = static_cast<P>(f->oneMinusBeta2);
  const P rootCorrection2 = static_cast<P>(f->rootCorrection2), eps = static_cast<P>(f->eps);
  const P stepSize = static_cast<P>(f->stepSize), gradScale = static_cast<P>(f->gradScale);
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const P g = static_cast<P>(load(grad[i])) * gradScale;
    const P m = expAvg[i] * beta1 + g * oneMinusBeta1;
    const P v = expAvgSq[i] * beta2 + g * g * oneMinusBeta2;
    expAvg[i] = m;
    expAvgSq[i] = v;
    param[i] = param[i] * decay - stepSize * (m / (std::sqrt(v) / rootCorrection2 + eps));
  }
}
KERNEL_MULTIVERSION(adamwChunk)

template <typename T>
KERNEL_INLINE void sumSquaresChunkBody(const T* __restrict x, int64_t count, double* out) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    const double value = static_cast<double>(load(x[i]));
    sum += value * value;
  }
  *out = sum;
}
KERNEL_MULTIVERSION(sumSquaresChunk)

void checkLists(at::TensorList params, at::TensorList grads, at::TensorList expAvgs, at::TensorList expAvgSqs) {
  const char* op = "openplug::adamw_";
  TORCH_CHECK(grads.size() == params.size() && expAvgs.size() == params.size() && expAvgSqs.size() == params.size(), op,
              ": the four lists must have one length, got ", params.size(), ", ", grads.size(), ", ", expAvgs.size(),
              ", ", expAvgSqs.size());
  for (size_t i = 0; i < params.size(); ++i) {
    const at::Tensor &p = params[i], &g = grads[i];
    for (const at::Tensor& tensor : {p, g, expAvgs[i], expAvgSqs[i]}) {
      TORCH_CHECK(tensor.defined() && tensor.is_cpu(), op, ": the gradient or another tensor of parameter ", i,
                  " is undefined or not on the CPU; leave parameters without gradient out of the lists");
    }
    TORCH_CHECK(p.scalar_type() == at::kFloat || p.scalar_type() == at::kDouble, op, ": parameter ", i,
                " must be float32 or float64, got ", p.scalar_type(), "; keep a float32 master copy");
    TORCH_CHECK(g.scalar_type() == p.scalar_type() || g.scalar_type() == at::kBFloat16, op, ": gradient ", i,
                " must be ", p.scalar_type(), " like its parameter or bfloat16, got ", g.scalar_type());
    TORCH_CHECK(expAvgs[i].scalar_type() == p.scalar_type() && expAvgSqs[i].scalar_type() == p.scalar_type(), op,
                ": the moments of parameter ", i, " must be ", p.scalar_type(), " like it, got ",
                expAvgs[i].scalar_type(), " and ", expAvgSqs[i].scalar_type());
    TORCH_CHECK(g.sizes() == p.sizes() && expAvgs[i].sizes() == p.sizes() && expAvgSqs[i].sizes() == p.sizes(), op,
                ": tensors of parameter ", i, " must have its shape ", p.sizes(), ", got gradient ", g.sizes(),
                ", moments ", expAvgs[i].sizes(), " and ", expAvgSqs[i].sizes());
    TORCH_CHECK(p.is_contiguous() && expAvgs[i].is_contiguous() && expAvgSqs[i].is_contiguous(), op, ": parameter ", i,
                " and its moments must be contiguous: they are updated in place");
  }
}

void adamwCpu(at::TensorList params, at::TensorList gradInputs, at::TensorList expAvgs, at::TensorList expAvgSqs,
              double lr, double beta1, double beta2, double eps, double weightDecay, int64_t step, double gradScale) {
  checkLists(params, gradInputs, expAvgs, expAvgSqs);
  TORCH_CHECK(step >= 1, "openplug::adamw_: step counts from 1, got ", step);
  const double correction1 = 1.0 - std::pow(beta1, static_cast<double>(step));
  const double correction2 = 1.0 - std::pow(beta2, static_cast<double>(step));
  const StepFactors factors{1.0 - lr * weightDecay, beta1, 1.0 - beta1, beta2, 1.0 - beta2, std::sqrt(correction2), eps,
                            lr / correction1, gradScale};
  std::vector<at::Tensor> grads;
  for (const at::Tensor& grad : gradInputs) grads.push_back(grad.contiguous());
  const std::vector<Chunk> chunks = cutInChunks(params);
  at::parallel_for(0, static_cast<int64_t>(chunks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const Chunk& chunk = chunks[static_cast<size_t>(c)];
      const size_t t = chunk.tensor;
      dispatchFloating(params[t].scalar_type(), "openplug::adamw_", [&](auto paramTag) {
        using P = Compute<decltype(paramTag)>;
        dispatchFloating(grads[t].scalar_type(), "openplug::adamw_", [&](auto gradTag) {
          using G = decltype(gradTag);
          adamwChunk(dataOf<P>(params[t]) + chunk.begin, static_cast<const G*>(dataOf<G>(grads[t]) + chunk.begin),
                     dataOf<P>(expAvgs[t]) + chunk.begin, dataOf<P>(expAvgSqs[t]) + chunk.begin, chunk.count, &factors);
        });
      });
    }
  });
}

// Tells autograd that the tensors changed, so that a graph which saved the old values cannot be used by mistake.
void adamwAutograd(at::TensorList params, at::TensorList grads, at::TensorList expAvgs, at::TensorList expAvgSqs,
                   double lr, double beta1, double beta2, double eps, double weightDecay, int64_t step,
                   double gradScale) {
  at::AutoDispatchBelowADInplaceOrView guard;
  adamwCpu(params, grads, expAvgs, expAvgSqs, lr, beta1, beta2, eps, weightDecay, step, gradScale);
  for (const auto& list : {params, expAvgs, expAvgSqs}) {
    for (const at::Tensor& tensor : list) {
      if (!tensor.is_inference()) tensor.unsafeGetTensorImpl()->bump_version();
    }
  }
}

at::Tensor sumOfSquaresCpu(at::TensorList inputs) {
  std::vector<at::Tensor> tensors;
  for (const at::Tensor& input : inputs) {
    TORCH_CHECK(input.defined() && input.is_cpu(), "openplug::sum_of_squares: tensor ", tensors.size(),
                " is undefined or not on the CPU");
    tensors.push_back(input.contiguous());
  }
  const std::vector<Chunk> chunks = cutInChunks(tensors);
  std::vector<double> sums(chunks.size());
  at::parallel_for(0, static_cast<int64_t>(chunks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const Chunk& chunk = chunks[static_cast<size_t>(c)];
      const at::Tensor& tensor = tensors[chunk.tensor];
      dispatchFloating(tensor.scalar_type(), "openplug::sum_of_squares", [&](auto tag) {
        using T = decltype(tag);
        sumSquaresChunk(static_cast<const T*>(dataOf<T>(tensor) + chunk.begin), chunk.count,
                        &sums[static_cast<size_t>(c)]);
      });
    }
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return at::scalar_tensor(total, at::TensorOptions().dtype(at::kDouble));
}

} // namespace
} // namespace openplug

TORCH_LIBRARY_FRAGMENT(openplug, m) {
  m.def("adamw_(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] exp_avgs, Tensor(c!)[] exp_avg_sqs, float lr, "
        "float beta1, float beta2, float eps, float weight_decay, int step, float grad_scale) -> ()");
  m.def("sum_of_squares(Tensor[] tensors) -> Tensor");
}
// Not the CPU key: an empty list has no device, and is fine.
TORCH_LIBRARY_IMPL(openplug, CompositeExplicitAutograd, m) {
  m.impl("adamw_", openplug::adamwCpu);
  m.impl("sum_of_squares", openplug::sumOfSquaresCpu);
}
TORCH_LIBRARY_IMPL(openplug, AutogradCPU, m) {
  m.impl("adamw_", openplug::adamwAutograd);
}
