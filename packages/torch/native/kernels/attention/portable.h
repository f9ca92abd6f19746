// Blocks of packed attention for every CPU: fp32 and fp64 arithmetic in vectors as wide as the instruction set has.
// bfloat16 is widened to fp32 as operands are laid out, and narrowed as results are stored.
#pragma once
#include "shared.h"

namespace openplug::attention {

template <typename Scalar, int bytes>
struct VectorOf {
  typedef Scalar type __attribute__((vector_size(bytes), aligned(alignof(Scalar)), may_alias));
};

template <typename Scalar, int bytes, int M, int N>
KERNEL_INLINE void tileBody(Scalar* c, int64_t cStride, const Scalar* a, int64_t aRow, int64_t aStep, const Scalar* b,
                            int64_t depth, bool accumulate) {
  using Vector = typename VectorOf<Scalar, bytes>::type;
  constexpr int lanes = bytes / sizeof(Scalar);
  Vector sums[M][N];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      sums[m][n] = accumulate ? *reinterpret_cast<const Vector*>(c + m * cStride + n * lanes) : Vector{};
  for (int64_t k = 0; k < depth; ++k) {
    Vector right[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) right[n] = *reinterpret_cast<const Vector*>(b + k * panelColumns + n * lanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Scalar left = a[m * aRow + k * aStep];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sums[m][n] += left * right[n];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) *reinterpret_cast<Vector*>(c + m * cStride + n * lanes) = sums[m][n];
}

// `vectors` columns of accumulators fit the registers beside six rows: 24 of 32, or 12 of 16.
template <typename Scalar, InstructionSet set>
struct Tile;

#define PACKED_ATTENTION_TILE(set, attribute, bytes, most)                                                    \
  template <typename Scalar>                                                                                  \
  struct Tile<Scalar, InstructionSet::set> {                                                                  \
    static constexpr int lanes = bytes / sizeof(Scalar);                                                      \
    static constexpr int vectors = most;                                                                      \
    template <int M, int N>                                                                                   \
    attribute static void run(Scalar* c, int64_t cStride, const Scalar* a, int64_t aRow, int64_t aStep,       \
                              const Scalar* b, int64_t depth, bool accumulate) {                              \
      tileBody<Scalar, bytes, M, N>(c, cStride, a, aRow, aStep, b, depth, accumulate);                        \
    }                                                                                                         \
  };
#if defined(KERNEL_AVX512)
PACKED_ATTENTION_TILE(avx512, KERNEL_AVX512, 64, 4)
PACKED_ATTENTION_TILE(avx2, KERNEL_AVX2, 32, 2)
#endif
PACKED_ATTENTION_TILE(baseline, , 16, 2)
#undef PACKED_ATTENTION_TILE

// The draws of keys 64 group .. 64 group + 63 of one row, as shared.h lays them out.
KERNEL_INLINE void drawGroup(uint32_t* __restrict draws, int64_t group, uint32_t query, const Rows& rows) {
  uint32_t words[2][16];
  const uint64_t start = rows.dropout->offset + static_cast<uint64_t>(group) * 8;
#pragma omp simd
  for (int i = 0; i < 8; ++i) {
    const uint64_t counter = start + static_cast<uint64_t>(i);
    uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32), c2 = query, c3 = rows.item;
    philox4x32(c0, c1, c2, c3, rows.dropout->key0, rows.dropout->key1);
    words[0][2 * i] = c0;
    words[0][2 * i + 1] = c1;
    words[1][2 * i] = c2;
    words[1][2 * i + 1] = c3;
  }
  for (int half = 0; half < 2; ++half)
    for (int w = 0; w < 2; ++w)
      for (int lane = 0; lane < 16; ++lane)
        draws[half * 32 + w * 16 + lane] = half == 0 ? words[w][lane] >> 16 : words[w][lane] & 0xffffu;
}

template <typename C>
KERNEL_INLINE void softmaxBlockBody(C* scores, int64_t stride, int64_t blockRows, const Rows* rows, C* factors,
                                    Statistics<C> statistics) {
  const int64_t limit = rows->limit(blockRows);
  const bool drops = rows->dropout->drops();
  const C scale = static_cast<C>(rows->scale);
  for (int64_t r = 0; r < blockRows; ++r) {
    C* __restrict row = scores + r * stride;
    const int64_t seen = rows->visibleTo(r);
    std::fill(row + seen, row + limit, C(0));
    factors[r] = 0;
    if (seen == 0) continue;
    C largest = -INFINITY;
#pragma omp simd reduction(max : largest)
    for (int64_t j = 0; j < seen; ++j) largest = row[j] > largest ? row[j] : largest;
    C sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < seen; ++j) {
      row[j] = expNonPositive((row[j] - largest) * scale);
      sum += row[j];
    }
    for (int64_t j0 = 0; drops && j0 < seen; j0 += panelColumns) {
      uint32_t draws[panelColumns];
      drawGroup(draws, j0 / panelColumns, static_cast<uint32_t>(rows->first + r), *rows);
      const uint32_t threshold = rows->dropout->threshold;
      const int64_t count = std::min(panelColumns, seen - j0);
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) row[j0 + j] = draws[j] >= threshold ? row[j0 + j] : C(0);
    }
    factors[r] = static_cast<C>(rows->dropout->keepScale) / sum;
    if (statistics.largest) {
      statistics.largest[r] = largest;
      statistics.logSum[r] = std::log(sum);
    }
  }
}
KERNEL_MULTIVERSION(softmaxBlock)

template <typename C>
KERNEL_INLINE void gradientBlockBody(const C* scores, const C* grads, int64_t blockRows, int64_t firstKey,
                                     const Rows* rows, Statistics<const C> statistics, const C* deltas, C* dropped,
                                     C* scoreGrads, int64_t stride) {
  const bool drops = rows->dropout->drops();
  const C scale = static_cast<C>(rows->scale);
  const uint32_t threshold = rows->dropout->threshold;
  uint32_t draws[panelColumns];
  std::fill(draws, draws + panelColumns, threshold);
  for (int64_t r = 0; r < blockRows; ++r) {
    const int seen = static_cast<int>(std::clamp<int64_t>(rows->visibleTo(r) - firstKey, 0, panelColumns));
    C* __restrict droppedRow = dropped + r * stride;
    C* __restrict scoreGradRow = scoreGrads + r * stride;
    if (seen == 0) {
      std::fill(droppedRow, droppedRow + panelColumns, C(0));
      std::fill(scoreGradRow, scoreGradRow + panelColumns, C(0));
      continue;
    }
    if (drops) drawGroup(draws, firstKey / panelColumns, static_cast<uint32_t>(rows->first + r), *rows);
    const C* __restrict score = scores + r * panelColumns;
    const C* __restrict grad = grads + r * panelColumns;
    const C largest = statistics.largest[r], logSum = statistics.logSum[r], delta = deltas[r];
#pragma omp simd
    for (int j = 0; j < panelColumns; ++j) {
      const C probability = expNonPositive((score[j] - largest) * scale - logSum);
      const bool kept = draws[j] >= threshold;
      const C after = kept ? probability : C(0);
      const C gradient = probability * ((kept ? grad[j] : C(0)) - delta);
      droppedRow[j] = j < seen ? after : C(0);
      scoreGradRow[j] = j < seen ? gradient : C(0);
    }
  }
}
KERNEL_MULTIVERSION(gradientBlock)

// Panels of the transpose: [rows / 64][depth][64], missing rows zero.
template <typename T>
KERNEL_INLINE void packTransposedBody(Compute<T>* __restrict target, const T* source, int64_t stride, int64_t rows,
                                      int64_t depth) {
  for (int64_t r0 = 0; r0 < rows; r0 += panelColumns, target += depth * panelColumns) {
    const int64_t count = std::min(panelColumns, rows - r0);
    for (int64_t r = 0; r < count; ++r)
      for (int64_t d = 0; d < depth; ++d) target[d * panelColumns + r] = load(source[(r0 + r) * stride + d]);
    for (int64_t d = 0; d < depth && count < panelColumns; ++d)
      std::fill(target + d * panelColumns + count, target + (d + 1) * panelColumns, Compute<T>(0));
  }
}
KERNEL_MULTIVERSION(packTransposed)

// Panels of the rows as they are: [depth / 64][rows][64], missing columns zero.
template <typename T>
KERNEL_INLINE void packRowsBody(Compute<T>* __restrict target, const T* source, int64_t stride, int64_t rows,
                                int64_t depth) {
  for (int64_t d0 = 0; d0 < depth; d0 += panelColumns) {
    const int64_t count = std::min(panelColumns, depth - d0);
    for (int64_t r = 0; r < rows; ++r, target += panelColumns) {
      for (int64_t d = 0; d < count; ++d) target[d] = load(source[r * stride + d0 + d]);
      std::fill(target + count, target + panelColumns, Compute<T>(0));
    }
  }
}
KERNEL_MULTIVERSION(packRows)

// A left operand [blockRows][depth]; rows past `rows` are zero.
template <typename T>
KERNEL_INLINE void packLeftBody(Compute<T>* __restrict target, const T* source, int64_t stride, int64_t rows,
                                int64_t blockRows, int64_t depth) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t d = 0; d < depth; ++d) target[r * depth + d] = load(source[r * stride + d]);
  std::fill(target + rows * depth, target + blockRows * depth, Compute<T>(0));
}
KERNEL_MULTIVERSION(packLeft)

// Products of the rows of two operands, times `factor`.
template <typename T>
KERNEL_INLINE void dotRowsBody(Compute<T>* __restrict dots, const T* a, const T* b, int64_t aStride,
                               int64_t bStride, int64_t rows, int64_t depth, Compute<T> factor) {
  for (int64_t r = 0; r < rows; ++r) {
    Compute<T> sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < depth; ++d) sum += load(a[r * aStride + d]) * load(b[r * bStride + d]);
    dots[r] = sum * factor;
  }
}
KERNEL_MULTIVERSION(dotRows)

// Stores rows in the dtype of the tensors, row r times factors[r * factorStep].
template <typename T>
KERNEL_INLINE void storeRowsBody(T* __restrict target, int64_t stride, const Compute<T>* __restrict source,
                                 int64_t sourceStride, int64_t rows, int64_t depth, const Compute<T>* factors,
                                 int64_t factorStep) {
  for (int64_t r = 0; r < rows; ++r) {
    const Compute<T> factor = factors[r * factorStep];
#pragma omp simd
    for (int64_t d = 0; d < depth; ++d) target[r * stride + d] = narrow<T>(source[r * sourceStride + d] * factor);
  }
}
KERNEL_MULTIVERSION(storeRows)

// The blocks that head.h composes, for tensors of type T.
template <typename T>
struct PortableBlocks {
  using Storage = T;
  using Word = Compute<T>;
  static constexpr int pair = 1; // elements in a word

  static void multiply(const Product<Word, Word>& product) {
#if defined(KERNEL_AVX512)
    switch (instructionSet()) {
      case InstructionSet::avx512: return multiplyTiles<Tile<Word, InstructionSet::avx512>>(product);
      case InstructionSet::avx2: return multiplyTiles<Tile<Word, InstructionSet::avx2>>(product);
      case InstructionSet::baseline: break;
    }
#endif
    multiplyTiles<Tile<Word, InstructionSet::baseline>>(product);
  }
  static void transposed(Word* target, const T* source, int64_t stride, int64_t rows, int64_t depth) {
    packTransposed(target, source, stride, rows, depth);
  }
  static void rows(Word* target, const T* source, int64_t stride, int64_t rows, int64_t depth) {
    packRows(target, source, stride, rows, depth);
  }
  static void left(Word* target, const T* source, int64_t stride, int64_t rows, int64_t blockRows, int64_t depth) {
    packLeft(target, source, stride, rows, blockRows, depth);
  }
  static void softmax(Word* scores, int64_t stride, int64_t blockRows, const Rows& rows, Word* factors,
                      Statistics<Word> statistics) {
    softmaxBlock(scores, stride, blockRows, &rows, factors, statistics);
  }
  // With one element in a word the two layouts of the scores' gradient are the same: `left` is not used.
  static void gradient(const Word* scores, const Word* grads, int64_t blockRows, int64_t firstKey, const Rows& rows,
                       Statistics<const Word> statistics, const Word* deltas, Word* dropped, Word* scoreGrads,
                       int64_t stride, Word* /* left */, int64_t /* leftStride */) {
    gradientBlock(scores, grads, blockRows, firstKey, &rows, statistics, deltas, dropped, scoreGrads, stride);
  }
};

} // namespace openplug::attention
