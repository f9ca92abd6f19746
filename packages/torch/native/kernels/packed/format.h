// How packed weights are laid out, as far as both packing (pack.cpp) and multiplying (linear.cpp) need to know: the
// panels of tile.h and the tensors that go with them.
#pragma once
#include <ATen/ATen.h>

#include "tile.h"

namespace openplug {

enum class Precision { float32, bfloat16, int8, int4 };

inline Precision precisionOf(c10::string_view name, const char* op) {
  if (name == "float32") return Precision::float32;
  if (name == "bfloat16") return Precision::bfloat16;
  if (name == "int8") return Precision::int8;
  TORCH_CHECK(name == "int4", op, ": weights are packed as float32, bfloat16, int8 or int4, not as ", name);
  return Precision::int4;
}

inline int64_t quotientUp(int64_t count, int64_t size) { return (count + size - 1) / size; }

// Steps of a panel for so many inputs; int4 fills up its last group.
inline int64_t stepsOf(Precision precision, int64_t inputs) {
  switch (precision) {
    case Precision::float32: return inputs;
    case Precision::bfloat16: return quotientUp(inputs, 2);
    case Precision::int8: return quotientUp(inputs, 4);
    case Precision::int4: break;
  }
  return quotientUp(inputs, groupInputs) * groupSteps;
}

inline int64_t panelsOf(int64_t features) { return quotientUp(features, panelWidth); }

} // namespace openplug
