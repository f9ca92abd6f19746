// Makes the rows of x ready for a product with a packed weight: 32-bit groups of the numbers that one step multiplies
// (tile.h). For int8 and int4 weights each row is quantised, its largest number being 127.
#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "../simd.h"
#include "format.h"

namespace openplug {

// One row of float numbers as groups; `groups` has room for whole groups, the rest of the last one is zero.
KERNEL_INLINE void groupRowBody(Bf16* __restrict groups, const float* __restrict row, int64_t count) {
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) groups[k] = narrow<Bf16>(row[k]);
  if (count % 2) groups[count] = Bf16{};
}
KERNEL_MULTIVERSION(groupRow)

template <typename T>
KERNEL_INLINE void widenRowBody(float* __restrict out, const T* __restrict row, int64_t count) {
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) out[k] = load(row[k]);
}
KERNEL_MULTIVERSION(widenRow)

// Quantises one row to bytes around `zero` (128: unsigned; 0: signed), as many as `room`; its scale.
template <typename T>
KERNEL_INLINE void quantiseRowBody(uint8_t* __restrict bytes, float* scale, const T* __restrict row, int64_t count,
                                   int64_t room, int zero) {
  float largest = 0.0f, strange = 0.0f; // 0, or NaN when a number is not finite
#pragma omp simd reduction(max : largest) reduction(+ : strange)
  for (int64_t k = 0; k < count; ++k) {
    const float size = std::fabs(load(row[k]));
    largest = size > largest ? size : largest;
    strange += size * 0.0f;
  }
  *scale = largest / 127.0f + strange;
  const float inverse = largest > 1e-36f ? 127.0f / largest : 0.0f; // 0 where it would overflow
  const float nearest = 12582912.0f + static_cast<float>(zero);
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) {
    // Adding 1.5 * 2^23 rounds to the nearest integer, which then stands in the lowest bits.
    bytes[k] = static_cast<uint8_t>(floatToBits(load(row[k]) * inverse + nearest));
  }
  for (int64_t k = count; k < room; ++k) bytes[k] = static_cast<uint8_t>(zero);
}
KERNEL_MULTIVERSION(quantiseRow)

// For int4, whose weights have 8 added: -8 * the sum of each group.
KERNEL_INLINE void correctRowBody(int32_t* __restrict corrections, const int8_t* __restrict bytes, int64_t groups) {
  for (int64_t g = 0; g < groups; ++g) {
    int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < groupInputs; ++k) sum += bytes[g * groupInputs + k];
    corrections[g] = -8 * sum;
  }
}
KERNEL_MULTIVERSION(correctRow)

// The rows of x as groups; their scales if they are quantised; for int4 the corrections of their groups [rows, groups].
struct Activations {
  at::Tensor groups, rowScales, corrections;
  int64_t rowStride; // 32-bit groups of a row
};

inline Activations groupActivations(const at::Tensor& input, Precision precision) {
  const at::Tensor x = input.contiguous();
  const int64_t inputs = x.size(-1), rows = x.numel() / std::max<int64_t>(inputs, 1);
  if (precision == Precision::float32 && x.scalar_type() == at::kFloat) return {x, {}, {}, inputs};
  if (precision == Precision::bfloat16 && x.scalar_type() == at::kBFloat16 && inputs % 2 == 0)
    return {x, {}, {}, inputs / 2};
  const bool isInt4 = precision == Precision::int4, isQuantised = isInt4 || precision == Precision::int8;
  const int64_t weightGroups = quotientUp(inputs, groupInputs);
  const int64_t stride = isInt4 ? weightGroups * (groupInputs / 4) : stepsOf(precision, inputs);
  Activations result{at::empty({rows, stride}, x.options().dtype(at::kInt)), {}, {}, stride};
  if (isQuantised) result.rowScales = at::empty({rows}, x.options().dtype(at::kFloat));
  if (isInt4) result.corrections = at::empty({rows, weightGroups}, x.options().dtype(at::kInt));
  auto* groups = static_cast<uint32_t*>(result.groups.data_ptr());
  dispatchFloating(x.scalar_type(), "openplug::packed_linear", [&](auto tag) {
    using T = decltype(tag);
    if constexpr (!std::is_same_v<T, double>) {
      const T* data = dataOf<T>(x);
      at::parallel_for(0, rows, 1 + 32768 / inputs, [&](int64_t begin, int64_t end) {
        std::vector<float> wide(static_cast<size_t>(inputs));
        for (int64_t r = begin; r < end; ++r) {
          uint32_t* to = groups + r * stride;
          const T* row = data + r * inputs;
          if (isQuantised) {
            quantiseRow(reinterpret_cast<uint8_t*>(to), dataOf<float>(result.rowScales) + r, row, inputs, 4 * stride,
                        isInt4 ? 0 : 128);
            if (isInt4)
              correctRow(dataOf<int32_t>(result.corrections) + r * weightGroups,
                         reinterpret_cast<const int8_t*>(to), weightGroups);
          } else if (precision == Precision::float32) {
            widenRow(reinterpret_cast<float*>(to), row, inputs);
          } else {
            widenRow(wide.data(), row, inputs);
            groupRow(reinterpret_cast<Bf16*>(to), static_cast<const float*>(wide.data()), inputs);
          }
        }
      });
    }
  });
  return result;
}

} // namespace openplug
