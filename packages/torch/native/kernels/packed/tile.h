// The inner loops of products with packed weights. Each instruction set has a file of its own, compiled with its own
// compiler flags; those files include nothing but this header, tile_loop.h and intrinsics, so that no inline function
// of another library is compiled for instructions that the CPU may lack.
//
// A packed weight is cut into panels of 64 output features. A panel holds, step after step, 64 lanes of 32 bits: one
// fp32 input, a pair of bf16 inputs, or four int8 inputs of each feature. Activations have the same groups of 32 bits,
// so all three precisions are one loop: acc[row][lane] += dot(activation group, weight group).
#pragma once
#include <cstdint>

namespace openplug {

constexpr int64_t panelWidth = 64; // output features in a panel

// One tile: up to `TileSet::rows` rows of activations times one panel.
struct TileTask {
  const uint32_t* activations; // row r, step s: activations[r * rowStride + s]
  int64_t rowStride;
  const uint32_t* panel; // step s, feature n: panel[s * 64 + n]
  int64_t steps;
  void* sums; // [rows][64]: float for fp32 and bf16, int32_t for int8
  bool continues; // adds to what `sums` holds, instead of overwriting it
};

using TileFunction = void (*)(const TileTask& task, int64_t rows);

// int8 multiplies unsigned activations by signed weights.
struct TileSet {
  TileFunction float32, bfloat16, int8;
  int64_t rows; // most rows of one call
};

TileSet baselineTiles();
#if defined(__x86_64__)
TileSet avx2Tiles();
TileSet avx512Tiles(bool hasBf16, bool hasVnni);
#endif

} // namespace openplug
