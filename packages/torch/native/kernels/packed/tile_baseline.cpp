// Tiles for any CPU (SSE2, arm64 …), in the compiler's portable vectors of four.
#include "tile_loop.h"

#include <cstring>

namespace openplug {
namespace {

typedef float FloatVector __attribute__((vector_size(16)));
typedef int32_t IntVector __attribute__((vector_size(16)));
typedef uint32_t GroupVector __attribute__((vector_size(16)));

template <typename Vector, typename Element>
Vector loadVector(const Element* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}

struct Baseline {
  using Weights = GroupVector;
  static constexpr int lanes = 4;
  static constexpr int vectorsOf(int rows) { return rows == 1 ? 8 : 2; }
  static Weights loadWeights(const uint32_t* from) { return loadVector<GroupVector>(from); }
  static GroupVector broadcast(uint32_t group) { return GroupVector{group, group, group, group}; }
};

struct BaselineFloat : Baseline {
  using Sum = FloatVector;
  using Element = float;
  static Sum zero() { return Sum{}; }
  static Sum load(const float* from) { return loadVector<Sum>(from); }
  static void store(float* to, Sum sum) { std::memcpy(to, &sum, sizeof sum); }
};

struct BaselineFloat32 : BaselineFloat {
  static void dot(Sum& sum, GroupVector x, GroupVector w) { sum += (FloatVector)x * (FloatVector)w; }
};

struct BaselineBfloat16 : BaselineFloat {
  static void dot(Sum& sum, GroupVector x, GroupVector w) {
    sum += (FloatVector)(x << 16) * (FloatVector)(w << 16);
    sum += (FloatVector)(x & 0xffff0000u) * (FloatVector)(w & 0xffff0000u);
  }
};

struct BaselineInt : Baseline {
  using Sum = IntVector;
  using Element = int32_t;
  static Sum zero() { return Sum{}; }
  static Sum load(const int32_t* from) { return loadVector<Sum>(from); }
  static void store(int32_t* to, Sum sum) { std::memcpy(to, &sum, sizeof sum); }
};

struct BaselineInt8 : BaselineInt {
  static void dot(Sum& sum, GroupVector x, GroupVector w) {
    for (int byte = 0; byte < 4; ++byte)
      sum += (IntVector)((x >> (8 * byte)) & 255u) * ((IntVector)(w << (24 - 8 * byte)) >> 24);
  }
};

struct BaselineInt4 : BaselineInt {
  static IntVector broadcast(uint32_t group) { return (IntVector)Baseline::broadcast(group); }
  static GroupVector low(GroupVector w) { return w & 0x0f0f0f0fu; }
  static GroupVector high(GroupVector w) { return low(w >> 4); }
  static FloatVector zeroFloats() { return FloatVector{}; }
  static FloatVector loadFloats(const float* from) { return loadVector<FloatVector>(from); }
  static void storeFloats(float* to, FloatVector floats) { std::memcpy(to, &floats, sizeof floats); }
  static FloatVector loadScales(const uint16_t* from) {
    GroupVector bits;
    for (int lane = 0; lane < lanes; ++lane) bits[lane] = static_cast<uint32_t>(from[lane]) << 16;
    return (FloatVector)bits;
  }
  static FloatVector addScaled(FloatVector floats, Sum sum, FloatVector scales) {
    return floats + __builtin_convertvector(sum, FloatVector) * scales;
  }
  static void dot(Sum& sum, IntVector x, GroupVector w) {
    for (int byte = 0; byte < 4; ++byte)
      sum += ((x << (24 - 8 * byte)) >> 24) * (IntVector)((w >> (8 * byte)) & 255u);
  }
};

} // namespace

TileSet baselineTiles() {
  return {runTile<BaselineFloat32>, runTile<BaselineBfloat16>, runTile<BaselineInt8>, runGroupTile<BaselineInt4>, tileRows,
          narrowSteps, narrowStepsForManyRows};
}

} // namespace openplug
