// Tiles for AVX-512. bf16 pairs and groups of bytes are multiplied by one instruction where the CPU has it (AVX512-BF16,
// AVX512-VNNI); elsewhere they are widened.
#include "tile_loop.h"

#include <immintrin.h>

namespace openplug {
namespace {

struct Avx512 {
  using Weights = __m512i;
  static constexpr int lanes = 16;
  static constexpr int vectorsOf(int) { return 4; } // a whole panel
  static Weights loadWeights(const uint32_t* from) { return _mm512_loadu_si512(from); }
};

struct Avx512Float : Avx512 {
  using Sum = __m512;
  using Element = float;
  static Sum zero() { return _mm512_setzero_ps(); }
  static Sum load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Sum sum) { _mm512_storeu_ps(to, sum); }
};

struct Avx512Int : Avx512 {
  using Sum = __m512i;
  using Element = int32_t;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Sum load(const int32_t* from) { return _mm512_loadu_si512(from); }
  static void store(int32_t* to, Sum sum) { _mm512_storeu_si512(to, sum); }
  static __m512i broadcast(uint32_t group) { return _mm512_set1_epi32(static_cast<int>(group)); }
};

struct Avx512Float32 : Avx512Float {
  static __m512 broadcast(uint32_t group) { return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(group))); }
  static void dot(Sum& sum, __m512 x, __m512i w) { sum = _mm512_fmadd_ps(x, _mm512_castsi512_ps(w), sum); }
};

struct Avx512Bfloat16 : Avx512Float {
  static __m512i broadcast(uint32_t group) { return _mm512_set1_epi32(static_cast<int>(group)); }
  static void dot(Sum& sum, __m512i x, __m512i w) {
    sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(w));
  }
};

// The two numbers of a pair as fp32: shifted up, and with the lower one cut off.
struct Avx512WideBfloat16 : Avx512Float {
  struct Pair {
    __m512 first, second;
  };
  static Pair widen(__m512i pair) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(pair, 16)),
            _mm512_castsi512_ps(_mm512_and_si512(pair, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
  }
  static Pair broadcast(uint32_t group) { return widen(_mm512_set1_epi32(static_cast<int>(group))); }
  static void dot(Sum& sum, Pair x, __m512i w) {
    const Pair weights = widen(w);
    sum = _mm512_fmadd_ps(x.second, weights.second, _mm512_fmadd_ps(x.first, weights.first, sum));
  }
};

struct Avx512Int8 : Avx512Int {
  static void dot(Sum& sum, __m512i x, __m512i w) { sum = _mm512_dpbusd_epi32(sum, x, w); }
};

// Bytes 0 and 2, and 1 and 3, as 16-bit numbers, whose products are added in pairs.
struct Avx512WideInt8 : Avx512Int {
  static void dot(Sum& sum, __m512i x, __m512i w) {
    const __m512i even = _mm512_madd_epi16(_mm512_and_si512(x, _mm512_set1_epi16(255)),
                                           _mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8));
    const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(x, 8), _mm512_srai_epi16(w, 8));
    sum = _mm512_add_epi32(sum, _mm512_add_epi32(even, odd));
  }
};

// Sums have a type of 32-bit integers: GCC keeps __m512i and what it is converted from in two registers, and has none
// to spare.
struct Avx512Int4 : Avx512 {
  typedef int32_t Sum __attribute__((vector_size(64)));
  static Sum broadcast(uint32_t group) { return (Sum)_mm512_set1_epi32(static_cast<int>(group)); }
  static __m512i low(__m512i w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
  static __m512i high(__m512i w) { return low(_mm512_srli_epi32(w, 4)); }
  static __m512 zeroFloats() { return _mm512_setzero_ps(); }
  static __m512 loadFloats(const float* from) { return _mm512_loadu_ps(from); }
  static void storeFloats(float* to, __m512 floats) { _mm512_storeu_ps(to, floats); }
  static __m512 loadScales(const uint16_t* from) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static __m512 addScaled(__m512 floats, Sum sum, __m512 scales) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)sum), scales, floats);
  }
  static void dot(Sum& sum, Sum x, __m512i w) { sum = (Sum)_mm512_dpbusd_epi32((__m512i)sum, w, (__m512i)x); }
};

// Sums of two products of bytes have 12 bits here, so the instruction that would clip them at 16 does not.
struct Avx512WideInt4 : Avx512Int4 {
  static void dot(Sum& sum, Sum x, __m512i w) {
    sum += (Sum)_mm512_madd_epi16(_mm512_maddubs_epi16(w, (__m512i)x), _mm512_set1_epi16(1));
  }
};

} // namespace

constexpr int64_t wideSteps = 1024; // 256 KiB: the second-level cache

TileSet avx512Tiles(bool hasBf16, bool hasVnni) {
  return {runTile<Avx512Float32>, hasBf16 ? runTile<Avx512Bfloat16> : runTile<Avx512WideBfloat16>,
          hasVnni ? runTile<Avx512Int8> : runTile<Avx512WideInt8>,
          hasVnni ? runGroupTile<Avx512Int4> : runGroupTile<Avx512WideInt4>, tileRows,
          wideSteps, wideSteps};
}

} // namespace openplug
