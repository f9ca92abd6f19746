// The most probable next tokens: for each row of logits [B, V] the `count` largest among the first `num_real`, largest
// first (of equal ones the smaller id), and the log-sum-exp over the whole row.
//
// Rows are read twice. The count-th largest of the maxima of blocks is a bound that the wanted logits reach, so only
// the few blocks that reach it are looked into.
// Why: the library's top-k and log-sum-exp take longer than the rest of a small model's decoding step.
#include <ATen/Parallel.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "simd.h"

namespace openplug {
namespace {

constexpr int64_t blockSize = 64;

// The largest of each block of `count` logits; the largest of all.
template <typename T>
KERNEL_INLINE void blockMaximaBody(Compute<T>* maxima, const T* logits, int64_t count) {
  for (int64_t first = 0, b = 0; first < count; first += blockSize, ++b) {
    const int64_t last = first + blockSize < count ? first + blockSize : count;
    Compute<T> largest = -INFINITY;
#pragma omp simd reduction(max : largest)
    for (int64_t j = first; j < last; ++j) {
      const Compute<T> logit = load(logits[j]);
      largest = logit > largest ? logit : largest;
    }
    maxima[b] = largest;
  }
}

template <typename T>
KERNEL_INLINE void sumExponentialsBody(double* total, const T* logits, int64_t count, Compute<T> largest) {
  *total = 0;
  for (int64_t first = 0; first < count; first += 1024) {
    const int64_t last = first + 1024 < count ? first + 1024 : count;
    Compute<T> sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = first; j < last; ++j) sum += expNonPositive(load(logits[j]) - largest);
    *total += sum;
  }
}
KERNEL_MULTIVERSION(blockMaxima)
KERNEL_MULTIVERSION(sumExponentials)

template <typename T>
void rowCandidates(Compute<T>* values, int32_t* ids, Compute<T>* normalizer, const T* logits, int64_t classes,
                   int64_t numReal, int64_t count) {
  using C = Compute<T>;
  std::vector<C> maxima(static_cast<size_t>((classes + blockSize - 1) / blockSize));
  blockMaxima(maxima.data(), logits, classes);
  const C largest = *std::max_element(maxima.begin(), maxima.end());
  double total = 0;
  sumExponentials(&total, logits, classes, largest);
  *normalizer = static_cast<C>(largest + std::log(total));
  // Blocks that hold padding only, or in part, say nothing about real tokens.
  std::vector<C> bounds(maxima.begin(), maxima.begin() + numReal / blockSize);
  C bound = -INFINITY;
  if (count < static_cast<int64_t>(bounds.size())) {
    std::nth_element(bounds.begin(), bounds.begin() + count, bounds.end(), std::greater<C>());
    bound = bounds[static_cast<size_t>(count)];
  }
  using Candidate = std::pair<C, int32_t>;
  std::vector<Candidate> found;
  for (int64_t b = 0; b * blockSize < numReal; ++b) {
    if (maxima[static_cast<size_t>(b)] < bound) continue;
    for (int64_t j = b * blockSize; j < std::min(numReal, (b + 1) * blockSize); ++j)
      if (load(logits[j]) >= bound) found.emplace_back(load(logits[j]), static_cast<int32_t>(j)); // not NaN
  }
  const size_t given = std::min<size_t>(found.size(), static_cast<size_t>(count));
  std::partial_sort(found.begin(), found.begin() + given, found.end(), [](const Candidate& a, const Candidate& b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
  });
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    values[i] = i < given ? found[i].first : -INFINITY;
    ids[i] = i < given ? found[i].second : 0;
  }
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> candidatesCpu(const at::Tensor& input, int64_t numReal, int64_t count) {
  const char* op = "openplug::candidates";
  TORCH_CHECK(input.dim() == 2 && numReal >= 1 && numReal <= input.size(1) && count >= 1 && count <= numReal, op,
              ": expected logits [B, V] and 1 <= count <= num_real <= V, got ", input.sizes(), ", count ", count,
              ", num_real ", numReal);
  const at::Tensor logits = input.contiguous();
  const int64_t rows = logits.size(0), classes = logits.size(1);
  const auto type = logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto options = logits.options().dtype(type);
  const at::Tensor values = at::empty({rows, count}, options), normalizers = at::empty({rows}, options);
  const at::Tensor ids = at::empty({rows, count}, options.dtype(at::kInt));
  dispatchFloating(logits.scalar_type(), op, [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        rowCandidates(dataOf<C>(values) + r * count, dataOf<int32_t>(ids) + r * count, dataOf<C>(normalizers) + r,
                      static_cast<const T*>(dataOf<T>(logits) + r * classes), classes, numReal, count);
    });
  });
  return {values, ids, normalizers};
}

} // namespace
} // namespace openplug

TORCH_LIBRARY_FRAGMENT(openplug, m) {
  m.def("candidates(Tensor logits, int num_real, int count) -> (Tensor values, Tensor ids, Tensor normalizers)");
}
TORCH_LIBRARY_IMPL(openplug, CPU, m) {
  m.impl("candidates", openplug::candidatesCpu);
}
