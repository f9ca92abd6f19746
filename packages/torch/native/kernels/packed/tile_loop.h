// The loop over one tile, written once for all instruction sets and precisions. `Kernel` says how wide a vector is and
// what one step does:
//   Sum                      accumulator vector; Weights, its group of packed weights
//   lanes, vectors, rows     features in a vector, vectors in a strip, rows in a tile: their product of registers
//   zero(), load(), store(), loadWeights(const uint32_t*), dot(Sum&, uint32_t activations, Weights)
// Every .cpp file names its kernels differently, so that the linker can never swap the instructions of two files.
#pragma once
#include "tile.h"

namespace openplug {

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

constexpr int64_t tileRows = 6;

} // namespace openplug
