// Blocks of packed attention for CPUs with AVX512-BF16: operands stay bfloat16, two in a word, and one instruction
// multiplies and adds 16 pairs of them. Scores, softmax and sums are fp32; probabilities are rounded to bfloat16 to be
// multiplied with values.
#pragma once
#include "portable.h"

#if defined(KERNEL_AVX512)
#include <immintrin.h>

#define KERNEL_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#define KERNEL_BF16_INLINE KERNEL_INLINE KERNEL_BF16

namespace openplug::attention {

inline bool hasBf16Products() {
  static const bool has = instructionSet() == InstructionSet::avx512 && __builtin_cpu_supports("avx512bf16");
  return has;
}

struct Bf16Tile {
  static constexpr int lanes = 16;
  static constexpr int vectors = 4;

  template <int M, int N>
  KERNEL_BF16 static void run(float* c, int64_t cStride, const uint32_t* a, int64_t aRow, int64_t aStep,
                              const uint32_t* b, int64_t depth, bool accumulate) {
    __m512 sums[M][N];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sums[m][n] = accumulate ? _mm512_loadu_ps(c + m * cStride + n * lanes) : _mm512_setzero_ps();
    for (int64_t k = 0; k < depth; ++k, a += aStep, b += panelColumns) {
      __m512bh right[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) right[n] = (__m512bh)_mm512_loadu_si512(b + n * lanes);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const __m512bh left = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[m * aRow]));
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) sums[m][n] = _mm512_dpbf16_ps(sums[m][n], left, right[n]);
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) _mm512_storeu_ps(c + m * cStride + n * lanes, sums[m][n]);
  }
};

// 2^x: a fit of degree 4 to 2^f on [0, 1) (relative error 2.6e-6, a thousandth of a bfloat16 step) times 2^floor(x).
KERNEL_BF16_INLINE __m512 exp2Vector(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_set1_ps(0.013534155f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.0520114899f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.241442735f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69300384f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.00000259f));
  return _mm512_scalef_ps(p, x);
}

constexpr float log2e = 1.44269504f;

// Lanes of 16 keys that come before `count`.
KERNEL_BF16_INLINE __mmask16 lanesBelow(int64_t count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}

// What a row's draws are made with.
struct DrawKeys {
  __m512i key0[10], key1[10], multiplier0, multiplier1, lane, threshold, item;

  KERNEL_BF16 explicit DrawKeys(const Rows& rows) {
    const Dropout& d = *rows.dropout;
    for (uint32_t round = 0; round < 10; ++round) {
      key0[round] = _mm512_set1_epi64(static_cast<uint32_t>(d.key0 + round * 0x9E3779B9u));
      key1[round] = _mm512_set1_epi64(static_cast<uint32_t>(d.key1 + round * 0xBB67AE85u));
    }
    multiplier0 = _mm512_set1_epi64(0xD2511F53u);
    multiplier1 = _mm512_set1_epi64(0xCD9E8D57u);
    lane = _mm512_add_epi64(_mm512_set1_epi64(static_cast<int64_t>(d.offset)), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
    threshold = _mm512_set1_epi32(static_cast<int>(d.threshold << 16));
    item = _mm512_set1_epi64(rows.item);
  }
};

// Masks of the keys that are kept among 64: Philox on eight counters in the lower halves of 64-bit lanes. What is left
// in the upper halves does not count, as the products of the next round read the lower ones only.
KERNEL_BF16_INLINE void drawMasks(__mmask16 kept[4], const DrawKeys& keys, int64_t group, int64_t query) {
  const __m512i counter = _mm512_add_epi64(keys.lane, _mm512_set1_epi64(group * 8));
  __m512i c0 = counter, c1 = _mm512_srli_epi64(counter, 32), c2 = _mm512_set1_epi64(query), c3 = keys.item;
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const __m512i product0 = _mm512_mul_epu32(c0, keys.multiplier0), product1 = _mm512_mul_epu32(c2, keys.multiplier1);
    c0 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(product1, 32), c1, keys.key0[round], 0x96); // exclusive or
    c2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(product0, 32), c3, keys.key1[round], 0x96);
    c1 = product1;
    c3 = product0;
  }
  const __m512i first = _mm512_mask_blend_epi32(0xaaaa, c0, _mm512_slli_epi64(c1, 32));
  const __m512i second = _mm512_mask_blend_epi32(0xaaaa, c2, _mm512_slli_epi64(c3, 32));
  kept[0] = _mm512_cmpge_epu32_mask(first, keys.threshold);
  kept[1] = _mm512_cmpge_epu32_mask(second, keys.threshold);
  kept[2] = _mm512_cmpge_epu32_mask(_mm512_slli_epi32(first, 16), keys.threshold);
  kept[3] = _mm512_cmpge_epu32_mask(_mm512_slli_epi32(second, 16), keys.threshold);
}

KERNEL_BF16_INLINE void storePair(uint32_t* target, __m512 low, __m512 high) {
  _mm512_storeu_si512(target, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// The scores of a row become 16-bit probabilities in the first half of their place.
template <bool drops>
KERNEL_BF16_INLINE void softmaxRowBf16(float* row, int64_t seen, int64_t limit, const Rows& rows, int64_t r,
                                       const DrawKeys* keys, float& largestOut, float& sumOut) {
  const __m512 least = _mm512_set1_ps(-INFINITY);
  __m512 largest[4] = {least, least, least, least};
  int64_t j = 0;
  for (; j + 64 <= seen; j += 64)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) largest[v] = _mm512_max_ps(largest[v], _mm512_loadu_ps(row + j + 16 * v));
  for (int v = 0; j < seen; j += 16, ++v)
    largest[v] = _mm512_max_ps(largest[v], _mm512_mask_loadu_ps(least, lanesBelow(seen - j), row + j));
  const float most =
      _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(largest[0], largest[1]), _mm512_max_ps(largest[2], largest[3])));
  const __m512 shift = _mm512_set1_ps(most), scale = _mm512_set1_ps(static_cast<float>(rows.scale) * log2e);
  __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  uint32_t* words = reinterpret_cast<uint32_t*>(row);
  const auto group = [&](auto whole) KERNEL_BF16 {
    __mmask16 kept[4];
    if constexpr (drops) drawMasks(kept, *keys, j / 64, rows.first + r);
    __m512 after[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const __m512 exponent = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(row + j + 16 * v), shift), scale);
      __m512 e = exp2Vector(exponent);
      if constexpr (!decltype(whole)::value) e = _mm512_maskz_mov_ps(lanesBelow(seen - j - 16 * v), e);
      sums[v] = _mm512_add_ps(sums[v], e);
      after[v] = drops ? _mm512_maskz_mov_ps(kept[v], e) : e;
    }
    storePair(words + j / 2, after[0], after[1]);
    storePair(words + j / 2 + 16, after[2], after[3]);
  };
  for (j = 0; j + 64 <= seen; j += 64) group(std::true_type{});
  if (j < seen) {
    group(std::false_type{});
    j += 64;
  }
  for (; j < limit; j += 32) _mm512_storeu_si512(words + j / 2, _mm512_setzero_si512());
  largestOut = most;
  sumOut = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

struct Bf16Blocks {
  using Storage = Bf16;
  using Word = uint32_t;
  static constexpr int pair = 2;

  static void multiply(const Product<float, Word>& product) { multiplyTiles<Bf16Tile>(product); }

  // Sixteen rows of sixteen words, from elements [first, depth) of rows [0, rows).
  KERNEL_BF16_INLINE static void loadSquare(__m512i square[16], const Bf16* source, int64_t stride, int64_t rows,
                                            int64_t elements) {
    const __mmask32 mask = elements >= 32 ? ~__mmask32{0} : (__mmask32{1} << elements) - 1;
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r)
      square[r] = r < rows ? _mm512_maskz_loadu_epi16(mask, source + r * stride) : _mm512_setzero_si512();
  }

  KERNEL_BF16_INLINE static void transposeSquare(__m512i s[16]) {
    __m512i t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_epi32(s[i], s[i + 1]);
      t[i + 1] = _mm512_unpackhi_epi32(s[i], s[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
      s[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
      s[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
      s[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
      s[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // Now s[4g + c], 128-bit lane l, holds column 4l + c of rows 4g .. 4g + 3.
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const __m512i low01 = _mm512_shuffle_i32x4(s[c], s[4 + c], 0x88), high01 = _mm512_shuffle_i32x4(s[c], s[4 + c], 0xdd);
      const __m512i low23 = _mm512_shuffle_i32x4(s[8 + c], s[12 + c], 0x88);
      const __m512i high23 = _mm512_shuffle_i32x4(s[8 + c], s[12 + c], 0xdd);
      t[c] = _mm512_shuffle_i32x4(low01, low23, 0x88);
      t[8 + c] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
      t[4 + c] = _mm512_shuffle_i32x4(high01, high23, 0x88);
      t[12 + c] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) s[i] = t[i];
  }

  KERNEL_BF16 static void transposed(Word* target, const Bf16* source, int64_t stride, int64_t rows, int64_t depth) {
    const int64_t words = (depth + 1) / 2;
    for (int64_t r0 = 0; r0 < rows; r0 += panelColumns, target += words * panelColumns)
      for (int64_t r = 0; r < panelColumns; r += 16)
        for (int64_t w = 0; w < words; w += 16) {
          __m512i square[16];
          loadSquare(square, source + (r0 + r) * stride + 2 * w, stride, rows - r0 - r, depth - 2 * w);
          transposeSquare(square);
#pragma GCC unroll 16
          for (int i = 0; i < 16; ++i)
            if (w + i < words) _mm512_storeu_si512(target + (w + i) * panelColumns + r, square[i]);
        }
  }

  // Two rows of 32 elements become 16 pairs and 16 more, the upper row's element first in each.
  KERNEL_BF16_INLINE static void pairRows(__m512i upper, __m512i lower, __m512i& low, __m512i& high) {
    const __m512i interleave =
        _mm512_setr_epi32(0x00200000, 0x00210001, 0x00220002, 0x00230003, 0x00240004, 0x00250005, 0x00260006,
                          0x00270007, 0x00280008, 0x00290009, 0x002a000a, 0x002b000b, 0x002c000c, 0x002d000d,
                          0x002e000e, 0x002f000f);
    low = _mm512_permutex2var_epi16(upper, interleave, lower);
    high = _mm512_permutex2var_epi16(upper, _mm512_add_epi16(interleave, _mm512_set1_epi16(16)), lower);
  }

  KERNEL_BF16 static void rows(Word* target, const Bf16* source, int64_t stride, int64_t rows, int64_t depth) {
    for (int64_t d0 = 0; d0 < depth; d0 += panelColumns)
      for (int64_t r = 0; r < rows; r += 2, target += panelColumns)
        for (int64_t d = 0; d < panelColumns; d += 32) {
          const int64_t left = depth - d0 - d;
          const __mmask32 mask = left >= 32 ? ~__mmask32{0} : left <= 0 ? 0 : (__mmask32{1} << left) - 1;
          const Bf16* from = source + r * stride + d0 + d;
          __m512i low, high;
          pairRows(_mm512_maskz_loadu_epi16(mask, from),
                   r + 1 < rows ? _mm512_maskz_loadu_epi16(mask, from + stride) : _mm512_setzero_si512(), low, high);
          _mm512_storeu_si512(target + d, low);
          _mm512_storeu_si512(target + d + 16, high);
        }
  }

  KERNEL_BF16 static void left(Word* target, const Bf16* source, int64_t stride, int64_t rows, int64_t blockRows,
                               int64_t depth) {
    const int64_t words = (depth + 1) / 2;
    for (int64_t r = 0; r < blockRows; ++r)
      for (int64_t w = 0; w < words; w += 16) {
        const int64_t elements = r < rows ? depth - 2 * w : 0;
        const __mmask32 mask = elements >= 32 ? ~__mmask32{0} : (__mmask32{1} << elements) - 1;
        _mm512_mask_storeu_epi32(target + r * words + w, lanesBelow(words - w),
                                 _mm512_maskz_loadu_epi16(mask, source + r * stride + 2 * w));
      }
  }

  KERNEL_BF16 static void softmax(float* scores, int64_t stride, int64_t blockRows, const Rows& rows, float* factors,
                                  Statistics<float> statistics) {
    const bool drops = rows.dropout->drops();
    const DrawKeys keys(rows);
    const int64_t limit = rows.limit(blockRows);
    for (int64_t r = 0; r < blockRows; ++r) {
      float* row = scores + r * stride;
      const int64_t seen = rows.visibleTo(r);
      float largest = 0, sum = 0;
      if (seen == 0)
        std::memset(row, 0, static_cast<size_t>(limit + 1) / 2 * sizeof(Word));
      else if (drops)
        softmaxRowBf16<true>(row, seen, limit, rows, r, &keys, largest, sum);
      else
        softmaxRowBf16<false>(row, seen, limit, rows, r, nullptr, largest, sum);
      factors[r] = seen == 0 ? 0 : static_cast<float>(rows.dropout->keepScale) / sum;
      if (statistics.largest && seen > 0) {
        statistics.largest[r] = largest;
        statistics.logSum[r] = std::log(sum);
      }
    }
  }

  // Of one row and 64 keys: probabilities after dropout and gradients of the scores, 32 to a vector.
  template <bool drops>
  KERNEL_BF16_INLINE static void gradientRow(const float* score, const float* grad, int64_t seen, int64_t query,
                                             int64_t group, float largest, float logSum, float delta, float scale,
                                             const DrawKeys* keys, __m512i dropped[2], __m512i scoreGrad[2]) {
    __mmask16 kept[4];
    if constexpr (drops) drawMasks(kept, *keys, group, query);
    const __m512 shift = _mm512_set1_ps(largest), factor = _mm512_set1_ps(scale * log2e);
    const __m512 sum = _mm512_set1_ps(logSum * log2e), mean = _mm512_set1_ps(delta);
    __m512 after[4], result[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const __mmask16 shown = lanesBelow(seen - 16 * v);
      const __m512 exponent = _mm512_fmsub_ps(_mm512_sub_ps(_mm512_loadu_ps(score + 16 * v), shift), factor, sum);
      const __m512 p = exp2Vector(exponent);
      const __mmask16 used = drops ? static_cast<__mmask16>(kept[v] & shown) : shown;
      after[v] = _mm512_maskz_mov_ps(used, p);
      result[v] = _mm512_maskz_mul_ps(shown, p, _mm512_sub_ps(_mm512_maskz_loadu_ps(used, grad + 16 * v), mean));
    }
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      dropped[half] = (__m512i)_mm512_cvtne2ps_pbh(after[2 * half + 1], after[2 * half]);
      scoreGrad[half] = (__m512i)_mm512_cvtne2ps_pbh(result[2 * half + 1], result[2 * half]);
    }
  }

  template <bool drops>
  KERNEL_BF16 static void gradientRows(const float* scores, const float* grads, int64_t blockRows, int64_t firstKey,
                                       const Rows& rows, Statistics<const float> statistics, const float* deltas,
                                       Word* dropped, Word* scoreGrads, int64_t stride, Word* left, int64_t leftStride) {
    const DrawKeys keys(rows);
    const float scale = static_cast<float>(rows.scale);
    for (int64_t r = 0; r < blockRows; r += 2) {
      __m512i p[2][2], g[2][2];
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        const int64_t row = r + i, seen = rows.visibleTo(row) - firstKey;
        const bool real = row < rows.count;
        gradientRow<drops>(scores + row * panelColumns, grads + row * panelColumns, seen, rows.first + row,
                           firstKey / panelColumns, real ? statistics.largest[row] : 0, real ? statistics.logSum[row] : 0,
                           real ? deltas[row] : 0, scale, &keys, p[i], g[i]);
        _mm512_storeu_si512(left + row * leftStride, g[i][0]);
        _mm512_storeu_si512(left + row * leftStride + 16, g[i][1]);
      }
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const int64_t at = r / 2 * stride + 32 * half;
        __m512i low, high;
        pairRows(p[0][half], p[1][half], low, high);
        _mm512_storeu_si512(dropped + at, low);
        _mm512_storeu_si512(dropped + at + 16, high);
        pairRows(g[0][half], g[1][half], low, high);
        _mm512_storeu_si512(scoreGrads + at, low);
        _mm512_storeu_si512(scoreGrads + at + 16, high);
      }
    }
  }

  static void gradient(const float* scores, const float* grads, int64_t blockRows, int64_t firstKey, const Rows& rows,
                       Statistics<const float> statistics, const float* deltas, Word* dropped, Word* scoreGrads,
                       int64_t stride, Word* left, int64_t leftStride) {
    const auto run = rows.dropout->drops() ? gradientRows<true> : gradientRows<false>;
    run(scores, grads, blockRows, firstKey, rows, statistics, deltas, dropped, scoreGrads, stride, left, leftStride);
  }
};

} // namespace openplug::attention
#endif
