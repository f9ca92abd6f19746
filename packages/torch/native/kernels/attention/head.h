// Packed attention of one text and one head, forward and backward, out of the blocks of an instruction set.
//
// Forward: a strip of queries against all keys at once, so its scores are in cache and the softmax is exact at the
// first attempt; probabilities replace the scores, unnormalised, and each row of the result is divided by its sum.
// Backward (Dao, "FlashAttention-2", 2023, arXiv 2307.08691, section 3.1): scores are computed again; with p the
// probabilities, m the dropout factors, g the incoming gradient and delta_i = g_i . out_i,
//   dP = g V^T,  dS = p (m dP - delta),  dV = (p m)^T g,  dQ = scale dS K,  dK = scale dS^T Q.
// m is 0 or keepScale; keepScale is taken out of dP and delta and applied to the results.
#pragma once
#include "portable.h"

namespace openplug::attention {

// Rows of a matrix that belong to one text and head: `count` rows of `depth` elements, `stride` apart.
template <typename T>
struct Slice {
  T* data;
  int64_t stride, count;

  T* row(int64_t r) const { return data + r * stride; }
};

// Hands out aligned pieces of a buffer; without a buffer it only counts.
class Arena {
 public:
  explicit Arena(char* base) : base_(base) {}
  template <typename T>
  T* take(int64_t count) {
    char* piece = base_ ? base_ + used_ : nullptr;
    used_ += roundUp(count * static_cast<int64_t>(sizeof(T)), 64);
    return reinterpret_cast<T*>(piece);
  }
  int64_t used() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
};

// Lengths that scratch has room for.
struct Extent {
  int64_t keys, depth;
};

template <typename Blocks>
class ForwardHead {
  using T = typename Blocks::Storage;
  using Word = typename Blocks::Word;
  using C = Compute<T>;
  static constexpr int64_t stripRows = 24;

 public:
  ForwardHead(Arena& arena, const Extent& extent)
      : depth_(extent.depth),
        depthWords_(roundUp(extent.depth, Blocks::pair) / Blocks::pair),
        columns_(roundUp(extent.depth, columnGroup)) {
    const int64_t keys = roundUp(extent.keys, panelColumns), panels = roundUp(columns_, panelColumns);
    keyPanels_ = arena.take<Word>(keys * depthWords_);
    valuePanels_ = arena.take<Word>(keys / Blocks::pair * panels);
    queries_ = arena.take<Word>(stripRows * depthWords_);
    scores_ = arena.take<C>(stripRows * keys);
    result_ = arena.take<C>(stripRows * columns_);
    factors_ = arena.take<C>(stripRows);
  }

  // rows: all queries of the text, of which there is at least one, seeing at least one key.
  void run(Slice<const T> q, Slice<const T> k, Slice<const T> v, Slice<T> out, Rows rows, Statistics<C> statistics) {
    const int64_t queries = rows.count, stride = roundUp(rows.visible, panelColumns);
    const int64_t keyWords = roundUp(rows.visible, Blocks::pair) / Blocks::pair;
    Blocks::transposed(keyPanels_, k.data, k.stride, rows.visible, depth_);
    Blocks::rows(valuePanels_, v.data, v.stride, rows.visible, depth_);
    for (int64_t i = 0; i < queries; i += stripRows) {
      rows.first = i;
      rows.count = std::min(stripRows, queries - i);
      const int64_t blockRows = roundUp(rows.count, 2), limit = rows.limit(blockRows);
      Blocks::left(queries_, q.row(i), q.stride, rows.count, blockRows, depth_);
      Blocks::multiply({scores_, stride, queries_, depthWords_, 1, keyPanels_, depthWords_ * panelColumns, blockRows,
                        roundUp(limit, columnGroup), depthWords_, false});
      const bool keeps = statistics.largest != nullptr;
      Blocks::softmax(scores_, stride, blockRows, rows, factors_,
                      keeps ? Statistics<C>{statistics.largest + i, statistics.logSum + i} : statistics);
      // The probabilities have taken the scores' place, a word where a score was.
      const Word* probabilities = reinterpret_cast<const Word*>(scores_);
      Blocks::multiply({result_, columns_, probabilities, stride, 1, valuePanels_, keyWords * panelColumns, blockRows,
                        columns_, roundUp(limit, Blocks::pair) / Blocks::pair, false});
      storeRows(out.row(i), out.stride, static_cast<const C*>(result_), columns_, rows.count, depth_,
                static_cast<const C*>(factors_), int64_t{1});
    }
  }

 private:
  int64_t depth_, depthWords_, columns_;
  Word *keyPanels_, *valuePanels_, *queries_;
  C *scores_, *result_, *factors_;
};

template <typename T>
struct HeadGradients {
  Slice<T> q, k, v;
};

template <typename Blocks>
class BackwardHead {
  using T = typename Blocks::Storage;
  using Word = typename Blocks::Word;
  using C = Compute<T>;
  static constexpr int64_t stripRows = 60;  // queries whose gradients are made together
  static constexpr int64_t keyBlock = 256;  // keys that a strip meets together
  static constexpr int64_t tileRows = 12;   // queries by a panel of keys: scores that stay in the first-level cache

 public:
  BackwardHead(Arena& arena, const Extent& extent)
      : depth_(extent.depth),
        depthWords_(roundUp(extent.depth, Blocks::pair) / Blocks::pair),
        columns_(roundUp(extent.depth, columnGroup)) {
    const int64_t keys = roundUp(extent.keys, panelColumns), panels = roundUp(columns_, panelColumns);
    keyPanels_ = arena.take<Word>(keys * depthWords_);
    valuePanels_ = arena.take<Word>(keys * depthWords_);
    keyRows_ = arena.take<Word>(keys / Blocks::pair * panels);
    queries_ = arena.take<Word>(stripRows * depthWords_);
    incoming_ = arena.take<Word>(stripRows * depthWords_);
    queryRows_ = arena.take<Word>(stripRows / Blocks::pair * panels);
    incomingRows_ = arena.take<Word>(stripRows / Blocks::pair * panels);
    dropped_ = arena.take<Word>(stripRows / Blocks::pair * blockStride);
    scoreGrads_ = arena.take<Word>(stripRows / Blocks::pair * blockStride);
    scoreGradsLeft_ = Blocks::pair == 1 ? scoreGrads_ : arena.take<Word>(stripRows * leftStride);
    scores_ = arena.take<C>(tileRows * panelColumns);
    grads_ = arena.take<C>(tileRows * panelColumns);
    deltas_ = arena.take<C>(stripRows);
    queryGrad_ = arena.take<C>(stripRows * columns_);
    keyGrad_ = arena.take<C>(keys * columns_);
    valueGrad_ = arena.take<C>(keys * columns_);
  }

  void run(Slice<const T> q, Slice<const T> k, Slice<const T> v, Slice<const T> out, Slice<const T> incoming, Rows rows,
           Statistics<const C> statistics, const HeadGradients<T>& gradients) {
    const int64_t queries = rows.count, visible = rows.visible;
    const C keepScale = static_cast<C>(rows.dropout->keepScale);
    const C scoreScale = static_cast<C>(rows.scale) * keepScale;
    Blocks::transposed(keyPanels_, k.data, k.stride, visible, depth_);
    Blocks::transposed(valuePanels_, v.data, v.stride, visible, depth_);
    Blocks::rows(keyRows_, k.data, k.stride, visible, depth_);
    const size_t gradientBytes = static_cast<size_t>(roundUp(visible, 2) * columns_) * sizeof(C);
    std::memset(keyGrad_, 0, gradientBytes);
    std::memset(valueGrad_, 0, gradientBytes);
    for (int64_t i = 0; i < queries; i += stripRows) {
      rows.first = i;
      rows.count = std::min(stripRows, queries - i);
      const int64_t blockRows = roundUp(rows.count, 2), limit = rows.limit(blockRows);
      Blocks::left(queries_, q.row(i), q.stride, rows.count, blockRows, depth_);
      Blocks::left(incoming_, incoming.row(i), incoming.stride, rows.count, blockRows, depth_);
      Blocks::rows(queryRows_, q.row(i), q.stride, rows.count, depth_);
      Blocks::rows(incomingRows_, incoming.row(i), incoming.stride, rows.count, depth_);
      dotRows(deltas_, out.row(i), incoming.row(i), out.stride, incoming.stride, rows.count, depth_, C(1) / keepScale);
      for (int64_t j = 0; j < limit; j += keyBlock)
        meet(rows, {statistics.largest + i, statistics.logSum + i}, j, std::min(limit - j, keyBlock), visible);
      storeRows(gradients.q.row(i), gradients.q.stride, static_cast<const C*>(queryGrad_), columns_, rows.count, depth_,
                &scoreScale, int64_t{0});
    }
    storeRows(gradients.k.data, gradients.k.stride, static_cast<const C*>(keyGrad_), columns_, visible, depth_,
              &scoreScale, int64_t{0});
    storeRows(gradients.v.data, gradients.v.stride, static_cast<const C*>(valueGrad_), columns_, visible, depth_,
              &keepScale, int64_t{0});
  }

 private:
  // What a strip of queries and the keys from firstKey on give to each other's gradients.
  void meet(const Rows& rows, Statistics<const C> statistics, int64_t firstKey, int64_t keys, int64_t visible) {
    const int64_t blockRows = roundUp(rows.count, 2);
    for (int64_t j = 0; j < keys; j += panelColumns) {
      const int64_t panel = (firstKey + j) * depthWords_, columns = roundUp(std::min(panelColumns, keys - j), columnGroup);
      for (int64_t r = 0; r < blockRows; r += tileRows) {
        Rows tile = rows;
        tile.first += r;
        tile.count = std::min(tileRows, rows.count - r);
        const int64_t tiled = roundUp(tile.count, 2);
        if (tile.limit(tiled) > firstKey + j) {
          Blocks::multiply({scores_, panelColumns, queries_ + r * depthWords_, depthWords_, 1, keyPanels_ + panel, 0, tiled,
                            columns, depthWords_, false});
          Blocks::multiply({grads_, panelColumns, incoming_ + r * depthWords_, depthWords_, 1, valuePanels_ + panel, 0,
                            tiled, columns, depthWords_, false});
        }
        const int64_t pairs = r / Blocks::pair * blockStride + j;
        Blocks::gradient(scores_, grads_, tiled, firstKey + j, tile, {statistics.largest + r, statistics.logSum + r},
                         deltas_ + r, dropped_ + pairs, scoreGrads_ + pairs, blockStride,
                         scoreGradsLeft_ + r * leftStride + j / Blocks::pair, leftStride);
      }
    }
    const int64_t rowWords = roundUp(rows.count, Blocks::pair) / Blocks::pair;
    const int64_t keyWords = roundUp(visible, Blocks::pair) / Blocks::pair;
    Blocks::multiply({queryGrad_, columns_, scoreGradsLeft_, leftStride, 1,
                      keyRows_ + firstKey / Blocks::pair * panelColumns, keyWords * panelColumns, blockRows, columns_,
                      roundUp(keys, Blocks::pair) / Blocks::pair, firstKey > 0});
    const int64_t grown = roundUp(keys, 2);
    Blocks::multiply({keyGrad_ + firstKey * columns_, columns_, scoreGrads_, 1, blockStride, queryRows_,
                      rowWords * panelColumns, grown, columns_, rowWords, true});
    Blocks::multiply({valueGrad_ + firstKey * columns_, columns_, dropped_, 1, blockStride, incomingRows_,
                      rowWords * panelColumns, grown, columns_, rowWords, true});
  }

  // A line more than the block, so that a column's words do not all fall into the same cache sets.
  static constexpr int64_t blockStride = keyBlock + 16;
  static constexpr int64_t leftStride = Blocks::pair == 1 ? blockStride : keyBlock / Blocks::pair + 16;

  int64_t depth_, depthWords_, columns_;
  Word *keyPanels_, *valuePanels_, *keyRows_, *queries_, *incoming_, *queryRows_, *incomingRows_;
  Word *dropped_, *scoreGrads_, *scoreGradsLeft_;
  C *scores_, *grads_, *deltas_, *queryGrad_, *keyGrad_, *valueGrad_;
};

} // namespace openplug::attention
