// Where the supported versions of libtorch (1.13 to 2.x) differ. Nothing else in the bridge asks for a version.
#pragma once
#include "precompiled.h"

#include <memory>
#include <torch/csrc/autograd/function.h>
#include <type_traits>

namespace openplug {

// Autograd nodes are counted by std::shared_ptr with a deleter of libtorch's, and by intrusive_ptr in later 2.x.
template <typename NodeType>
auto makeNode() {
  if constexpr (std::is_base_of_v<c10::intrusive_ptr_target, NodeType>)
    return c10::make_intrusive<NodeType>();
  else // found by its argument, as it exists in older versions only
    return std::shared_ptr<NodeType>(new NodeType, [](auto* node) { deleteNode(node); });
}

} // namespace openplug
