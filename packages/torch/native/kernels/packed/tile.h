// The inner loops of products with packed weights. Each instruction set has a file of its own, compiled with its own
// compiler flags; those files include nothing but this header, tile_loop.h and intrinsics, so that no inline function
// of another library is compiled for instructions that the CPU may lack.
//
// A packed weight is cut into panels of 64 output features. A panel holds, step after step, 64 lanes of 32 bits: one
// fp32 input, a pair of bf16 inputs, four int8 inputs or eight int4 inputs of each feature. Activations have the same
// groups of 32 bits (for int4 four int8 numbers), so fp32, bf16 and int8 are one loop:
//   acc[row][lane] += dot(activation group, weight group)
// int4: byte b of a lane holds input b of the step in its lower half and input 4 + b in its upper one, each with 8
// added. 64 inputs (8 steps) of a feature share a bf16 scale; their sum is an integer until it is scaled. That product
// is exact: the sum has at most 16 bits and the scale 8. So every instruction set gives the same bits.
#pragma once
#include <cstdint>

namespace openplug {

constexpr int64_t panelWidth = 64;  // output features in a panel
constexpr int64_t groupInputs = 64; // int4: inputs that share a scale
constexpr int64_t groupSteps = 8;   // int4: their steps

// One tile: up to `TileSet::rows` rows of activations times one panel.
struct TileTask {
  const uint32_t* activations; // row r, step s: activations[r * rowStride + s]
  int64_t rowStride;
  const uint32_t* panel; // step s, feature n: panel[s * 64 + n]
  int64_t steps;
  void* sums; // [rows][64]: float for fp32 and bf16, int32_t for int8
  bool continues; // adds to what `sums` holds, instead of overwriting it
  bool isFirst; // no other tile of rows has read these steps yet
};

// The same for int4. Its activations are signed bytes, its weights unsigned ones.
struct GroupTask {
  const uint32_t* activations; // row r, inputs 4q to 4q + 3: activations[r * rowStride + q]
  int64_t rowStride;
  const int32_t* corrections; // -8 * sum of a group's activations: row r, group g: corrections[r * correctionStride + g]
  int64_t correctionStride;
  const uint32_t* panel; // step s, feature n: panel[s * 64 + n]
  const uint16_t* scales; // group g, feature n: scales[g * 64 + n]
  int64_t groups;
  float* sums; // [rows][64]
  bool continues, isFirst;
};

using TileFunction = void (*)(const TileTask& task, int64_t rows);
using GroupFunction = void (*)(const GroupTask& task, int64_t rows);

// int8 multiplies unsigned activations by signed weights.
struct TileSet {
  TileFunction float32, bfloat16, int8;
  GroupFunction int4;
  int64_t rows; // most rows of one call
  // Steps of a panel that all rows are multiplied by before the next ones. Few rows wait for memory, many for sums that
  // are stored and loaded again after each such block.
  int64_t stepsForFewRows, stepsForManyRows;
};

TileSet baselineTiles();
#if defined(__x86_64__)
TileSet avx2Tiles();
TileSet avx512Tiles(bool hasBf16, bool hasVnni);
#endif

} // namespace openplug
