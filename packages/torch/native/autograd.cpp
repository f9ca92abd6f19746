// Autograd from JavaScript: gradients, the backward pass, and functions whose backward is written in TypeScript.
#include "addon.h"
#include "compat.h"
#include "napi_values.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

namespace openplug {
namespace {

using torch::autograd::Node;
using torch::autograd::variable_list;

// A node of the autograd graph whose backward is a JavaScript function.
struct JavaScriptNode : public Node {
  std::shared_ptr<Environment> owner;
  napi_ref callback = nullptr;
  variable_list saved; // what the backward needs, alive as long as the graph is
  bool released = false;

  ~JavaScriptNode() override {
    // Off its own thread or after its environment the reference cannot be deleted: the environment frees it.
    if (callback && owner->alive && std::this_thread::get_id() == owner->thread)
      napi_delete_reference(owner->env, callback);
  }

  // Called by the engine after apply(), unless the graph is retained.
  void release_variables() override {
    saved.clear();
    released = true;
  }

  variable_list apply(variable_list&& gradients) override {
    if (released)
      throw BridgeError("this graph was freed by an earlier backward pass: pass retainGraph = true to the earlier one");
    if (!owner->alive || std::this_thread::get_id() != owner->thread)
      throw BridgeError("a backward function written in JavaScript can only run on the thread that made it; "
                        "libtorch changes thread when backward passes inside one another are more than 60 deep");
    napi_env env = owner->env;
    napi_handle_scope scope;
    check(env, napi_open_handle_scope(env, &scope));
    try {
      variable_list results = invoke(env, gradients);
      napi_close_handle_scope(env, scope);
      return results;
    } catch (...) {
      napi_close_handle_scope(env, scope);
      throw;
    }
  }

  variable_list invoke(napi_env env, const variable_list& gradients) {
    napi_value arguments[] = {handlesOf(env, gradients), handlesOf(env, saved)};
    napi_value function, receiver = makeUndefined(env), returned;
    check(env, napi_get_reference_value(env, callback, &function));
    if (napi_call_function(env, receiver, function, 2, arguments, &returned) != napi_ok) {
      carryException(env);
      throw BridgeError("a backward function threw");
    }
    uint32_t length = arrayLength(env, returned, "result of a backward function");
    if (length != num_outputs())
      throw BridgeError("a backward function returned " + std::to_string(length) + " gradients for " +
                        std::to_string(num_outputs()) + " inputs");
    variable_list results;
    for (uint32_t i = 0; i < length; i++) {
      napi_value value = elementOf(env, returned, i);
      results.push_back(isNullish(env, value) ? at::Tensor() : unboxTensor(env, value, "gradient"));
      if (results.back().defined()) tensorBox(env, value)->release(); // the handle was made for this call only
    }
    return results;
  }

  // Detached, so that what the backward does to a saved tensor (asking for its gradient) does not last.
  napi_value handlesOf(napi_env env, const variable_list& tensors) {
    std::vector<napi_value> handles;
    for (const at::Tensor& tensor : tensors)
      handles.push_back(tensor.defined() ? boxTensor(*owner, tensor.detach()) : makeUndefined(env));
    return makeArray(env, handles);
  }

  // Keeps what JavaScript threw while C++ unwinds; guarded() throws it again. In an object, as anything can be
  // thrown but only objects can be referred to.
  void carryException(napi_env env) {
    napi_value error, holder;
    check(env, napi_get_and_clear_last_exception(env, &error));
    if (owner->thrownInBackward) return;
    check(env, napi_create_object(env, &holder));
    setProperty(env, holder, "error", error);
    check(env, napi_create_reference(env, holder, 1, &owner->thrownInBackward));
  }
};

variable_list tensorsOf(napi_env env, napi_value array, const char* what) {
  variable_list tensors;
  uint32_t length = arrayLength(env, array, what);
  for (uint32_t i = 0; i < length; i++) tensors.push_back(unboxTensor(env, elementOf(env, array, i), what));
  return tensors;
}

// attachBackward(inputs, outputs, saved, callback): makes outputs depend on inputs through callback(gradients, saved).
napi_value attachBackward(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "customFunction"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    variable_list inputs = tensorsOf(env, arguments[0], "inputs"), outputs = tensorsOf(env, arguments[1], "outputs");
    auto node = makeNode<JavaScriptNode>();
    node->owner = Environment::of(env);
    node->set_next_edges(torch::autograd::collect_next_edges(inputs));
    // Detached: an output among them would otherwise own the node that owns it.
    for (const at::Tensor& tensor : tensorsOf(env, arguments[2], "saved")) node->saved.push_back(tensor.detach());
    check(env, napi_create_reference(env, arguments[3], 1, &node->callback));
    for (auto& output : outputs) {
      bool isInput = std::any_of(inputs.begin(), inputs.end(), [&](const at::Tensor& t) { return t.is_same(output); });
      if (isInput || output.requires_grad() || output.is_view())
        throw BridgeError("forward must return new tensors (no inputs, no views): clone() them");
    }
    for (auto& output : outputs) {
      if (torch::autograd::isDifferentiableType(output.scalar_type()))
        torch::autograd::set_history(output, node);
      else // integers have no gradient: keep their place in the list of gradients
        node->add_input_metadata(Node::undefined_input());
    }
    return makeUndefined(env);
  });
}

napi_value backward(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "backward"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    variable_list roots = tensorsOf(env, arguments[0], "loss"), gradients;
    if (!isNullish(env, arguments[1])) gradients = tensorsOf(env, arguments[1], "gradient");
    torch::autograd::backward(roots, gradients, /*retain_graph=*/booleanOf(env, arguments[2], "retainGraph"));
    return makeUndefined(env);
  });
}

napi_value setGradEnabled(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "setGradEnabled"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    bool before = at::GradMode::is_enabled();
    at::GradMode::set_enabled(booleanOf(env, arguments[0], "enabled"));
    return makeBoolean(env, before);
  });
}

napi_value requiresGrad(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "requiresGrad"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    at::Tensor tensor = unboxTensor(env, arguments[0], "self");
    if (arguments.count > 1) tensor.set_requires_grad(booleanOf(env, arguments[1], "value"));
    return makeBoolean(env, tensor.requires_grad());
  });
}

napi_value gradient(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "grad"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    at::Tensor tensor = unboxTensor(env, arguments[0], "self");
    if (arguments.count > 1) {
      tensor.mutable_grad() = isNullish(env, arguments[1]) ? at::Tensor() : unboxTensor(env, arguments[1], "grad");
      return makeUndefined(env);
    }
    const at::Tensor& current = tensor.grad();
    return current.defined() ? boxTensor(*Environment::of(env), current) : makeUndefined(env);
  });
}

} // namespace

void registerAutograd(napi_env env, napi_value exports) {
  addFunction(env, exports, "attachBackward", attachBackward);
  addFunction(env, exports, "backward", backward);
  addFunction(env, exports, "setGradEnabled", setGradEnabled);
  addFunction(env, exports, "requiresGrad", requiresGrad);
  addFunction(env, exports, "grad", gradient);
}

} // namespace openplug
