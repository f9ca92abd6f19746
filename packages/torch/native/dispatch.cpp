// The generic bridge: any operator registered with libtorch's dispatcher, called by name with boxed arguments.
// Conversion is driven by the operator's own schema, so a wrong kind of argument is caught before the call.
#include "addon.h"
#include "napi_values.h"

#include <cmath>
#include <sstream>

namespace openplug {
namespace {

using c10::IValue;
using c10::TypeKind;

template <typename Element, typename Convert>
IValue listOf(napi_env env, napi_value value, const char* what, Convert convert) {
  c10::List<Element> list;
  uint32_t length = arrayLength(env, value, what);
  list.reserve(length);
  for (uint32_t i = 0; i < length; i++) list.push_back(convert(elementOf(env, value, i)));
  return IValue(std::move(list));
}

at::Scalar scalarOf(napi_env env, napi_value value, const char* what) {
  napi_valuetype type;
  check(env, napi_typeof(env, value, &type));
  if (type == napi_boolean) return at::Scalar(booleanOf(env, value, what));
  if (type == napi_bigint) return at::Scalar(integerOf(env, value, what));
  double number = numberOf(env, value, what);
  // JavaScript has one number type: whole numbers go as integers, so that integer tensors keep their dtype.
  if (std::abs(number) < 9007199254740992.0 && number == std::floor(number) && !(number == 0 && std::signbit(number)))
    return at::Scalar(static_cast<int64_t>(number));
  return at::Scalar(number);
}

IValue memoryFormatOf(napi_env env, napi_value value, const char* what) {
  std::string name = stringOf(env, value, what);
  if (name == "contiguous") return IValue(static_cast<int64_t>(at::MemoryFormat::Contiguous));
  if (name == "preserve") return IValue(static_cast<int64_t>(at::MemoryFormat::Preserve));
  throw BridgeError(std::string(what) + ": expected 'contiguous' or 'preserve', got \"" + name + "\"");
}

IValue toIValue(napi_env env, napi_value value, const c10::Type& type, const char* what) {
  switch (type.kind()) {
    case TypeKind::TensorType:
      return IValue(unboxTensor(env, value, what));
    case TypeKind::OptionalType:
      if (isNullish(env, value)) return IValue();
      return toIValue(env, value, *type.containedTypes().at(0), what);
    case TypeKind::NumberType:
      return IValue(scalarOf(env, value, what));
    case TypeKind::FloatType:
      return IValue(numberOf(env, value, what));
    case TypeKind::BoolType:
      return IValue(booleanOf(env, value, what));
    case TypeKind::StringType:
      return IValue(stringOf(env, value, what));
    case TypeKind::ScalarTypeType:
      return IValue(static_cast<int64_t>(scalarTypeOf(env, value, what)));
    case TypeKind::MemoryFormatType:
      return memoryFormatOf(env, value, what);
    case TypeKind::IntType:
    case TypeKind::SymIntType:
      return IValue(integerOf(env, value, what));
    case TypeKind::DeviceObjType:
      return IValue(c10::Device(stringOf(env, value, what)));
    case TypeKind::GeneratorType:
      return IValue(unboxGenerator(env, value, what));
    case TypeKind::ListType: {
      const c10::Type& element = *type.containedTypes().at(0);
      switch (element.kind()) {
        case TypeKind::TensorType:
          return listOf<at::Tensor>(env, value, what, [&](napi_value v) { return unboxTensor(env, v, what); });
        case TypeKind::OptionalType:
          if (element.containedTypes().at(0)->kind() != TypeKind::TensorType) break;
          return listOf<c10::optional<at::Tensor>>(env, value, what, [&](napi_value v) {
            return isNullish(env, v) ? c10::optional<at::Tensor>() : c10::make_optional(unboxTensor(env, v, what));
          });
        case TypeKind::IntType:
        case TypeKind::SymIntType:
          return listOf<int64_t>(env, value, what, [&](napi_value v) { return integerOf(env, v, what); });
        case TypeKind::FloatType:
          return listOf<double>(env, value, what, [&](napi_value v) { return numberOf(env, v, what); });
        case TypeKind::BoolType:
          return listOf<bool>(env, value, what, [&](napi_value v) { return booleanOf(env, v, what); });
        case TypeKind::StringType:
          return listOf<std::string>(env, value, what, [&](napi_value v) { return stringOf(env, v, what); });
        case TypeKind::NumberType:
          return listOf<at::Scalar>(env, value, what, [&](napi_value v) { return scalarOf(env, v, what); });
        default: break;
      }
      break;
    }
    default: break;
  }
  throw BridgeError(std::string(what) + ": arguments of type " + type.str() + " are not supported from JavaScript");
}

napi_value toJs(Environment& environment, const IValue& value) {
  napi_env env = environment.env;
  if (value.isTensor()) {
    const at::Tensor& tensor = value.toTensor();
    return tensor.defined() ? boxTensor(environment, tensor) : makeUndefined(env);
  }
  if (value.isNone()) return makeUndefined(env);
  if (value.isBool()) return makeBoolean(env, value.toBool());
  if (value.isInt()) return makeNumber(env, static_cast<double>(value.toInt()));
  if (value.isDouble()) return makeNumber(env, value.toDouble());
  if (value.isString()) return makeString(env, value.toStringRef());
  if (value.isScalar()) return makeNumber(env, value.toScalar().toDouble());
  if (value.isList()) {
    std::vector<napi_value> items;
    for (const IValue& item : value.toListRef()) items.push_back(toJs(environment, item));
    return makeArray(env, items);
  }
  throw BridgeError("results of type " + value.tagKind() + " are not supported from JavaScript");
}

std::string operatorName(const c10::OperatorHandle& op) {
  const auto& name = op.operator_name();
  return name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
}

// "aten::mm(self: float32[2,3], mat2: float32[4,5])", for the error text.
std::string describeCall(napi_env env, const c10::OperatorHandle& op, const Arguments& arguments) {
  std::string text = operatorName(op) + "(";
  const auto& parameters = op.schema().arguments();
  for (size_t i = 0; i + 1 < arguments.count && i < parameters.size(); i++) {
    napi_value value = arguments[i + 1];
    std::string shown;
    try {
      TensorBox* box = tensorBox(env, value);
      shown = box->tensor.defined() ? shapeText(box->tensor) : "disposed tensor";
    } catch (const std::exception&) {
      shown = describe(env, value);
    }
    text += (i ? ", " : "") + parameters[i].name() + ": " + shown;
  }
  return text + ")";
}

napi_value resolve(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "resolving an operator"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    std::string full = stringOf(env, arguments[0], "operator name");
    size_t dot = full.find('.', full.find("::") == std::string::npos ? 0 : full.find("::"));
    std::string name = full.substr(0, dot), overload = dot == std::string::npos ? "" : full.substr(dot + 1);
    auto op = c10::Dispatcher::singleton().findSchema({name, overload});
    if (!op) throw BridgeError("this libtorch has no operator \"" + full + "\"");
    auto& environment = Environment::of(env);
    environment->operators.push_back(*op);
    return makeNumber(env, environment->operators.size() - 1);
  });
}

napi_value call(napi_env env, napi_callback_info info) {
  c10::optional<c10::OperatorHandle> op; // a copy: JavaScript run by the call may resolve more operators
  Arguments arguments(env, info);
  return guarded(
      env, [&] { return op ? describeCall(env, *op, arguments) : std::string("calling an operator"); },
      [&]() -> napi_value {
        auto& environment = *Environment::of(env);
        size_t index = integerOf(env, arguments[0], "operator index");
        op = environment.operators.at(index);
        const auto& schema = op->schema();
        const auto& parameters = schema.arguments();
        size_t given = arguments.count - 1;
        if (given > parameters.size())
          throw BridgeError("got " + std::to_string(given) + " arguments, expected at most " +
                            std::to_string(parameters.size()));
        torch::jit::Stack stack;
        stack.reserve(parameters.size());
        for (size_t i = 0; i < parameters.size(); i++) {
          const auto& parameter = parameters[i];
          napi_value value = i < given ? arguments[i + 1] : nullptr;
          bool missing = value == nullptr;
          if (!missing) {
            napi_valuetype type;
            check(env, napi_typeof(env, value, &type));
            missing = type == napi_undefined;
          }
          if (missing && parameter.default_value())
            stack.push_back(*parameter.default_value());
          else if (missing && parameter.type()->kind() == TypeKind::OptionalType)
            stack.push_back(IValue());
          else if (missing)
            throw BridgeError("argument '" + parameter.name() + "' is missing");
          else
            // The real type: type() says int for dtypes and memory formats.
            stack.push_back(toIValue(env, value, *parameter.real_type(), parameter.name().c_str()));
        }
        torch::jit::Stack recorded;
        if (environment.recorder) recorded = stack;
        op->callBoxed(stack);
        if (environment.recorder) environment.recorder->add(*op, recorded, stack);
        if (stack.empty()) return makeUndefined(env);
        if (stack.size() == 1) return toJs(environment, stack[0]);
        std::vector<napi_value> results;
        for (const IValue& value : stack) results.push_back(toJs(environment, value));
        return makeArray(env, results);
      });
}

// All operator schemas of some namespaces as text, for the generator of TypeScript signatures.
napi_value schemas(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "listing operators"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    std::string prefix = stringOf(env, arguments[0], "namespace") + "::";
    std::vector<napi_value> items;
    for (const auto& name : c10::Dispatcher::singleton().getAllOpNames()) {
      if (name.name.rfind(prefix, 0) != 0) continue;
      auto op = c10::Dispatcher::singleton().findSchema(name);
      if (!op) continue;
      std::stringstream text;
      text << op->schema();
      items.push_back(makeString(env, text.str()));
    }
    return makeArray(env, items);
  });
}

} // namespace

void registerDispatch(napi_env env, napi_value exports) {
  addFunction(env, exports, "resolve", resolve);
  addFunction(env, exports, "call", call);
  addFunction(env, exports, "schemas", schemas);
}

} // namespace openplug
