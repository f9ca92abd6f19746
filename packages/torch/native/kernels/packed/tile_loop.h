// The loop over one tile, written once for all instruction sets and precisions. `Kernel` says how wide a vector is and
// what one step does:
//   Sum                      accumulator vector; Weights, its group of packed weights
//   lanes, vectors, rows     features in a vector, vectors in a strip, rows in a tile: their product of registers
//   zero(), load(), store(), loadWeights(const uint32_t*), dot(Sum&, uint32_t activations, Weights)
// int4 kernels (runGroupStrip) further say:
//   low(Weights), high(Weights)   the bytes of the lower and of the upper halves
//   loadScales(const uint16_t*), addScaled(floats, Sum, scales), zeroFloats(), loadFloats(), storeFloats()
// Every .cpp file names its kernels differently, so that the linker can never swap the instructions of two files.
#pragma once
#include "tile.h"

namespace openplug {

// Prefetching weights (4 and 16 KiB ahead) was measured for single rows: it makes none of the precisions faster.
template <typename Kernel, int rows>
inline void runStrip(const TileTask& task, int64_t column) {
  typename Kernel::Sum sums[rows][Kernel::vectors];
  auto* out = static_cast<typename Kernel::Element*>(task.sums) + column;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < Kernel::vectors; ++v)
      sums[r][v] = task.continues ? Kernel::load(out + r * panelWidth + v * Kernel::lanes) : Kernel::zero();
  const uint32_t* panel = task.panel + column;
  const uint32_t* activations = task.activations;
  for (int64_t step = 0; step < task.steps; ++step, panel += panelWidth, ++activations) {
    typename Kernel::Weights weights[Kernel::vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Kernel::vectors; ++v) weights[v] = Kernel::loadWeights(panel + v * Kernel::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const auto group = Kernel::broadcast(activations[r * task.rowStride]);
#pragma GCC unroll 8
      for (int v = 0; v < Kernel::vectors; ++v) Kernel::dot(sums[r][v], group, weights[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < Kernel::vectors; ++v) Kernel::store(out + r * panelWidth + v * Kernel::lanes, sums[r][v]);
}

template <typename Kernel>
void runTile(const TileTask& task, int64_t rows) {
  for (int64_t column = 0; column < panelWidth; column += Kernel::lanes * Kernel::vectors) {
    switch (rows) {
      case 1: runStrip<Kernel, 1>(task, column); break;
      case 2: runStrip<Kernel, 2>(task, column); break;
      case 3: runStrip<Kernel, 3>(task, column); break;
      case 4: runStrip<Kernel, 4>(task, column); break;
      case 5: runStrip<Kernel, 5>(task, column); break;
      default: runStrip<Kernel, 6>(task, column); break;
    }
  }
}

// One group of 64 inputs: adds to `out`.
template <typename Kernel, int rows>
inline void addGroup(const uint32_t* panel, const uint32_t* activations, int64_t rowStride, const int32_t* corrections,
                     int64_t correctionStride, const uint16_t* scales, float* out) {
  typename Kernel::Sum sums[rows][Kernel::vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    const auto correction = Kernel::broadcast(static_cast<uint32_t>(corrections[r * correctionStride]));
#pragma GCC unroll 8
    for (int v = 0; v < Kernel::vectors; ++v) sums[r][v] = correction;
  }
#pragma GCC unroll 1
  for (int64_t step = 0; step < groupSteps; ++step, panel += panelWidth) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half, ++activations) {
      typename Kernel::Weights weights[Kernel::vectors];
#pragma GCC unroll 8
      for (int v = 0; v < Kernel::vectors; ++v) {
        const auto loaded = Kernel::loadWeights(panel + v * Kernel::lanes);
        weights[v] = half == 0 ? Kernel::low(loaded) : Kernel::high(loaded);
      }
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const auto x = Kernel::broadcast(activations[r * rowStride]);
#pragma GCC unroll 8
        for (int v = 0; v < Kernel::vectors; ++v) Kernel::dot(sums[r][v], x, weights[v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < Kernel::vectors; ++v) {
    const auto scale = Kernel::loadScales(scales + v * Kernel::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      float* to = out + r * panelWidth + v * Kernel::lanes;
      Kernel::storeFloats(to, Kernel::addScaled(Kernel::loadFloats(to), sums[r][v], scale));
    }
  }
}

template <typename Kernel, int rows>
inline void runGroupStrip(const GroupTask& task, int64_t column) {
  float* out = task.sums + column;
  if (!task.continues)
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < Kernel::vectors; ++v)
        Kernel::storeFloats(out + r * panelWidth + v * Kernel::lanes, Kernel::zeroFloats());
  for (int64_t group = 0; group < task.groups; ++group)
    addGroup<Kernel, rows>(task.panel + group * groupSteps * panelWidth + column,
                           task.activations + group * (groupInputs / 4), task.rowStride, task.corrections + group,
                           task.correctionStride, task.scales + group * panelWidth + column, out);
}

template <typename Kernel>
void runGroupTile(const GroupTask& task, int64_t rows) {
  for (int64_t column = 0; column < panelWidth; column += Kernel::lanes * Kernel::vectors) {
    switch (rows) {
      case 1: runGroupStrip<Kernel, 1>(task, column); break;
      case 2: runGroupStrip<Kernel, 2>(task, column); break;
      case 3: runGroupStrip<Kernel, 3>(task, column); break;
      case 4: runGroupStrip<Kernel, 4>(task, column); break;
      case 5: runGroupStrip<Kernel, 5>(task, column); break;
      default: runGroupStrip<Kernel, 6>(task, column); break;
    }
  }
}

constexpr int64_t tileRows = 6;

} // namespace openplug
