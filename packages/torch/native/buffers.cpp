// Tensors from and to JavaScript's memory, and files mapped into it.
#include "addon.h"
#include "napi_values.h"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace openplug {
namespace {

struct Bytes {
  napi_value buffer; // the ArrayBuffer underneath
  uint8_t* data;
  size_t length;
};

Bytes bytesOf(napi_env env, napi_value value) {
  bool isTyped = false;
  check(env, napi_is_typedarray(env, value, &isTyped));
  if (!isTyped) throw BridgeError("data: expected a typed array, got " + describe(env, value));
  napi_typedarray_type type;
  size_t elements, offset;
  void* data;
  napi_value buffer;
  check(env, napi_get_typedarray_info(env, value, &type, &elements, &data, &buffer, &offset));
  size_t width = type == napi_int8_array || type == napi_uint8_array || type == napi_uint8_clamped_array ? 1
                 : type == napi_int16_array || type == napi_uint16_array                                ? 2
                 : type == napi_int32_array || type == napi_uint32_array || type == napi_float32_array  ? 4
                                                                                                        : 8;
  return {buffer, static_cast<uint8_t*>(data), elements * width};
}

std::vector<int64_t> shapeOf(napi_env env, napi_value value) {
  std::vector<int64_t> shape;
  uint32_t length = arrayLength(env, value, "shape");
  for (uint32_t i = 0; i < length; i++) {
    shape.push_back(integerOf(env, elementOf(env, value, i), "shape"));
    if (shape.back() < 0) throw BridgeError("shape: sizes must not be negative");
  }
  return shape;
}

size_t bytesOfShape(const std::vector<int64_t>& shape, at::ScalarType dtype) {
  int64_t elements = 1;
  bool overflows = false;
  for (int64_t size : shape) overflows |= __builtin_mul_overflow(elements, size, &elements);
  overflows |= elements > INT64_MAX / 8;
  if (overflows) throw BridgeError("the shape holds more elements than memory can");
  return elements * c10::elementSize(dtype);
}

// fromBytes(typedArray, dtype, shape, share): the bytes are copied unless share is true, in which case the
// tensor keeps the array's memory alive and both see each other's writes.
napi_value fromBytes(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "tensor"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    Bytes bytes = bytesOf(env, arguments[0]);
    at::ScalarType dtype = scalarTypeOf(env, arguments[1], "dtype");
    std::vector<int64_t> shape = shapeOf(env, arguments[2]);
    const size_t width = c10::elementSize(dtype), length = bytesOfShape(shape, dtype);
    if (length != bytes.length)
      throw BridgeError("the shape holds " + std::to_string(length / width) + " elements of " + scalarTypeName(dtype) +
                        " (" + std::to_string(length) + " bytes), but the data has " + std::to_string(bytes.length) +
                        " bytes");
    auto& environment = Environment::of(env);
    bool aligned = reinterpret_cast<uintptr_t>(bytes.data) % width == 0;
    if (booleanOf(env, arguments[3], "share") && aligned && length > 0) {
      napi_ref reference;
      check(env, napi_create_reference(env, bytes.buffer, 1, &reference));
      auto owner = environment;
      auto release = [owner, reference](void*) {
        if (owner->alive && std::this_thread::get_id() == owner->thread) napi_delete_reference(owner->env, reference);
      };
      at::Tensor shared = at::from_blob(bytes.data, shape, release, at::TensorOptions(dtype));
      return boxTensor(*environment, shared, /*ownsMemory=*/false);
    }
    at::Tensor tensor = at::empty(shape, at::TensorOptions(dtype));
    if (bytes.length) std::memcpy(tensor.data_ptr(), bytes.data, bytes.length);
    return boxTensor(*environment, tensor);
  });
}

// readBytes(tensor, typedArray): copies the elements of a contiguous CPU tensor into the array.
napi_value readBytes(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "toTypedArray"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    if (Environment::of(env)->recorder)
      throw BridgeError("values cannot be read while a program is recorded: they would differ at each run");
    at::Tensor tensor = unboxTensor(env, arguments[0], "self").detach().cpu().contiguous();
    Bytes bytes = bytesOf(env, arguments[1]);
    if (tensor.nbytes() != bytes.length)
      throw BridgeError("the array has " + std::to_string(bytes.length) + " bytes, the tensor " +
                        std::to_string(tensor.nbytes()));
    if (bytes.length) std::memcpy(bytes.data, tensor.data_ptr(), bytes.length);
    return makeUndefined(env);
  });
}

napi_value dispose(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "dispose"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    tensorBox(env, arguments[0])->release();
    return makeUndefined(env);
  });
}

napi_value alias(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "alias"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    return boxTensor(*Environment::of(env), unboxTensor(env, arguments[0], "self"));
  });
}

napi_value shape(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "shape"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    const at::Tensor& tensor = unboxTensor(env, arguments[0], "self");
    std::vector<napi_value> sizes;
    for (int64_t size : tensor.sizes()) sizes.push_back(makeNumber(env, size));
    return makeArray(env, sizes);
  });
}

napi_value dtype(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "dtype"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    return makeString(env, scalarTypeName(unboxTensor(env, arguments[0], "self").scalar_type()));
  });
}

struct Mapping {
  void* address;
  size_t length;
  size_t skipped; // bytes before what was asked for, as mappings begin at pages
};

// A private mapping: writes to it stay in memory. `length` is not 0.
Mapping mapRange(int file, int64_t offset, int64_t length) {
  struct stat status;
  if (fstat(file, &status) != 0) throw BridgeError(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw BridgeError("not a regular file");
  if (offset < 0 || length < 0 || offset > status.st_size - length)
    throw BridgeError("bytes " + std::to_string(offset) + " to " + std::to_string(offset + length) +
                      " are not all in the file, which has " + std::to_string(status.st_size));
  if (length == 0) return {nullptr, 0, 0};
  const int64_t skipped = offset % sysconf(_SC_PAGESIZE);
  const size_t mapped = static_cast<size_t>(length + skipped);
  void* address = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, offset - skipped);
  if (address == MAP_FAILED) throw BridgeError(std::strerror(errno));
  return {address, mapped, static_cast<size_t>(skipped)};
}

void unmap(napi_env, void*, void* hint) {
  auto* mapping = static_cast<Mapping*>(hint);
  munmap(mapping->address, mapping->length);
  delete mapping;
}

// mapFile(file, offset, length): that part of an open file as an ArrayBuffer over a private mapping. The ArrayBuffer
// may begin before `offset`: [ArrayBuffer, bytes to skip].
napi_value mapFile(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "mapFile"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    const int file = static_cast<int>(integerOf(env, arguments[0], "file"));
    const Mapping made = mapRange(file, integerOf(env, arguments[1], "offset"), integerOf(env, arguments[2], "length"));
    napi_value buffer;
    if (made.length == 0) {
      void* nothing;
      check(env, napi_create_arraybuffer(env, 0, &nothing, &buffer));
      return makeArray(env, {buffer, makeNumber(env, 0)});
    }
    auto* mapping = new Mapping(made);
    if (napi_create_external_arraybuffer(env, made.address, made.length, unmap, mapping, &buffer) != napi_ok) {
      unmap(env, nullptr, mapping);
      throw BridgeError("this JavaScript runtime does not allow external buffers");
    }
    return makeArray(env, {buffer, makeNumber(env, made.skipped)});
  });
}

// mapTensor(file, offset, dtype, shape): the tensor that lies there, over a private mapping that is gone with the
// tensor. An ArrayBuffer between them would keep the pages in memory until the garbage collector comes, and a model
// that is loaded tensor by tensor would then count twice.
napi_value mapTensor(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "mapTensor"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    const int file = static_cast<int>(integerOf(env, arguments[0], "file"));
    const int64_t offset = integerOf(env, arguments[1], "offset");
    const at::ScalarType dtype = scalarTypeOf(env, arguments[2], "dtype");
    const std::vector<int64_t> shape = shapeOf(env, arguments[3]);
    const Mapping mapping = mapRange(file, offset, static_cast<int64_t>(bytesOfShape(shape, dtype)));
    auto& environment = *Environment::of(env);
    if (mapping.length == 0) return boxTensor(environment, at::empty(shape, at::TensorOptions(dtype)));
    auto release = [mapping](void*) { munmap(mapping.address, mapping.length); };
    auto* data = static_cast<uint8_t*>(mapping.address) + mapping.skipped;
    if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(dtype) == 0)
      return boxTensor(environment, at::from_blob(data, shape, release, at::TensorOptions(dtype)), /*ownsMemory=*/false);
    at::Tensor copy;
    try {
      copy = at::empty(shape, at::TensorOptions(dtype));
    } catch (...) {
      release(nullptr);
      throw;
    }
    std::memcpy(copy.data_ptr(), data, copy.nbytes());
    release(nullptr);
    return boxTensor(environment, copy);
  });
}

} // namespace

void registerBuffers(napi_env env, napi_value exports) {
  addFunction(env, exports, "fromBytes", fromBytes);
  addFunction(env, exports, "readBytes", readBytes);
  addFunction(env, exports, "alias", alias);
  addFunction(env, exports, "dispose", dispose);
  addFunction(env, exports, "shape", shape);
  addFunction(env, exports, "dtype", dtype);
  addFunction(env, exports, "mapFile", mapFile);
  addFunction(env, exports, "mapTensor", mapTensor);
}

} // namespace openplug
