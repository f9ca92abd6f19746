// Attention of one new token in each row of a batch to keys and values that are kept: its own text's (which it first
// joins), or the source's.
//
// keys and values [R, H, L, D], of which a prefix of each row is filled. Scores and sums are fp32 (fp64 for fp64).
// Why: the general kernel copies the whole cache and makes matrix products of one row.
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "simd.h"

namespace openplug {
namespace {

// One head of one row: out [D] = softmax(scale * q · keysᵀ) · values over `count` keys.
template <typename T>
KERNEL_INLINE void attendRowBody(T* __restrict out, const T* __restrict q, const T* keys, const T* values,
                                 Compute<T>* __restrict scores, Compute<T>* __restrict sums, int64_t count,
                                 int64_t depth, Compute<T> scale) {
  using C = Compute<T>;
  C largest = -INFINITY;
  for (int64_t j = 0; j < count; ++j) {
    const T* __restrict key = keys + j * depth;
    C dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t d = 0; d < depth; ++d) dot += load(q[d]) * load(key[d]);
    scores[j] = dot * scale;
    largest = scores[j] > largest ? scores[j] : largest;
  }
  C total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t j = 0; j < count; ++j) {
    const C e = expNonPositive(scores[j] - largest);
    scores[j] = e;
    total += e;
  }
  for (int64_t d = 0; d < depth; ++d) sums[d] = 0;
  for (int64_t j = 0; j < count; ++j) {
    const T* __restrict value = values + j * depth;
    const C weight = scores[j];
#pragma omp simd
    for (int64_t d = 0; d < depth; ++d) sums[d] += weight * load(value[d]);
  }
  const C inverse = C(1) / total;
#pragma omp simd
  for (int64_t d = 0; d < depth; ++d) out[d] = narrow<T>(sums[d] * inverse);
}
KERNEL_MULTIVERSION(attendRow)

struct Sizes {
  int64_t rows, heads, length, depth;
};

Sizes checkArguments(const at::Tensor& projected, int64_t parts, const at::Tensor& keys, const at::Tensor& values,
                     const char* op) {
  TORCH_CHECK(keys.dim() == 4 && keys.sizes() == values.sizes() && keys.is_contiguous() && values.is_contiguous(), op,
              ": keys and values must be contiguous [R, H, L, D], got ", keys.sizes(), " and ", values.sizes());
  TORCH_CHECK(projected.dim() == 2 && projected.size(1) == parts * keys.size(1) * keys.size(3), op,
              ": expected projections [B, ", parts * keys.size(1) * keys.size(3), "] for keys ", keys.sizes(), ", got ",
              projected.sizes());
  TORCH_CHECK(projected.scalar_type() == keys.scalar_type() && keys.scalar_type() == values.scalar_type(), op,
              ": projections, keys and values must have one dtype, got ", projected.scalar_type(), ", ",
              keys.scalar_type(), " and ", values.scalar_type());
  return {projected.size(0), keys.size(1), keys.size(2), keys.size(3)};
}

const int64_t* checkIntegers(const at::Tensor& tensor, int64_t count, const char* what, const char* op) {
  TORCH_CHECK(tensor.scalar_type() == at::kLong && tensor.dim() == 1 && tensor.size(0) == count && tensor.is_contiguous(),
              op, ": ", what, " must be contiguous int64 [", count, "], got ", tensor.scalar_type(), " ", tensor.sizes());
  return static_cast<const int64_t*>(tensor.data_ptr());
}

// attend(row, head, row scratch of L, scratch of D) for all rows and heads, in parallel where there is enough to do.
template <typename C, typename Attend>
void forEachHead(const Sizes& sizes, Attend attend) {
  const int64_t grain = 1 + 16384 / std::max<int64_t>(sizes.length * sizes.depth, 1);
  at::parallel_for(0, sizes.rows * sizes.heads, grain, [&](int64_t begin, int64_t end) {
    std::vector<C> scores(static_cast<size_t>(sizes.length)), sums(static_cast<size_t>(sizes.depth));
    for (int64_t i = begin; i < end; ++i) attend(i / sizes.heads, i % sizes.heads, scores.data(), sums.data());
  });
}

// projected [B, 3E] = queries | keys | values of the new tokens, row b's at positions[b] of its text.
at::Tensor selfAttentionStep(const at::Tensor& projectedInput, at::Tensor keys, at::Tensor values,
                             const at::Tensor& positions, double scale) {
  const char* op = "openplug::self_attention_step";
  const Sizes sizes = checkArguments(projectedInput, 3, keys, values, op);
  TORCH_CHECK(keys.size(0) == sizes.rows, op, ": the cache has ", keys.size(0), " rows, the batch ", sizes.rows);
  const int64_t* position = checkIntegers(positions, sizes.rows, "positions", op);
  for (int64_t b = 0; b < sizes.rows; ++b)
    TORCH_CHECK(position[b] >= 0 && position[b] < sizes.length, op, ": the cache holds ", sizes.length,
                " tokens, row ", b, " is at position ", position[b]);
  const at::Tensor projected = projectedInput.contiguous();
  const int64_t width = sizes.heads * sizes.depth;
  at::Tensor out = at::empty({sizes.rows, width}, projected.options());
  dispatchFloating(projected.scalar_type(), op, [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    forEachHead<C>(sizes, [&](int64_t b, int64_t h, C* scores, C* sums) {
      const T* q = dataOf<T>(projected) + b * 3 * width + h * sizes.depth;
      const int64_t head = (b * sizes.heads + h) * sizes.length * sizes.depth, here = position[b] * sizes.depth;
      T* headKeys = dataOf<T>(keys) + head;
      T* headValues = dataOf<T>(values) + head;
      std::memcpy(headKeys + here, q + width, static_cast<size_t>(sizes.depth) * sizeof(T));
      std::memcpy(headValues + here, q + 2 * width, static_cast<size_t>(sizes.depth) * sizeof(T));
      attendRow(dataOf<T>(out) + b * width + h * sizes.depth, q, static_cast<const T*>(headKeys),
                static_cast<const T*>(headValues), scores, sums, position[b] + 1, sizes.depth, static_cast<C>(scale));
    });
  });
  return out;
}

// queries [B, E]; row b attends to the first visible[sources[b]] keys of row sources[b]: rows may share a source.
at::Tensor crossAttentionStep(const at::Tensor& queryInput, const at::Tensor& keys, const at::Tensor& values,
                              const at::Tensor& visible, const at::Tensor& sources, double scale) {
  const char* op = "openplug::cross_attention_step";
  const Sizes sizes = checkArguments(queryInput, 1, keys, values, op);
  const int64_t* counts = checkIntegers(visible, keys.size(0), "visible", op);
  const int64_t* source = checkIntegers(sources, sizes.rows, "sources", op);
  for (int64_t b = 0; b < sizes.rows; ++b)
    TORCH_CHECK(source[b] >= 0 && source[b] < keys.size(0), op, ": row ", b, " has source ", source[b], " of ",
                keys.size(0));
  for (int64_t r = 0; r < keys.size(0); ++r)
    TORCH_CHECK(counts[r] >= 1 && counts[r] <= sizes.length, op, ": source ", r, " shows ", counts[r],
                " keys, expected 1 to ", sizes.length);
  const at::Tensor query = queryInput.contiguous();
  at::Tensor out = at::empty(query.sizes(), query.options());
  const int64_t width = sizes.heads * sizes.depth;
  dispatchFloating(query.scalar_type(), op, [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    forEachHead<C>(sizes, [&](int64_t b, int64_t h, C* scores, C* sums) {
      const int64_t at = b * width + h * sizes.depth;
      const int64_t head = (source[b] * sizes.heads + h) * sizes.length * sizes.depth;
      attendRow(dataOf<T>(out) + at, static_cast<const T*>(dataOf<T>(query) + at),
                static_cast<const T*>(dataOf<T>(keys) + head), static_cast<const T*>(dataOf<T>(values) + head), scores,
                sums, counts[source[b]], sizes.depth, static_cast<C>(scale));
    });
  });
  return out;
}

} // namespace
} // namespace openplug

TORCH_LIBRARY_FRAGMENT(openplug, m) {
  m.def("self_attention_step(Tensor projected, Tensor(a!) keys, Tensor(b!) values, Tensor positions, float scale) -> "
        "Tensor");
  m.def("cross_attention_step(Tensor query, Tensor keys, Tensor values, Tensor visible, Tensor sources, float scale) -> "
        "Tensor");
}
TORCH_LIBRARY_IMPL(openplug, CPU, m) {
  m.impl("self_attention_step", openplug::selfAttentionStep);
  m.impl("cross_attention_step", openplug::crossAttentionStep);
}
