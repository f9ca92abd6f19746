// The normal distribution, as the exact gelu u * Phi(u) and its derivative need it.
//
// Phi comes from its upper tail: 1 - Phi(|u|) = exp(-u^2/2) * t * R(t), t = 1 / (1 + 0.35 |u|), with R a degree-8
// Chebyshev fit to 4e-8 relative; the exponential is shared with the density.
#pragma once
#include "simd.h"

namespace openplug {

// The normal distribution function and density at u.
KERNEL_INLINE void normal(float u, float& distribution, float& density) {
  const float a = std::fabs(u);
  const float t = 1.0f / (1.0f + 0.35f * a);
  float r = -0.02960979549f;
  r = r * t + 0.1462242065f;
  r = r * t - 0.2603379054f;
  r = r * t + 0.1643917355f;
  r = r * t - 0.02663309792f;
  r = r * t + 0.1069582404f;
  r = r * t + 0.1194794327f;
  r = r * t + 0.139908265f;
  r = r * t + 0.139618902f;
  const float e = expNonPositive(-0.5f * u * u);
  const float tail = e * t * r;
  distribution = u < 0.0f ? tail : 1.0f - tail; // full relative precision far below zero
  density = e * 0.398942280f;
}
KERNEL_INLINE void normal(double u, double& distribution, double& density) {
  distribution = 0.5 * std::erfc(-u * 0.70710678118654752440);
  density = 0.39894228040143267794 * std::exp(-0.5 * u * u);
}

} // namespace openplug
