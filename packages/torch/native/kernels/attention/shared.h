// What the parts of packed attention share: which keys a row sees, its dropout, and the loops around a tile of a
// matrix product.
//
// Operands of products are made of words: one float or double, or two bfloat16 that a dot product takes at once.
// A left operand is read word by word through two strides; a right operand lies in panels of 64 columns,
// [columns / 64][contraction words][64], so that a tile's reads follow one another. Columns come in groups of 16.
#pragma once
#include <algorithm>

#include "../philox.h"

namespace openplug::attention {

constexpr int64_t panelColumns = 64;
constexpr int64_t columnGroup = 16;

inline int64_t roundUp(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// Dropout of attention probabilities: an element is kept if its 16-bit draw is at least `threshold`, so the rate is p
// rounded to 1/65536. Draws of row i of (text b, head h) come from Philox counters (offset + c, i, b * H + h), eight
// counters c for each 64 keys. The words of counters 8g .. 8g + 7 in two rows of 16,
//   first = words 0 and 1 of each counter, second = words 2 and 3,
// hold the draws of keys 64g + 0..15 in the high halves of `first`, 16..31 in those of `second`, 32..47 in the low
// halves of `first`, 48..63 in those of `second`. A draw does not depend on lengths, nor on the other texts' contents.
struct Dropout {
  uint32_t key0, key1;
  uint64_t offset;
  uint32_t threshold;
  double keepScale;

  Dropout(double p, int64_t seed, int64_t firstCounter, const char* op) {
    TORCH_CHECK(p >= 0.0 && p < 1.0, op, ": dropout probability p must be in [0, 1), got ", p);
    key0 = static_cast<uint32_t>(static_cast<uint64_t>(seed));
    key1 = static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32);
    offset = static_cast<uint64_t>(firstCounter);
    threshold = static_cast<uint32_t>(std::min(65535.0, std::round(p * 65536.0)));
    keepScale = 65536.0 / (65536.0 - threshold);
  }
  bool drops() const { return threshold > 0; }
};

// Successive queries of one text and head. Row r sees its first visibleTo(r) keys; rows past `count` are padding of a
// block and see none.
struct Rows {
  int64_t first, count;
  int64_t visible; // keys that the text shows
  bool causal;
  double scale;
  uint32_t item; // text * heads + head
  const Dropout* dropout;

  int64_t visibleTo(int64_t r) const {
    if (r >= count) return 0;
    return causal ? std::min(visible, first + r + 1) : visible;
  }
  // Keys that any of the first n rows sees.
  int64_t limit(int64_t n) const { return visibleTo(std::min(n, count) - 1); }
};

// Per row, what the backward pass needs of the forward's softmax: probability = exp((score - largest) * scale - logSum).
template <typename C>
struct Statistics {
  C* largest;
  C* logSum;
};

// One product C[m][n] (+)= sum over k of A[m][k] B[k][n], in words.
template <typename Accumulator, typename Word>
struct Product {
  Accumulator* c;
  int64_t cStride;
  const Word* a;
  int64_t aRow, aStep; // A[m][k] = a[m * aRow + k * aStep]
  const Word* b;
  int64_t panelStride;
  int64_t m, n, k; // m even, n a multiple of 16
  bool accumulate;
};

// Runs a product tile by tile. Tile::run<M, N> makes M rows by N vectors of Tile::lanes columns.
template <typename Tile, typename Accumulator, typename Word>
void multiplyTiles(const Product<Accumulator, Word>& p) {
  constexpr int64_t depthBlock = 8192 / sizeof(Word) / 16; // a panel's words of one block: 32 KiB
  for (int64_t k0 = 0; k0 < p.k; k0 += depthBlock) {
    const int64_t depth = std::min(depthBlock, p.k - k0);
    const bool accumulate = p.accumulate || k0 > 0;
    for (int64_t n0 = 0; n0 < p.n; n0 += panelColumns) {
      const Word* panel = p.b + n0 / panelColumns * p.panelStride + k0 * panelColumns;
      const int64_t columns = std::min(panelColumns, p.n - n0);
      const auto rowsOf = [&](auto rows, int64_t m0) {
        constexpr int M = decltype(rows)::value;
        Accumulator* c = p.c + m0 * p.cStride + n0;
        const Word* a = p.a + m0 * p.aRow + k0 * p.aStep;
        int64_t at = 0;
        const auto columnsOf = [&](auto vectors) {
          constexpr int N = decltype(vectors)::value;
          for (; at + N * Tile::lanes <= columns; at += N * Tile::lanes)
            Tile::template run<M, N>(c + at, p.cStride, a, p.aRow, p.aStep, panel + at, depth, accumulate);
        };
        if constexpr (Tile::vectors == 4) columnsOf(std::integral_constant<int, 4>{});
        columnsOf(std::integral_constant<int, 2>{});
        if constexpr (Tile::lanes == columnGroup) columnsOf(std::integral_constant<int, 1>{});
      };
      int64_t m0 = 0;
      for (; m0 + 6 <= p.m; m0 += 6) rowsOf(std::integral_constant<int, 6>{}, m0);
      if (p.m - m0 == 4) rowsOf(std::integral_constant<int, 4>{}, m0);
      if (p.m - m0 == 2) rowsOf(std::integral_constant<int, 2>{}, m0);
    }
  }
}

} // namespace openplug::attention
