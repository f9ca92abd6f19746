#include "napi_values.h"

#include <cmath>
#include <cstdio>

namespace openplug {
namespace {

struct NamedType {
  const char* name;
  at::ScalarType type;
};

constexpr NamedType kTypes[] = {
    {"float32", at::kFloat}, {"float64", at::kDouble}, {"float16", at::kHalf}, {"bfloat16", at::kBFloat16},
    {"int64", at::kLong},    {"int32", at::kInt},      {"int16", at::kShort},  {"int8", at::kChar},
    {"uint8", at::kByte},    {"bool", at::kBool},
};

void throwAs(napi_env env, napi_ref errorClassReference, const std::string& text) {
  napi_value message = makeString(env, text), error, errorClass = nullptr;
  if (errorClassReference) napi_get_reference_value(env, errorClassReference, &errorClass);
  if (errorClass && napi_new_instance(env, errorClass, 1, &message, &error) == napi_ok)
    napi_throw(env, error);
  else
    napi_throw_error(env, "NATIVE", text.c_str());
}

// libtorch appends C++ frames and "Exception raised from" to its messages; users need the first part only.
std::string firstPart(const std::string& text) {
  return text.substr(0, text.find("\nException raised from"));
}

std::string numberText(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.15g", number);
  return text;
}

} // namespace

std::string describe(napi_env env, napi_value value) {
  napi_valuetype type;
  check(env, napi_typeof(env, value, &type));
  switch (type) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return "a boolean";
    case napi_number: return "number " + numberText(numberOf(env, value, "number"));
    case napi_string: return "string \"" + stringOf(env, value, "string").substr(0, 40) + "\"";
    case napi_bigint: return "a bigint";
    case napi_function: return "a function";
    case napi_external: return "a native handle of another kind";
    default: {
      bool isArray = false;
      napi_is_array(env, value, &isArray);
      return isArray ? "an array" : "an object";
    }
  }
}

std::string stringOf(napi_env env, napi_value value, const char* what) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok)
    throw BridgeError(std::string(what) + ": expected a string, got " + describe(env, value));
  std::string text(length, '\0');
  check(env, napi_get_value_string_utf8(env, value, text.data(), length + 1, &length));
  return text;
}

double numberOf(napi_env env, napi_value value, const char* what) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok)
    throw BridgeError(std::string(what) + ": expected a number, got " + describe(env, value));
  return number;
}

int64_t integerOf(napi_env env, napi_value value, const char* what) {
  napi_valuetype type;
  check(env, napi_typeof(env, value, &type));
  if (type == napi_bigint) {
    int64_t big;
    bool lossless;
    check(env, napi_get_value_bigint_int64(env, value, &big, &lossless));
    if (!lossless) throw BridgeError(std::string(what) + ": the bigint does not fit in 64 bits");
    return big;
  }
  double number = numberOf(env, value, what);
  if (number != std::floor(number) || std::abs(number) > 9007199254740992.0)
    throw BridgeError(std::string(what) + ": expected an integer, got " + numberText(number));
  return static_cast<int64_t>(number);
}

bool booleanOf(napi_env env, napi_value value, const char* what) {
  bool result;
  if (napi_get_value_bool(env, value, &result) != napi_ok)
    throw BridgeError(std::string(what) + ": expected a boolean, got " + describe(env, value));
  return result;
}

bool isNullish(napi_env env, napi_value value) {
  napi_valuetype type;
  check(env, napi_typeof(env, value, &type));
  return type == napi_undefined || type == napi_null;
}

uint32_t arrayLength(napi_env env, napi_value value, const char* what) {
  bool isArray = false;
  napi_is_array(env, value, &isArray);
  if (!isArray) throw BridgeError(std::string(what) + ": expected an array, got " + describe(env, value));
  uint32_t length;
  check(env, napi_get_array_length(env, value, &length));
  return length;
}

napi_value elementOf(napi_env env, napi_value array, uint32_t index) {
  napi_value element;
  check(env, napi_get_element(env, array, index, &element));
  return element;
}

napi_value makeNumber(napi_env env, double value) {
  napi_value result;
  check(env, napi_create_double(env, value, &result));
  return result;
}

napi_value makeString(napi_env env, const std::string& value) {
  napi_value result;
  check(env, napi_create_string_utf8(env, value.data(), value.size(), &result));
  return result;
}

napi_value makeBoolean(napi_env env, bool value) {
  napi_value result;
  check(env, napi_get_boolean(env, value, &result));
  return result;
}

napi_value makeUndefined(napi_env env) {
  napi_value result;
  napi_get_undefined(env, &result);
  return result;
}

napi_value makeArray(napi_env env, const std::vector<napi_value>& items) {
  napi_value result;
  check(env, napi_create_array_with_length(env, items.size(), &result));
  for (size_t i = 0; i < items.size(); i++) check(env, napi_set_element(env, result, i, items[i]));
  return result;
}

void setProperty(napi_env env, napi_value object, const char* name, napi_value value) {
  check(env, napi_set_named_property(env, object, name, value));
}

at::ScalarType scalarTypeOf(napi_env env, napi_value value, const char* what) {
  std::string name = stringOf(env, value, what);
  for (const auto& entry : kTypes)
    if (name == entry.name) return entry.type;
  throw BridgeError(std::string(what) + ": unknown dtype \"" + name +
                    "\"; known are float32, float64, float16, bfloat16, int64, int32, int16, int8, uint8, bool");
}

const char* scalarTypeName(at::ScalarType type) {
  for (const auto& entry : kTypes)
    if (type == entry.type) return entry.name;
  return c10::toString(type);
}

std::string shapeText(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  std::string text = std::string(scalarTypeName(tensor.scalar_type())) + "[";
  for (int64_t i = 0; i < tensor.dim(); i++) text += (i ? "," : "") + std::to_string(tensor.size(i));
  return text + "]";
}

napi_value guarded(napi_env env, const std::function<std::string()>& where, const std::function<napi_value()>& body) {
  std::string text;
  bool disposed = false;
  try {
    return body();
  } catch (const PendingException&) {
    return nullptr;
  } catch (const DisposedTensor& error) {
    text = error.what();
    disposed = true;
  } catch (const c10::Error& error) {
    text = error.what_without_backtrace();
  } catch (const std::exception& error) {
    text = error.what();
  } catch (...) {
    text = "unknown C++ exception";
  }
  auto& environment = Environment::of(env);
  if (environment->thrownInBackward) { // the engine carried a JavaScript error out of a backward function
    napi_value holder, error;
    napi_status status = napi_get_reference_value(env, environment->thrownInBackward, &holder);
    if (status == napi_ok) status = napi_get_named_property(env, holder, "error", &error);
    napi_delete_reference(env, environment->thrownInBackward);
    environment->thrownInBackward = nullptr;
    if (status == napi_ok) napi_throw(env, error);
    return nullptr;
  }
  try {
    throwAs(env, disposed ? environment->disposedErrorClass : environment->nativeErrorClass,
            where() + ": " + firstPart(text));
  } catch (const std::exception&) {
    napi_throw_error(env, "NATIVE", text.c_str());
  }
  return nullptr;
}

} // namespace openplug
