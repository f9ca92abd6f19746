// Packs weights [N, K] for products (linear.cpp) as fp32, bf16, int8 or int4, in panels (tile.h).
//
// int8: each feature has a scale, |W| / 127 at its largest. int4: each group of 64 inputs of a feature has a bf16 scale;
// weights are -8 to 7 times it. Of 16 scales around "largest weight / -8", and / 7 on its other side, the one with the
// smallest squared error is taken; relative to the weights the error is 0.090 for normal ones, where the largest weight
// as 7 gives 0.108. A zero point for each group would need 0.5625 bytes a weight for 0.082, and for that a group of 32
// gives 0.081; fp16 scales change nothing in five digits, and their range is too small for some weights.
// A feature or group that holds infinity or NaN has NaN as its scale, so that its results are NaN as well.
// The CMake file keeps products and sums apart here (no fused ones): every CPU packs the same bytes.
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "../simd.h"
#include "format.h"

namespace openplug {
namespace {

KERNEL_INLINE float widened(c10::Half value) { return static_cast<float>(value); }
template <typename T>
KERNEL_INLINE float widened(T value) { return load(value); }

template <typename T>
KERNEL_INLINE void widenWeightsBody(float* __restrict out, const T* __restrict row, int64_t count) {
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) out[k] = widened(row[k]);
}
KERNEL_MULTIVERSION(widenWeights)

KERNEL_INLINE void narrowWeightsBody(Bf16* __restrict out, const float* __restrict row, int64_t count) {
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) out[k] = narrow<Bf16>(row[k]);
}
KERNEL_MULTIVERSION(narrowWeights)

// Numbers whose size has no finite reciprocal in fp32 count as zeros.
constexpr float smallestSize = 1e-36f;

// A feature as int8; its scale and 128 times its sum.
void quantiseFeature(uint8_t* bytes, float* scale, int32_t* offset, const float* row, int64_t inputs) {
  float largest = 0.0f, strange = 0.0f; // 0, or NaN when a number is not finite
  for (int64_t k = 0; k < inputs; ++k) {
    largest = std::max(largest, std::fabs(row[k]));
    strange += row[k] * 0.0f;
  }
  const float inverse = largest > smallestSize ? 127.0f / largest : 0.0f;
  int32_t sum = 0;
  for (int64_t k = 0; k < inputs && strange == 0.0f; ++k) {
    const auto quantised = static_cast<int8_t>(std::nearbyint(row[k] * inverse));
    std::memcpy(bytes + k, &quantised, 1);
    sum += quantised;
  }
  *scale = largest / 127.0f + strange;
  *offset = 128 * sum;
}

// What the weight of the largest size may be in steps: its own side reaches to 8 if that is the negative one.
constexpr float largestSteps[] = {-8.0f, -8.25f, -8.5f, -8.75f, -9.0f, -9.25f, -9.5f, 7.0f,
                                  7.25f, 7.5f,   7.75f, 8.0f,   8.25f, 8.5f,   8.75f, 9.0f};
constexpr int64_t lanes = 16; // sums are kept in as many parts on every CPU

KERNEL_INLINE float stepOf(float place) { // nearest of -8 to 7
  const float rounded = (place + 12582912.0f) - 12582912.0f; // 1.5 * 2^23
  return rounded < -8.0f ? -8.0f : rounded > 7.0f ? 7.0f : rounded;
}

// One group [64] as int4 of -8 to 7, with 8 added, and the bits of its scale.
KERNEL_INLINE void quantiseGroupBody(uint8_t* __restrict steps, uint16_t* scale, const float* __restrict group) {
  float high[lanes] = {}, low[lanes] = {}, strange[lanes] = {};
  for (int64_t first = 0; first < groupInputs; first += lanes)
#pragma omp simd
    for (int64_t j = 0; j < lanes; ++j) {
      const float value = group[first + j];
      high[j] = value > high[j] ? value : high[j];
      low[j] = value < low[j] ? value : low[j];
      strange[j] += value * 0.0f;
    }
  float most = 0.0f, least = 0.0f, odd = 0.0f;
  for (int64_t j = 0; j < lanes; ++j) {
    most = high[j] > most ? high[j] : most;
    least = low[j] < least ? low[j] : least;
    odd += strange[j];
  }
  const float largest = most > -least ? most : least; // of the largest size, with its sign
  const float size = std::fabs(largest);
  if (odd != 0.0f || size <= smallestSize) {
    for (int64_t k = 0; k < groupInputs; ++k) steps[k] = 8;
    *scale = static_cast<uint16_t>(narrow<Bf16>(odd));
    return;
  }
  float leastError = INFINITY, inverse = 0.0f;
  for (const float asSteps : largestSteps) {
    const Bf16 rounded = narrow<Bf16>(largest / asSteps);
    const float candidate = load(rounded), reciprocal = 1.0f / candidate;
    float errors[lanes] = {};
    for (int64_t first = 0; first < groupInputs; first += lanes)
#pragma omp simd
      for (int64_t j = 0; j < lanes; ++j) {
        const float place = group[first + j] * reciprocal, error = place - stepOf(place);
        errors[j] += error * error;
      }
    float sum = 0.0f;
    for (int64_t j = 0; j < lanes; ++j) sum += errors[j];
    const float unit = candidate / size, error = sum * unit * unit;
    if (error < leastError) {
      leastError = error;
      inverse = reciprocal;
      *scale = static_cast<uint16_t>(rounded);
    }
  }
#pragma omp simd
  for (int64_t k = 0; k < groupInputs; ++k)
    steps[k] = static_cast<uint8_t>(floatToBits(stepOf(group[k] * inverse) + (12582912.0f + 8.0f)));
}
KERNEL_MULTIVERSION(quantiseGroup)

// A feature's groups as words of a panel, eight int4 each, and their scales [group][64].
void quantiseGroups(uint32_t* words, uint16_t* scales, const float* row, int64_t groups) {
  uint8_t steps[groupInputs];
  for (int64_t group = 0; group < groups; ++group, words += groupSteps) {
    quantiseGroup(static_cast<uint8_t*>(steps), scales + group * panelWidth, row + group * groupInputs);
    for (int64_t word = 0; word < groupSteps; ++word) {
      words[word] = 0;
      for (int64_t byte = 0; byte < 4; ++byte) {
        const uint32_t both = steps[8 * word + byte] | (steps[8 * word + 4 + byte] << 4);
        words[word] |= both << (8 * byte);
      }
    }
  }
}

// Rows of any of the types that weights are stored in.
void widenRow(float* out, const at::Tensor& weight, int64_t row) {
  const int64_t inputs = weight.size(1);
  const auto widen = [&](auto* data) { widenWeights(out, data + row * inputs, inputs); };
  switch (weight.scalar_type()) {
    case at::kHalf: return widen(dataOf<const c10::Half>(weight));
    case at::kBFloat16: return widen(dataOf<const Bf16>(weight));
    default: return widen(dataOf<const float>(weight));
  }
}

std::vector<at::Tensor> packLinear(const at::Tensor& weightInput, c10::string_view precisionName) {
  const char* op = "openplug::pack_linear";
  const Precision precision = precisionOf(precisionName, op);
  TORCH_CHECK(weightInput.dim() == 2 && weightInput.numel() > 0, op, ": expected a weight [N, K], got ",
              weightInput.sizes());
  const at::ScalarType given = weightInput.scalar_type();
  const bool isRead = given == at::kHalf || given == at::kBFloat16; // row by row, without an fp32 copy of the whole
  const at::Tensor weight = weightInput.detach().to(isRead ? given : at::kFloat).contiguous();
  const int64_t features = weight.size(0), inputs = weight.size(1), steps = stepsOf(precision, inputs);
  const int64_t panels = panelsOf(features), groups = quotientUp(inputs, groupInputs);
  const auto options = weight.options();
  const at::Tensor packed = at::zeros({panels, steps, panelWidth}, options.dtype(at::kInt));
  std::vector<at::Tensor> result{packed};
  if (precision == Precision::int8) {
    result.push_back(at::empty({features}, options.dtype(at::kFloat)));
    result.push_back(at::empty({features}, options.dtype(at::kInt)));
  } else if (precision == Precision::int4) {
    result.push_back(at::zeros({panels, groups, panelWidth}, options.dtype(at::kBFloat16)));
  }
  at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> wide(static_cast<size_t>(groups * groupInputs), 0.0f); // zeros after the last input
    std::vector<uint32_t> words(static_cast<size_t>(steps), 0);
    auto* bytes = reinterpret_cast<uint8_t*>(words.data());
    for (int64_t n = begin * panelWidth; n < std::min(features, end * panelWidth); ++n) {
      widenRow(wide.data(), weight, n);
      const int64_t panel = n / panelWidth, lane = n % panelWidth;
      const float* row = wide.data();
      switch (precision) {
        case Precision::float32: std::memcpy(bytes, row, static_cast<size_t>(inputs) * sizeof(float)); break;
        case Precision::bfloat16: narrowWeights(reinterpret_cast<Bf16*>(bytes), row, inputs); break;
        case Precision::int8:
          std::fill(words.begin(), words.end(), 0);
          quantiseFeature(bytes, dataOf<float>(result[1]) + n, dataOf<int32_t>(result[2]) + n, row, inputs);
          break;
        case Precision::int4:
          quantiseGroups(words.data(), dataOf<uint16_t>(result[1]) + panel * groups * panelWidth + lane, row, groups);
          break;
      }
      auto* to = dataOf<uint32_t>(packed) + panel * steps * panelWidth + lane;
      for (int64_t s = 0; s < steps; ++s) to[s * panelWidth] = words[static_cast<size_t>(s)];
    }
  });
  return result;
}

} // namespace
} // namespace openplug

TORCH_LIBRARY_FRAGMENT(openplug, m) { m.def("pack_linear(Tensor weight, str precision) -> Tensor[]"); }
TORCH_LIBRARY_IMPL(openplug, CPU, m) { m.impl("pack_linear", openplug::packLinear); }
