// Tiles for AVX2: bf16 pairs are widened to fp32, int8 groups to 16-bit pairs.
#include "tile_loop.h"

#include <immintrin.h>

namespace openplug {
namespace {

struct Avx2 {
  using Weights = __m256i;
  static constexpr int lanes = 8;
  static constexpr int vectorsOf(int rows) { return rows == 1 ? 8 : rows <= 3 ? 4 : 2; }
  static Weights loadWeights(const uint32_t* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
};

struct Avx2Float : Avx2 {
  using Sum = __m256;
  using Element = float;
  static Sum zero() { return _mm256_setzero_ps(); }
  static Sum load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Sum sum) { _mm256_storeu_ps(to, sum); }
};

struct Avx2Float32 : Avx2Float {
  static __m256 broadcast(uint32_t group) { return _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(group))); }
  static void dot(Sum& sum, __m256 x, __m256i w) { sum = _mm256_fmadd_ps(x, _mm256_castsi256_ps(w), sum); }
};

struct Avx2Bfloat16 : Avx2Float {
  struct Pair {
    __m256 first, second;
  };
  static Pair widen(__m256i pair) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(pair, 16)),
            _mm256_castsi256_ps(_mm256_and_si256(pair, _mm256_set1_epi32(static_cast<int>(0xffff0000u))))};
  }
  static Pair broadcast(uint32_t group) { return widen(_mm256_set1_epi32(static_cast<int>(group))); }
  static void dot(Sum& sum, Pair x, __m256i w) {
    const Pair weights = widen(w);
    sum = _mm256_fmadd_ps(x.second, weights.second, _mm256_fmadd_ps(x.first, weights.first, sum));
  }
};

struct Avx2Int : Avx2 {
  using Sum = __m256i;
  using Element = int32_t;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Sum load(const int32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static void store(int32_t* to, Sum sum) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sum); }
  static __m256i broadcast(uint32_t group) { return _mm256_set1_epi32(static_cast<int>(group)); }
};

struct Avx2Int8 : Avx2Int {
  static void dot(Sum& sum, __m256i x, __m256i w) {
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(255)),
                                           _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8));
    sum = _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
  }
};

// Sums of two products of bytes have 12 bits here, so the instruction that would clip them at 16 does not.
// Sums have a type of 32-bit integers: GCC keeps __m256i and what it is converted from in two registers.
struct Avx2Int4 : Avx2 {
  typedef int32_t Sum __attribute__((vector_size(32)));
  static Sum broadcast(uint32_t group) { return (Sum)_mm256_set1_epi32(static_cast<int>(group)); }
  static __m256i low(__m256i w) { return _mm256_and_si256(w, _mm256_set1_epi8(15)); }
  static __m256i high(__m256i w) { return low(_mm256_srli_epi32(w, 4)); }
  static __m256 zeroFloats() { return _mm256_setzero_ps(); }
  static __m256 loadFloats(const float* from) { return _mm256_loadu_ps(from); }
  static void storeFloats(float* to, __m256 floats) { _mm256_storeu_ps(to, floats); }
  static __m256 loadScales(const uint16_t* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  static __m256 addScaled(__m256 floats, Sum sum, __m256 scales) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps((__m256i)sum), scales, floats);
  }
  static void dot(Sum& sum, Sum x, __m256i w) {
    sum += (Sum)_mm256_madd_epi16(_mm256_maddubs_epi16(w, (__m256i)x), _mm256_set1_epi16(1));
  }
};

} // namespace

TileSet avx2Tiles() {
  return {runTile<Avx2Float32>, runTile<Avx2Bfloat16>, runTile<Avx2Int8>, runGroupTile<Avx2Int4>, tileRows,
          narrowSteps, narrowStepsForManyRows};
}

} // namespace openplug
