// Products with weights that were packed beforehand, for inference: y = x Wᵀ + b, with gelu if asked.
//
// W [N, K] is stored as fp32, bf16 or int8 in panels (tile.h). int8: each output feature n has a scale, |W| / 127 at its
// largest; each row of x is quantised on the way in, unsigned with 128 as its zero, so that
//   y = scaleX * scaleW * (sum - 128 * sum of the feature's weights).
// A row or feature that holds infinity or NaN has NaN as its scale, so that its results are NaN as well.
// Sums are fp32 (int32). A row's result does not depend on the other rows or on the number of threads.
// The variable ONEDNN_MAX_CPU_ISA=AVX512_CORE keeps AVX512-BF16 and VNNI unused, as it does in libtorch's own products.
// Why: libtorch casts or re-packs the whole weight at each call and has no int8 product; for one row its fp32 product
// reaches a tenth of the memory bandwidth. Measured on two Zen 5 cores: see `npm run bench -- kernels`.
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <vector>

#include "../normal.h"
#include "../simd.h"
#include "tile.h"

namespace openplug {
namespace {

constexpr int64_t rowBlock = 96;    // rows whose sums are kept together
constexpr int64_t stepBlock = 1024; // steps of a panel that stay in the second-level cache: 256 KiB

const TileSet& tiles() {
  static const TileSet set = [] {
#if defined(__x86_64__)
    if (instructionSet() == InstructionSet::avx512) {
      const char* most = std::getenv("ONEDNN_MAX_CPU_ISA");
      const bool plain = most && std::strcmp(most, "AVX512_CORE") == 0;
      return avx512Tiles(!plain && __builtin_cpu_supports("avx512bf16"), !plain && __builtin_cpu_supports("avx512vnni"));
    }
    if (instructionSet() == InstructionSet::avx2) return avx2Tiles();
#endif
    return baselineTiles();
  }();
  return set;
}

// Numbers of K in one 32-bit group.
int64_t groupSize(at::ScalarType kind) { return kind == at::kFloat ? 1 : kind == at::kBFloat16 ? 2 : 4; }

TileFunction tileFunction(at::ScalarType kind) {
  return kind == at::kFloat ? tiles().float32 : kind == at::kBFloat16 ? tiles().bfloat16 : tiles().int8;
}

void checkKind(at::ScalarType kind, const char* op) {
  TORCH_CHECK(kind == at::kFloat || kind == at::kBFloat16 || kind == at::kChar, op,
              ": weights are packed as float32, bfloat16 or int8, not as ", kind);
}

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

// What turns numbers of at most this size to steps of -127 to 127; 0 where its reciprocal would overflow.
KERNEL_INLINE float stepsPerUnit(float largest) { return largest > 1e-36f ? 127.0f / largest : 0.0f; }

// Quantises one row to unsigned bytes around 128; its scale.
template <typename T>
KERNEL_INLINE void quantiseRowBody(uint8_t* __restrict bytes, float* scale, const T* __restrict row, int64_t count) {
  float largest = 0.0f, strange = 0.0f; // 0, or NaN when a number is not finite
#pragma omp simd reduction(max : largest) reduction(+ : strange)
  for (int64_t k = 0; k < count; ++k) {
    const float size = std::fabs(load(row[k]));
    largest = size > largest ? size : largest;
    strange += size * 0.0f;
  }
  *scale = largest / 127.0f + strange;
  const float inverse = stepsPerUnit(largest);
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) {
    // Adding 1.5 * 2^23 rounds to the nearest integer, which then stands in the lowest bits.
    bytes[k] = static_cast<uint8_t>(floatToBits(load(row[k]) * inverse + (12582912.0f + 128.0f)));
  }
  for (int64_t k = count; k % 4; ++k) bytes[k] = 128;
}
KERNEL_MULTIVERSION(quantiseRow)

// What turns the sums of one panel into results.
struct Epilogue {
  const float* bias;        // [N] or null
  const float* scales;      // int8: of the features [N]
  const int32_t* offsets;   // int8: 128 * sum of each feature's weights [N]
  const float* rowScales;   // int8: of the rows
  bool gelu;
};

template <typename Sum, typename T>
KERNEL_INLINE void finishRowsBody(T* out, const Sum* sums, int64_t features, int64_t firstRow, int64_t rows,
                                  int64_t firstFeature, int64_t count, const Epilogue* epilogue) {
  for (int64_t r = 0; r < rows; ++r) {
    const Sum* __restrict from = sums + r * panelWidth;
    T* __restrict to = out + (firstRow + r) * features + firstFeature;
    float values[panelWidth];
    if constexpr (std::is_same_v<Sum, int32_t>) {
      const float rowScale = epilogue->rowScales[firstRow + r];
      const float* __restrict scales = epilogue->scales + firstFeature;
      const int32_t* __restrict offsets = epilogue->offsets + firstFeature;
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) values[j] = static_cast<float>(from[j] - offsets[j]) * (scales[j] * rowScale);
    } else {
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) values[j] = from[j];
    }
    if (epilogue->bias) {
      const float* __restrict bias = epilogue->bias + firstFeature;
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) values[j] += bias[j];
    }
    if (epilogue->gelu) {
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) {
        float distribution, density;
        normal(values[j], distribution, density);
        values[j] *= distribution;
      }
    }
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) to[j] = narrow<T>(values[j]);
  }
}
KERNEL_MULTIVERSION(finishRows)

// The rows of x as groups, and their scales when the product is int8.
struct Activations {
  at::Tensor groups, rowScales;
};

Activations groupActivations(const at::Tensor& input, at::ScalarType kind) {
  const at::Tensor x = input.contiguous();
  const int64_t inputs = x.size(-1), rows = x.numel() / std::max<int64_t>(inputs, 1), group = groupSize(kind);
  if (x.scalar_type() == kind && inputs % group == 0) return {x, at::Tensor()};
  const int64_t steps = (inputs + group - 1) / group;
  Activations result{at::empty({rows, steps}, x.options().dtype(at::kInt)),
                     kind == at::kChar ? at::empty({rows}, x.options().dtype(at::kFloat)) : at::Tensor()};
  auto* groups = static_cast<uint32_t*>(result.groups.data_ptr());
  dispatchFloating(x.scalar_type(), "openplug::packed_linear", [&](auto tag) {
    using T = decltype(tag);
    if constexpr (!std::is_same_v<T, double>) {
      const T* data = dataOf<T>(x);
      at::parallel_for(0, rows, 1 + 32768 / inputs, [&](int64_t begin, int64_t end) {
        std::vector<float> wide(static_cast<size_t>(inputs));
        for (int64_t r = begin; r < end; ++r) {
          uint32_t* to = groups + r * steps;
          const T* row = data + r * inputs;
          if (kind == at::kChar) {
            quantiseRow(reinterpret_cast<uint8_t*>(to), dataOf<float>(result.rowScales) + r, row, inputs);
          } else if (kind == at::kFloat) {
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

// Rows [firstRow, firstRow + rows) of one panel, before the epilogue.
void multiplyPanel(TileFunction tile, const uint32_t* activations, const uint32_t* panel, int64_t steps, int64_t rows,
                   void* sums) {
  for (int64_t first = 0; first < steps; first += stepBlock) {
    const int64_t count = std::min(stepBlock, steps - first);
    for (int64_t r = 0; r < rows; r += tiles().rows) {
      const TileTask task{activations + r * steps + first, steps, panel + first * panelWidth, count,
                          static_cast<uint32_t*>(sums) + r * panelWidth, first > 0};
      tile(task, std::min(tiles().rows, rows - r));
    }
  }
}

at::Tensor packedLinear(const at::Tensor& x, at::TensorList weight, at::ScalarType kind, int64_t features,
                        const OptionalTensor& bias, bool gelu, at::ScalarType outType) {
  const char* op = "openplug::packed_linear";
  checkKind(kind, op);
  TORCH_CHECK(weight.size() == (kind == at::kChar ? 3u : 1u), op, ": the weight is not one that pack_linear made as ",
              kind);
  TORCH_CHECK(x.dim() >= 1 && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16), op,
              ": x must be float32 or bfloat16 [..., K], got ", x.scalar_type(), " ", x.sizes());
  TORCH_CHECK(outType == at::kFloat || outType == at::kBFloat16, op, ": the result is float32 or bfloat16, not ", outType);
  const int64_t inputs = x.size(-1), group = groupSize(kind), steps = (inputs + group - 1) / group;
  const int64_t panels = (features + panelWidth - 1) / panelWidth;
  const std::array<int64_t, 3> expected{panels, steps, panelWidth};
  TORCH_CHECK(weight[0].sizes() == at::IntArrayRef(expected), op, ": x ", x.sizes(), " and ", features,
              " features need a packed weight ", at::IntArrayRef(expected), ", got ", weight[0].sizes());
  TORCH_CHECK(kind != at::kChar || weight[1].size(0) == features, op, ": the packed weight has ",
              kind == at::kChar ? weight[1].size(0) : 0, " features, not ", features);
  const bool hasBias = bias.has_value() && bias->defined();
  const at::Tensor biases = hasBias ? bias->to(at::kFloat).contiguous() : at::Tensor();
  TORCH_CHECK(!hasBias || (biases.dim() == 1 && biases.size(0) == features), op, ": expected bias [", features, "], got ",
              hasBias ? biases.sizes() : at::IntArrayRef());
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = features;
  at::Tensor out = at::empty(shape, x.options().dtype(outType));
  const int64_t rows = out.numel() / std::max<int64_t>(features, 1);
  if (out.numel() == 0) return out;
  const Activations activations = groupActivations(x, kind);
  const Epilogue epilogue{hasBias ? dataOf<float>(biases) : nullptr,
                          kind == at::kChar ? dataOf<float>(weight[1]) : nullptr,
                          kind == at::kChar ? dataOf<int32_t>(weight[2]) : nullptr,
                          kind == at::kChar ? dataOf<float>(activations.rowScales) : nullptr, gelu};
  const auto* groups = static_cast<const uint32_t*>(activations.groups.data_ptr());
  const auto* packed = static_cast<const uint32_t*>(weight[0].data_ptr());
  const TileFunction tile = tileFunction(kind);
  const int64_t rowBlocks = (rows + rowBlock - 1) / rowBlock;
  const int64_t grain = 1 + 65536 / (panelWidth * steps * std::min(rows, rowBlock)); // small products: one thread
  at::parallel_for(0, rowBlocks * panels, grain, [&](int64_t begin, int64_t end) {
    alignas(64) float sums[rowBlock * panelWidth];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t firstRow = task / panels * rowBlock, panel = task % panels, firstFeature = panel * panelWidth;
      const int64_t taskRows = std::min(rowBlock, rows - firstRow), count = std::min(panelWidth, features - firstFeature);
      multiplyPanel(tile, groups + firstRow * steps, packed + panel * steps * panelWidth, steps, taskRows, sums);
      const auto finish = [&](auto* to) {
        if (kind == at::kChar)
          finishRows(to, reinterpret_cast<const int32_t*>(sums), features, firstRow, taskRows, firstFeature, count,
                     &epilogue);
        else
          finishRows(to, static_cast<const float*>(sums), features, firstRow, taskRows, firstFeature, count, &epilogue);
      };
      if (outType == at::kFloat)
        finish(dataOf<float>(out));
      else
        finish(dataOf<Bf16>(out));
    }
  });
  return out;
}

// One feature's weights into lane `lane` of a panel.
void packFeature(uint32_t* panel, int64_t lane, const uint8_t* groups, int64_t steps) {
  for (int64_t s = 0; s < steps; ++s) std::memcpy(panel + s * panelWidth + lane, groups + 4 * s, 4);
}

std::vector<at::Tensor> packLinear(const at::Tensor& weightInput, at::ScalarType kind) {
  const char* op = "openplug::pack_linear";
  checkKind(kind, op);
  TORCH_CHECK(weightInput.dim() == 2 && weightInput.numel() > 0, op, ": expected a weight [N, K], got ",
              weightInput.sizes());
  const at::Tensor weight = weightInput.detach().to(at::kFloat).contiguous();
  const int64_t features = weight.size(0), inputs = weight.size(1), group = groupSize(kind);
  const int64_t steps = (inputs + group - 1) / group, panels = (features + panelWidth - 1) / panelWidth;
  const auto options = weight.options();
  const at::Tensor packed = at::zeros({panels, steps, panelWidth}, options.dtype(at::kInt));
  const bool isInt8 = kind == at::kChar;
  const at::Tensor scales = isInt8 ? at::zeros({features}, options) : at::Tensor();
  const at::Tensor offsets = isInt8 ? at::zeros({features}, options.dtype(at::kInt)) : at::Tensor();
  const float* from = dataOf<float>(weight);
  at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> bytes(static_cast<size_t>(4 * steps));
    for (int64_t n = begin * panelWidth; n < std::min(features, end * panelWidth); ++n) {
      const float* row = from + n * inputs;
      std::fill(bytes.begin(), bytes.end(), 0);
      if (kind == at::kFloat) {
        std::memcpy(bytes.data(), row, static_cast<size_t>(inputs) * sizeof(float));
      } else if (kind == at::kBFloat16) {
        groupRow(reinterpret_cast<Bf16*>(bytes.data()), row, inputs);
      } else {
        float largest = 0.0f, strange = 0.0f;
        for (int64_t k = 0; k < inputs; ++k) {
          largest = std::max(largest, std::fabs(row[k]));
          strange += row[k] * 0.0f;
        }
        const float inverse = stepsPerUnit(largest);
        int32_t sum = 0;
        for (int64_t k = 0; k < inputs && strange == 0.0f; ++k) {
          const auto quantised = static_cast<int8_t>(std::nearbyint(row[k] * inverse));
          std::memcpy(&bytes[static_cast<size_t>(k)], &quantised, 1);
          sum += quantised;
        }
        dataOf<float>(scales)[n] = largest / 127.0f + strange;
        dataOf<int32_t>(offsets)[n] = 128 * sum;
      }
      auto* panel = static_cast<uint32_t*>(packed.data_ptr()) + n / panelWidth * steps * panelWidth;
      packFeature(panel, n % panelWidth, bytes.data(), steps);
    }
  });
  if (isInt8) return {packed, scales, offsets};
  return {packed};
}

} // namespace
} // namespace openplug

TORCH_LIBRARY_FRAGMENT(openplug, m) {
  m.def("pack_linear(Tensor weight, ScalarType dtype) -> Tensor[]");
  m.def("packed_linear(Tensor x, Tensor[] weight, ScalarType weight_dtype, int out_features, Tensor? bias, bool gelu, "
        "ScalarType out_dtype) -> Tensor");
}
TORCH_LIBRARY_IMPL(openplug, CPU, m) {
  m.impl("pack_linear", openplug::packLinear);
  m.impl("packed_linear", openplug::packedLinear);
}
