// A profile of what libtorch runs: each operator, forward and backward, with its time, thread and argument shapes.
// Uses libtorch's own observers (at::RecordFunction), which cost nothing while no profile is being taken.
#include "addon.h"
#include "napi_values.h"

#include <ATen/record_function.h>
#include <chrono>
#include <mutex>

namespace openplug {
namespace {

struct Event {
  std::string name, shapes;
  int64_t startNs, endNs;
  uint64_t thread;
};

struct Recording {
  std::mutex mutex;
  std::vector<Event> events;
  at::CallbackHandle handle = 0;
  bool active = false;
};

Recording& recording() {
  static auto* made = new Recording; // never destroyed: other threads may end an operator at any time
  return *made;
}

int64_t nowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Started : at::ObserverContext {
  Event event;
};

// "[2048,512] [512,512]": the tensors among the arguments.
std::string shapesOf(const at::RecordFunction& function) {
  std::string text;
  for (const c10::IValue& input : function.inputs()) {
    if (!input.isTensor() || !input.toTensor().defined()) continue;
    if (!text.empty()) text += ' ';
    text += '[';
    const auto sizes = input.toTensor().sizes();
    for (size_t i = 0; i < sizes.size(); i++) text += (i ? "," : "") + std::to_string(sizes[i]);
    text += ']';
  }
  return text;
}

std::unique_ptr<at::ObserverContext> onStart(const at::RecordFunction& function) {
  auto started = std::make_unique<Started>();
  started->event = {function.name(), shapesOf(function), nowNs(), 0, at::RecordFunction::currentThreadId()};
  return started;
}

void onEnd(const at::RecordFunction&, at::ObserverContext* context) {
  auto& event = static_cast<Started*>(context)->event;
  event.endNs = nowNs();
  std::lock_guard<std::mutex> lock(recording().mutex);
  recording().events.push_back(std::move(event));
}

napi_value startProfile(napi_env env, napi_callback_info) {
  return guarded(env, [] { return "startProfile"; }, [&]() -> napi_value {
    std::lock_guard<std::mutex> lock(recording().mutex);
    if (recording().active) throw BridgeError("a profile is being taken already: stop it first");
    recording().events.clear();
    recording().handle =
        at::addGlobalCallback(at::RecordFunctionCallback(onStart, onEnd)
                                  .needsInputs(true)
                                  .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
    recording().active = true;
    return makeUndefined(env);
  });
}

// Ends the profile: an array of [name, shapes, start in µs, duration in µs, thread], in the order in which they ended.
napi_value stopProfile(napi_env env, napi_callback_info) {
  return guarded(env, [] { return "stopProfile"; }, [&]() -> napi_value {
    std::lock_guard<std::mutex> lock(recording().mutex);
    if (!recording().active) throw BridgeError("no profile is being taken");
    at::removeCallback(recording().handle);
    recording().active = false;
    std::vector<napi_value> items;
    for (const Event& event : recording().events)
      items.push_back(makeArray(env, {makeString(env, event.name), makeString(env, event.shapes),
                                      makeNumber(env, event.startNs / 1e3),
                                      makeNumber(env, (event.endNs - event.startNs) / 1e3),
                                      makeNumber(env, static_cast<double>(event.thread))}));
    recording().events.clear();
    return makeArray(env, items);
  });
}

} // namespace

void registerProfiler(napi_env env, napi_value exports) {
  addFunction(env, exports, "startProfile", startProfile);
  addFunction(env, exports, "stopProfile", stopProfile);
}

} // namespace openplug
