// Entry point: called once for each JavaScript environment (main thread, every worker) that loads the addon.
#include "addon.h"
#include "napi_values.h"

#include <c10/util/Logging.h>
#include <dlfcn.h>

namespace openplug {
namespace {

void tearDown(napi_env, void* data, void*) {
  auto* environment = static_cast<std::shared_ptr<Environment>*>(data);
  (*environment)->alive = false;
  delete environment; // boxes that outlive the environment hold their own share
}

// A worker's exit may unload the addon, but operators registered with libtorch must stay in memory.
void stayLoaded() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&stayLoaded), &info)) dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE);
}

} // namespace

void addFunction(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  check(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function));
  setProperty(env, exports, name, function);
}

} // namespace openplug

NAPI_MODULE_INIT() {
  using namespace openplug;
  stayLoaded();
  // libtorch puts C++ stacks into its errors, which takes 10 ms for each; ours name the operator instead.
  c10::SetStackTraceFetcher([] { return std::string(); });
  auto environment = std::make_shared<Environment>();
  environment->env = env;
  environment->thread = std::this_thread::get_id();
  if (napi_set_instance_data(env, new std::shared_ptr<Environment>(environment), tearDown, nullptr) != napi_ok)
    return nullptr;
  return guarded(env, [] { return "loading the addon"; }, [&]() -> napi_value {
    registerDispatch(env, exports);
    registerAutograd(env, exports);
    registerBuffers(env, exports);
    registerRuntime(env, exports);
    return exports;
  });
}
