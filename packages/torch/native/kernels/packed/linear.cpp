// Products with weights that were packed beforehand, for inference: y = x Wᵀ + b, with gelu if asked.
//
// W [N, K] is stored as fp32, bf16, int8 or int4 in panels (tile.h, pack.cpp). For int8 and int4 each row of x is
// quantised on the way in, and sums are integers: over all inputs for int8, over groups of 64 for int4.
//   int8: x unsigned with 128 as its zero: y = scaleX * scaleW * (sum - 128 * sum of the feature's weights)
//   int4: w unsigned with 8 as its zero:   y = scaleX * sum over groups of scaleW * (sum - 8 * sum of the group's x)
// A row, feature or group that holds infinity or NaN has NaN as its scale, so that its results are NaN as well.
// Other sums are fp32. A row's result does not depend on the other rows or on the number of threads.
// The variable ONEDNN_MAX_CPU_ISA=AVX512_CORE keeps AVX512-BF16 and VNNI unused, as it does in libtorch's own products.
// Why: libtorch casts or re-packs the whole weight at each call and has no int8 product; for one row its fp32 product
// reaches a tenth of the memory bandwidth. Measured on two Zen 5 cores: see `npm run bench -- kernels`.
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <vector>

#include "../normal.h"
#include "../simd.h"
#include "activations.h"
#include "format.h"

namespace openplug {
namespace {

constexpr int64_t mostRows = 96;    // rows whose sums are kept together; whole tiles

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

TileFunction tileFunction(Precision precision) {
  switch (precision) {
    case Precision::float32: return tiles().float32;
    case Precision::bfloat16: return tiles().bfloat16;
    default: return tiles().int8;
  }
}

// What turns the sums of one panel into results.
struct Epilogue {
  const float* bias;        // [N] or null
  const float* scales;      // int8: of the features [N]
  const int32_t* offsets;   // int8: 128 * sum of each feature's weights [N]
  const float* rowScales;   // int8 and int4: of the rows
  bool gelu;
};

template <typename Sum, typename T>
KERNEL_INLINE void finishRowsBody(T* out, const Sum* sums, int64_t features, int64_t firstRow, int64_t rows,
                                  int64_t firstFeature, int64_t count, const Epilogue* epilogue) {
  for (int64_t r = 0; r < rows; ++r) {
    const Sum* __restrict from = sums + r * panelWidth;
    T* __restrict to = out + (firstRow + r) * features + firstFeature;
    float values[panelWidth];
    const float rowScale = epilogue->rowScales ? epilogue->rowScales[firstRow + r] : 1.0f;
    if constexpr (std::is_same_v<Sum, int32_t>) {
      const float* __restrict scales = epilogue->scales + firstFeature;
      const int32_t* __restrict offsets = epilogue->offsets + firstFeature;
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) values[j] = static_cast<float>(from[j] - offsets[j]) * (scales[j] * rowScale);
    } else {
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) values[j] = from[j] * rowScale;
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

// Rows of each tile: about as many in all, as a tile of few rows is hardly faster than one of many.
int64_t tileRowsOf(int64_t rows) { return quotientUp(rows, quotientUp(rows, tiles().rows)); }

int64_t stepBlockOf(int64_t rows) {
  return rows <= 2 * tiles().rows ? tiles().stepsForFewRows : tiles().stepsForManyRows;
}

// Rows [firstRow, firstRow + rows) of one panel, before the epilogue.
void multiplyPanel(TileFunction tile, const uint32_t* activations, const uint32_t* panel, int64_t steps, int64_t rows,
                   void* sums) {
  const int64_t stepBlock = stepBlockOf(rows), tileRows = tileRowsOf(rows);
  for (int64_t first = 0; first < steps; first += stepBlock) {
    const int64_t count = std::min(stepBlock, steps - first);
    for (int64_t r = 0; r < rows; r += tileRows) {
      const TileTask task{activations + r * steps + first, steps, panel + first * panelWidth, count,
                          static_cast<uint32_t*>(sums) + r * panelWidth, first > 0, r == 0};
      tile(task, std::min(tileRows, rows - r));
    }
  }
}

// The same for int4. Every tile unpacks the weights for itself: that takes less time than reading unpacked ones.
void multiplyGroups(const GroupTask& whole, int64_t rows) {
  const int64_t groupBlock = stepBlockOf(rows) / groupSteps, tileRows = tileRowsOf(rows);
  for (int64_t first = 0; first < whole.groups; first += groupBlock) {
    GroupTask task = whole;
    task.panel += first * groupSteps * panelWidth;
    task.scales += first * panelWidth;
    task.groups = std::min(groupBlock, whole.groups - first);
    task.continues = first > 0;
    for (int64_t r = 0; r < rows; r += tileRows) {
      task.activations = whole.activations + r * whole.rowStride + first * (groupInputs / 4);
      task.corrections = whole.corrections + r * whole.correctionStride + first;
      task.sums = whole.sums + r * panelWidth;
      task.isFirst = r == 0;
      tiles().int4(task, std::min(tileRows, rows - r));
    }
  }
}

// Checks that the tensors are what pack_linear makes for `features` and x, or were restored as such.
void checkWeight(const char* op, const at::Tensor& x, at::TensorList weight, Precision precision,
                 c10::string_view name, int64_t features) {
  const bool isInt8 = precision == Precision::int8, isInt4 = precision == Precision::int4;
  TORCH_CHECK(weight.size() == (isInt8 ? 3u : isInt4 ? 2u : 1u), op,
              ": the weight is not one that pack_linear made as ", name);
  for (const at::Tensor& tensor : weight)
    TORCH_CHECK(tensor.is_contiguous() && tensor.device().is_cpu(), op,
                ": the tensors of a packed weight must be contiguous, in the CPU's memory");
  const int64_t panels = panelsOf(features), inputs = x.size(-1);
  const std::array<int64_t, 3> expected{panels, stepsOf(precision, inputs), panelWidth};
  TORCH_CHECK(weight[0].sizes() == at::IntArrayRef(expected) && weight[0].scalar_type() == at::kInt, op, ": x ",
              x.sizes(), " and ", features, " features need a packed weight ", at::IntArrayRef(expected), ", got ",
              weight[0].sizes());
  const auto holds = [&](const at::Tensor& tensor, at::ScalarType type) {
    return tensor.scalar_type() == type && tensor.dim() == 1 && tensor.size(0) == features;
  };
  TORCH_CHECK(!isInt8 || (holds(weight[1], at::kFloat) && holds(weight[2], at::kInt)), op, ": the packed weight has ",
              isInt8 ? weight[1].numel() : 0, " features, not ", features);
  const std::array<int64_t, 3> scales{panels, quotientUp(inputs, groupInputs), panelWidth};
  TORCH_CHECK(!isInt4 || (weight[1].sizes() == at::IntArrayRef(scales) && weight[1].scalar_type() == at::kBFloat16), op,
              ": x ", x.sizes(), " and ", features, " features need bfloat16 scales ", at::IntArrayRef(scales));
}

at::Tensor packedLinear(const at::Tensor& x, at::TensorList weight, c10::string_view precisionName, int64_t features,
                        const OptionalTensor& bias, bool gelu, at::ScalarType outType) {
  const char* op = "openplug::packed_linear";
  const Precision precision = precisionOf(precisionName, op);
  TORCH_CHECK(x.dim() >= 1 && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16), op,
              ": x must be float32 or bfloat16 [..., K], got ", x.scalar_type(), " ", x.sizes());
  TORCH_CHECK(outType == at::kFloat || outType == at::kBFloat16, op, ": the result is float32 or bfloat16, not ", outType);
  checkWeight(op, x, weight, precision, precisionName, features);
  const bool isInt8 = precision == Precision::int8, isInt4 = precision == Precision::int4;
  const int64_t steps = stepsOf(precision, x.size(-1)), panels = panelsOf(features);
  const bool hasBias = bias.has_value() && bias->defined();
  const at::Tensor biases = hasBias ? bias->to(at::kFloat).contiguous() : at::Tensor();
  TORCH_CHECK(!hasBias || (biases.dim() == 1 && biases.size(0) == features), op, ": expected bias [", features, "], got ",
              hasBias ? biases.sizes() : at::IntArrayRef());
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = features;
  at::Tensor out = at::empty(shape, x.options().dtype(outType));
  const int64_t rows = out.numel() / std::max<int64_t>(features, 1);
  if (out.numel() == 0) return out;
  const Activations activations = groupActivations(x, precision);
  const Epilogue epilogue{hasBias ? dataOf<float>(biases) : nullptr, isInt8 ? dataOf<float>(weight[1]) : nullptr,
                          isInt8 ? dataOf<int32_t>(weight[2]) : nullptr,
                          isInt8 || isInt4 ? dataOf<float>(activations.rowScales) : nullptr, gelu};
  const auto* groups = static_cast<const uint32_t*>(activations.groups.data_ptr());
  const auto* packed = static_cast<const uint32_t*>(weight[0].data_ptr());
  const int64_t stride = activations.rowStride, weightGroups = steps / groupSteps; // the latter for int4
  const TileFunction tile = tileFunction(precision);
  // Blocks of about the same size, in whole tiles, as threads get equal numbers of them.
  const int64_t tilesOfBlock = quotientUp(quotientUp(rows, quotientUp(rows, mostRows)), tiles().rows);
  const int64_t rowBlock = tilesOfBlock * tiles().rows, rowBlocks = quotientUp(rows, rowBlock);
  const int64_t grain = 1 + 65536 / (panelWidth * steps * std::min(rows, rowBlock)); // small products: one thread
  at::parallel_for(0, rowBlocks * panels, grain, [&](int64_t begin, int64_t end) {
    alignas(64) float sums[mostRows * panelWidth];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t firstRow = task / panels * rowBlock, panel = task % panels, firstFeature = panel * panelWidth;
      const int64_t taskRows = std::min(rowBlock, rows - firstRow), count = std::min(panelWidth, features - firstFeature);
      const uint32_t* from = packed + panel * steps * panelWidth;
      if (isInt4)
        multiplyGroups({groups + firstRow * stride, stride,
                        dataOf<const int32_t>(activations.corrections) + firstRow * weightGroups, weightGroups, from,
                        dataOf<const uint16_t>(weight[1]) + panel * weightGroups * panelWidth, weightGroups, sums, false, true},
                       taskRows);
      else
        multiplyPanel(tile, groups + firstRow * stride, from, steps, taskRows, sums);
      const auto finish = [&](auto* to) {
        if (isInt8)
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

} // namespace
} // namespace openplug

TORCH_LIBRARY_FRAGMENT(openplug, m) {
  m.def("packed_linear(Tensor x, Tensor[] weight, str precision, int out_features, Tensor? bias, bool gelu, "
        "ScalarType out_dtype) -> Tensor");
}
TORCH_LIBRARY_IMPL(openplug, CPU, m) {
  m.impl("packed_linear", openplug::packedLinear);
}
