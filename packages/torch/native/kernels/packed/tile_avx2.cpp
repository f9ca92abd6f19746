// Tiles for AVX2: bf16 pairs are widened to fp32, int8 groups to 16-bit pairs.
#include "tile_loop.h"

#include <immintrin.h>

namespace openplug {
namespace {

struct Avx2 {
  using Weights = __m256i;
  static constexpr int lanes = 8, vectors = 2;
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

struct Avx2Int8 : Avx2 {
  using Sum = __m256i;
  using Element = int32_t;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Sum load(const int32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static void store(int32_t* to, Sum sum) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sum); }
  static __m256i broadcast(uint32_t group) { return _mm256_set1_epi32(static_cast<int>(group)); }
  static void dot(Sum& sum, __m256i x, __m256i w) {
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(255)),
                                           _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8));
    sum = _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
  }
};

} // namespace

TileSet avx2Tiles() { return {runTile<Avx2Float32>, runTile<Avx2Bfloat16>, runTile<Avx2Int8>, tileRows}; }

} // namespace openplug
