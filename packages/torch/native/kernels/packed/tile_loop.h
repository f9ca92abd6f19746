// The loop over one tile, written once for all instruction sets and precisions. `Kernel` says how wide a vector is and
// what one step does:
//   Sum                      accumulator vector; Weights, its group of packed weights
//   lanes                    features in a vector
//   vectorsOf(rows)          vectors in a strip of so many rows: their product of registers holds the sums
//   zero(), load(), store(), loadWeights(const uint32_t*), dot(Sum&, uint32_t activations, Weights)
// int4 kernels (runGroupStrips) further say:
//   low(Weights), high(Weights)   the bytes of the lower and of the upper halves
//   loadScales(const uint16_t*), addScaled(floats, Sum, scales), zeroFloats(), loadFloats(), storeFloats()
// Every .cpp file names its kernels differently, so that the linker can never swap the instructions of two files.
#pragma once
#include "tile.h"

namespace openplug {

constexpr int64_t tileRows = 6;
// For strips that are narrower than the panel: steps that the nearest cache keeps, with room for the next ones, while
// strip after strip takes its part. 8 KiB, as every fourth line that a strip reads has a quarter of the cache's places.
constexpr int64_t narrowSteps = 32, narrowStepsForManyRows = 256;

// A strip that is narrower than the panel reads a cache line or two of each step and leaves the rest to the next strip,
// which memory does not follow by itself. So the first tile of rows asks for the block of steps that comes next, line
// after line, each strip and step for its share; for the other tiles it is there then. Where a strip is as wide as the
// panel, prefetching (4 and 16 KiB ahead) was measured to make nothing faster.
template <int64_t width>
inline void prefetchNext(const uint32_t* panel, int64_t steps, int64_t column, int64_t step) {
  constexpr int64_t lineLanes = 16;
  if constexpr (width < panelWidth) {
    const uint32_t* share = panel + steps * panelWidth + column * steps + step * width;
    for (int64_t lane = 0; lane < width; lane += lineLanes) __builtin_prefetch(share + lane);
  }
}

template <typename Kernel, int rows, bool prefetches>
inline void runStrip(const TileTask& task, int64_t column) {
  constexpr int vectors = Kernel::vectorsOf(rows);
  typename Kernel::Sum sums[rows][vectors];
  auto* out = static_cast<typename Kernel::Element*>(task.sums) + column;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v)
      sums[r][v] = task.continues ? Kernel::load(out + r * panelWidth + v * Kernel::lanes) : Kernel::zero();
  const uint32_t* panel = task.panel + column;
  const uint32_t* activations = task.activations;
  for (int64_t step = 0; step < task.steps; ++step, panel += panelWidth, ++activations) {
    if constexpr (prefetches) prefetchNext<Kernel::lanes * vectors>(task.panel, task.steps, column, step);
    typename Kernel::Weights weights[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) weights[v] = Kernel::loadWeights(panel + v * Kernel::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const auto group = Kernel::broadcast(activations[r * task.rowStride]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) Kernel::dot(sums[r][v], group, weights[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) Kernel::store(out + r * panelWidth + v * Kernel::lanes, sums[r][v]);
}

template <typename Kernel, int rows, bool prefetches>
inline void runStrips(const TileTask& task) {
  constexpr int64_t width = Kernel::vectorsOf(rows) * Kernel::lanes;
  for (int64_t column = 0; column < panelWidth; column += width) runStrip<Kernel, rows, prefetches>(task, column);
}

template <typename Kernel, bool prefetches>
inline void runRows(const TileTask& task, int64_t rows) {
  switch (rows) {
    case 1: return runStrips<Kernel, 1, prefetches>(task);
    case 2: return runStrips<Kernel, 2, prefetches>(task);
    case 3: return runStrips<Kernel, 3, prefetches>(task);
    case 4: return runStrips<Kernel, 4, prefetches>(task);
    case 5: return runStrips<Kernel, 5, prefetches>(task);
    default: return runStrips<Kernel, 6, prefetches>(task);
  }
}

template <typename Kernel>
void runTile(const TileTask& task, int64_t rows) {
  return task.isFirst ? runRows<Kernel, true>(task, rows) : runRows<Kernel, false>(task, rows);
}

// One group of 64 inputs: adds to the sums.
template <typename Kernel, int rows, bool prefetches>
inline void addGroup(const GroupTask& task, int64_t column, int64_t group) {
  constexpr int vectors = Kernel::vectorsOf(rows);
  const uint32_t* panel = task.panel + group * groupSteps * panelWidth + column;
  const uint32_t* activations = task.activations + group * (groupInputs / 4);
  const uint16_t* scales = task.scales + group * panelWidth + column;
  typename Kernel::Sum sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    const int32_t added = task.corrections[r * task.correctionStride + group];
    const auto correction = Kernel::broadcast(static_cast<uint32_t>(added));
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[r][v] = correction;
  }
#pragma GCC unroll 1
  for (int64_t step = 0; step < groupSteps; ++step, panel += panelWidth) {
    if constexpr (prefetches)
      prefetchNext<Kernel::lanes * vectors>(task.panel, task.groups * groupSteps, column, group * groupSteps + step);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half, ++activations) {
      typename Kernel::Weights weights[vectors];
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        const auto loaded = Kernel::loadWeights(panel + v * Kernel::lanes);
        weights[v] = half == 0 ? Kernel::low(loaded) : Kernel::high(loaded);
      }
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const auto x = Kernel::broadcast(activations[r * task.rowStride]);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) Kernel::dot(sums[r][v], x, weights[v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
    const auto scale = Kernel::loadScales(scales + v * Kernel::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      float* to = task.sums + column + r * panelWidth + v * Kernel::lanes;
      Kernel::storeFloats(to, Kernel::addScaled(Kernel::loadFloats(to), sums[r][v], scale));
    }
  }
}

template <typename Kernel, int rows, bool prefetches>
inline void runGroupStrips(const GroupTask& task) {
  constexpr int vectors = Kernel::vectorsOf(rows);
  for (int64_t column = 0; column < panelWidth; column += Kernel::lanes * vectors) {
    float* out = task.sums + column;
    if (!task.continues)
      for (int r = 0; r < rows; ++r)
        for (int v = 0; v < vectors; ++v)
          Kernel::storeFloats(out + r * panelWidth + v * Kernel::lanes, Kernel::zeroFloats());
    for (int64_t group = 0; group < task.groups; ++group) addGroup<Kernel, rows, prefetches>(task, column, group);
  }
}

template <typename Kernel, bool prefetches>
inline void runGroupRows(const GroupTask& task, int64_t rows) {
  switch (rows) {
    case 1: return runGroupStrips<Kernel, 1, prefetches>(task);
    case 2: return runGroupStrips<Kernel, 2, prefetches>(task);
    case 3: return runGroupStrips<Kernel, 3, prefetches>(task);
    case 4: return runGroupStrips<Kernel, 4, prefetches>(task);
    case 5: return runGroupStrips<Kernel, 5, prefetches>(task);
    default: return runGroupStrips<Kernel, 6, prefetches>(task);
  }
}

template <typename Kernel>
void runGroupTile(const GroupTask& task, int64_t rows) {
  return task.isFirst ? runGroupRows<Kernel, true>(task, rows) : runGroupRows<Kernel, false>(task, rows);
}

} // namespace openplug
