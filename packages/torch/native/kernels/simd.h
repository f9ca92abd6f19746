// What the kernels share: run-time choice of instruction set, number formats, and float math that compilers
// vectorise.
//
// A kernel's inner loop is written once as `nameBody` (KERNEL_INLINE, plain loops). KERNEL_MULTIVERSION(name)
// compiles it for AVX-512, AVX2 and the baseline and makes `name(...)` pick one at run time, so one binary runs
// on every x86-64 CPU; other architectures get the baseline only. The variable ATEN_CPU_CAPABILITY
// (avx512, avx2, default) lowers the choice, as it does for libtorch's own kernels.
//
// Build with -fopenmp, -fno-math-errno and -fno-trapping-math: without the last, GCC vectorises conditionals around
// arithmetic for AVX-512 only (2 to 8 times slower elsewhere). -ffast-math is not wanted: infinities and NaN count.
#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>
#include <torch/version.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <type_traits>

#define KERNEL_INLINE inline __attribute__((always_inline))

namespace openplug {

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 5)
using OptionalTensor = std::optional<at::Tensor>;
#else
using OptionalTensor = c10::optional<at::Tensor>;
#endif

enum class InstructionSet { baseline, avx2, avx512 };

#if defined(__x86_64__) && defined(__GNUC__)

inline InstructionSet detectInstructionSet() {
  const char* wanted = std::getenv("ATEN_CPU_CAPABILITY");
  const bool atMostDefault = wanted && std::strcmp(wanted, "default") == 0;
  const bool atMostAvx2 = wanted && std::strcmp(wanted, "avx2") == 0;
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (atMostDefault || !avx2) return InstructionSet::baseline;
  return avx512 && !atMostAvx2 ? InstructionSet::avx512 : InstructionSet::avx2;
}

inline InstructionSet instructionSet() {
  static const InstructionSet set = detectInstructionSet();
  return set;
}

#if defined(__clang__)
#define KERNEL_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#else
#define KERNEL_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")))
#endif
#define KERNEL_AVX2 __attribute__((target("avx2,fma")))

#define KERNEL_MULTIVERSION(name)                                    \
  template <typename... Args>                                        \
  KERNEL_AVX512 void name##Avx512(Args... args) {                    \
    name##Body(args...);                                             \
  }                                                                  \
  template <typename... Args>                                        \
  KERNEL_AVX2 void name##Avx2(Args... args) {                        \
    name##Body(args...);                                             \
  }                                                                  \
  template <typename... Args>                                        \
  void name##Baseline(Args... args) {                                \
    name##Body(args...);                                             \
  }                                                                  \
  template <typename... Args>                                        \
  void name(Args... args) {                                          \
    switch (instructionSet()) {                                      \
      case InstructionSet::avx512: return name##Avx512(args...);     \
      case InstructionSet::avx2: return name##Avx2(args...);         \
      case InstructionSet::baseline: return name##Baseline(args...); \
    }                                                                \
  }

#else

#define KERNEL_MULTIVERSION(name) \
  template <typename... Args>     \
  void name(Args... args) {       \
    name##Body(args...);          \
  }

#endif

// bfloat16 as its bits: conversions below are branch-free integer code, which c10::BFloat16's are not. An enum and
// not a struct: GCC does not vectorise loops over arrays of structs.
enum class Bf16 : uint16_t {};

// Arithmetic runs in float for float and bfloat16, in double for double.
template <typename T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

KERNEL_INLINE float bitsToFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
KERNEL_INLINE uint32_t floatToBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

KERNEL_INLINE float load(float value) { return value; }
KERNEL_INLINE double load(double value) { return value; }
KERNEL_INLINE float load(Bf16 value) { return bitsToFloat(static_cast<uint32_t>(value) << 16); }

template <typename T>
KERNEL_INLINE T narrow(Compute<T> value) {
  if constexpr (std::is_same_v<T, Bf16>) {
    const uint32_t bits = floatToBits(value);
    const uint32_t nearestEven = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return static_cast<Bf16>(static_cast<uint16_t>(value != value ? 0x7fc0u : nearestEven));
  } else {
    return value;
  }
}

// e^x for x <= 0 with about 1 ulp; results below the smallest normal float are 0. Cody-Waite reduction to
// [-ln2/2, ln2/2] and a degree-6 Chebyshev fit (relative error 2.5e-9 before rounding).
KERNEL_INLINE float expNonPositive(float x) {
  const float clamped = x < -87.3f ? -87.3f : x;
  const float shifted = clamped * 1.44269504f + 12582912.0f; // 1.5 * 2^23: the sum rounds to an integer
  const float n = shifted - 12582912.0f;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 0.001394110843f;
  p = p * r + 0.008375126398f;
  p = p * r + 0.0416663529f;
  p = p * r + 0.1666641551f;
  p = p * r + 0.5000000047f;
  p = p * r + 1.000000038f;
  p = p * r + 1.0f;
  const float scale = bitsToFloat((floatToBits(shifted) << 23) + 0x3f800000u);
  return x < -87.3f ? 0.0f : p * scale;
}
KERNEL_INLINE double expNonPositive(double x) { return std::exp(x); }

// Calls body(tag) with a value of the storage type of `dtype`: float, double or Bf16.
template <typename Body>
void dispatchFloating(at::ScalarType dtype, const char* op, Body body) {
  switch (dtype) {
    case at::kFloat: return body(float{});
    case at::kDouble: return body(double{});
    case at::kBFloat16: return body(Bf16{});
    default:
      TORCH_CHECK(false, op, ": expected float32, float64 or bfloat16, got ", dtype,
                  "; convert the tensor first (float16 has no CPU kernel here)");
  }
}

// The data pointer as the storage type.
template <typename T>
T* dataOf(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

} // namespace openplug
