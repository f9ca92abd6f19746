// Small typed helpers over N-API: every failure is a C++ exception, which guarded() turns into a JavaScript one.
#pragma once
#include "environment.h"

#include <algorithm>
#include <functional>

namespace openplug {

inline void check(napi_env env, napi_status status) {
  if (status == napi_ok) return;
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) throw PendingException();
  const napi_extended_error_info* info = nullptr;
  napi_get_last_error_info(env, &info);
  throw BridgeError(info && info->error_message ? info->error_message : "N-API call failed");
}

std::string describe(napi_env env, napi_value value); // "number 3", "string \"a\"", "undefined", …
std::string stringOf(napi_env env, napi_value value, const char* what);
double numberOf(napi_env env, napi_value value, const char* what);
int64_t integerOf(napi_env env, napi_value value, const char* what); // also takes a BigInt
bool booleanOf(napi_env env, napi_value value, const char* what);
bool isNullish(napi_env env, napi_value value);
uint32_t arrayLength(napi_env env, napi_value value, const char* what);
napi_value elementOf(napi_env env, napi_value array, uint32_t index);
napi_value makeNumber(napi_env env, double value);
napi_value makeString(napi_env env, const std::string& value);
napi_value makeBoolean(napi_env env, bool value);
napi_value makeUndefined(napi_env env);
napi_value makeArray(napi_env env, const std::vector<napi_value>& items);
void setProperty(napi_env env, napi_value object, const char* name, napi_value value);

at::ScalarType scalarTypeOf(napi_env env, napi_value value, const char* what);
const char* scalarTypeName(at::ScalarType type);
std::string shapeText(const at::Tensor& tensor); // "float32[2,3]"

constexpr size_t kMaxArguments = 64;

// The arguments of one call from JavaScript.
struct Arguments {
  napi_env env;
  size_t count = kMaxArguments;
  napi_value values[kMaxArguments];
  Arguments(napi_env env, napi_callback_info info) : env(env) {
    if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok) count = 0;
  }
  // `count` is what was given, which may be more than what was kept.
  napi_value operator[](size_t index) const {
    return index < std::min(count, kMaxArguments) ? values[index] : makeUndefined(env);
  }
};

// Runs body; a C++ exception becomes a JavaScript NativeError whose text starts with `where()`.
napi_value guarded(napi_env env, const std::function<std::string()>& where, const std::function<napi_value()>& body);

} // namespace openplug
