// Process-wide settings and facts: threads, random generators, versions, counts of live tensors.
#include "addon.h"
#include "napi_values.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

namespace openplug {
namespace {

// setErrorClasses(NativeError, DisposedError)
napi_value setErrorClasses(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "setErrorClasses"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    auto& environment = Environment::of(env);
    check(env, napi_create_reference(env, arguments[0], 1, &environment->nativeErrorClass));
    check(env, napi_create_reference(env, arguments[1], 1, &environment->disposedErrorClass));
    return makeUndefined(env);
  });
}

napi_value threads(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "setNumThreads"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    if (arguments.count > 0) {
      int64_t count = integerOf(env, arguments[0], "threads");
      if (count < 1 || count > 4096) throw BridgeError("threads: expected 1 to 4096, got " + std::to_string(count));
      at::set_num_threads(static_cast<int>(count));
    }
    return makeNumber(env, at::get_num_threads());
  });
}

napi_value makeGenerator(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "Generator"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    return boxGenerator(env, at::detail::createCPUGenerator(integerOf(env, arguments[0], "seed")));
  });
}

// generatorState(generator) -> uint8 tensor; generatorState(generator, tensor) restores it.
napi_value generatorState(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "Generator state"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    at::Generator generator = unboxGenerator(env, arguments[0], "generator");
    std::lock_guard<std::mutex> lock(generator.mutex());
    if (arguments.count > 1) {
      generator.set_state(unboxTensor(env, arguments[1], "state"));
      return makeUndefined(env);
    }
    return boxTensor(*Environment::of(env), generator.get_state());
  });
}

napi_value counters(napi_env env, napi_callback_info) {
  return guarded(env, [] { return "counters"; }, [&]() -> napi_value {
    auto& environment = Environment::of(env);
    return makeArray(env, {makeNumber(env, environment->liveTensors), makeNumber(env, environment->externalBytes)});
  });
}

napi_value buildInfo(napi_env env, napi_callback_info) {
  return guarded(env, [] { return "buildInfo"; }, [&]() -> napi_value {
    napi_value info;
    check(env, napi_create_object(env, &info));
    setProperty(env, info, "torchVersion", makeString(env, TORCH_VERSION));
    setProperty(env, info, "configuration", makeString(env, at::show_config()));
    setProperty(env, info, "parallel", makeString(env, at::get_parallel_info()));
    return info;
  });
}

} // namespace

void registerRuntime(napi_env env, napi_value exports) {
  addFunction(env, exports, "setErrorClasses", setErrorClasses);
  addFunction(env, exports, "threads", threads);
  addFunction(env, exports, "makeGenerator", makeGenerator);
  addFunction(env, exports, "generatorState", generatorState);
  addFunction(env, exports, "counters", counters);
  addFunction(env, exports, "buildInfo", buildInfo);
}

} // namespace openplug
