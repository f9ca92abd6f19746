// One registration function for each file of the bridge.
#pragma once
#include "environment.h"

namespace openplug {

void addFunction(napi_env env, napi_value exports, const char* name, napi_callback callback);
void registerDispatch(napi_env env, napi_value exports);
void registerAutograd(napi_env env, napi_value exports);
void registerBuffers(napi_env env, napi_value exports);
void useReusingAllocator();
void registerRuntime(napi_env env, napi_value exports);
void registerPrograms(napi_env env, napi_value exports);
void registerProfiler(napi_env env, napi_value exports);
void registerPrefetch(napi_env env, napi_value exports);

} // namespace openplug
