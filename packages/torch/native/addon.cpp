// Entry point: called once for each JavaScript environment (main thread, every worker) that loads the addon.
#include "addon.h"
#include "napi_values.h"

#include <c10/util/Logging.h>
#include <climits>
#include <dlfcn.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

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

// glibc gives every large block back to the kernel on free, so each new activation tensor costs page faults, more
// than many an elementwise operation itself. Training frees and takes the same sizes again: keep the pages.
void keepFreedPages() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
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
  keepFreedPages();
  // libtorch puts C++ stacks into its errors, which takes 10 ms for each; ours name the operator instead.
  c10::SetStackTraceFetcher([] { return std::string(); });
  useReusingAllocator();
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
    registerProfiler(env, exports);
    registerPrefetch(env, exports);
    registerPrograms(env, exports);
    return exports;
  });
}
