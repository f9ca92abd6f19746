// What one JavaScript environment (the main thread or one worker) owns, and the boxes that carry C++ values
// into it. All N-API calls for an environment happen on its own thread.
#pragma once
#include "precompiled.h"
#include "program.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace openplug {

// Thrown by the bridge itself; becomes a NativeError in JavaScript.
struct BridgeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Becomes a DisposedError in JavaScript.
struct DisposedTensor : BridgeError {
  using BridgeError::BridgeError;
};

// A JavaScript exception is already pending in the environment; C++ only has to unwind.
struct PendingException : std::exception {};

// How often a block of memory is reachable from JavaScript, and what it was counted as.
struct StorageUse {
  int64_t handles = 0;
  int64_t bytes = 0;
};

struct Environment {
  napi_env env = nullptr;
  std::thread::id thread;
  std::atomic<bool> alive{true};
  int64_t liveTensors = 0;
  int64_t unreportedBytes = 0; // told to V8 in steps: one call per megabytes, not per tensor
  int64_t externalBytes = 0;
  std::unordered_map<const c10::StorageImpl*, StorageUse> storages;
  napi_ref nativeErrorClass = nullptr;
  napi_ref disposedErrorClass = nullptr;
  napi_ref thrownInBackward = nullptr; // holds, in `error`, what JavaScript threw inside the autograd engine
  std::vector<c10::OperatorHandle> operators;
  std::unique_ptr<Recorder> recorder; // while a program is being recorded

  static std::shared_ptr<Environment>& of(napi_env env);
  void reportBytes(int64_t delta);
};

// First field of every boxed value, so that a foreign external is refused instead of misread.
enum class BoxKind : uint32_t { tensor = 0x7e4501, generator = 0x7e4502, program = 0x7e4503 };

struct TensorBox {
  BoxKind kind = BoxKind::tensor;
  std::shared_ptr<Environment> owner;
  at::Tensor tensor; // undefined after dispose()
  const c10::StorageImpl* storage = nullptr;

  void release();
};

struct GeneratorBox {
  BoxKind kind = BoxKind::generator;
  at::Generator generator;
};

// The boxed value behind an external. Throws BridgeError, naming the argument, for anything else.
void* externalPointer(napi_env env, napi_value value, BoxKind kind, const char* what);

// A handle on the tensor. Its memory counts as JavaScript's from the first handle on it to the last, unless
// ownsMemory is false (memory that JavaScript owns already).
napi_value boxTensor(Environment& environment, at::Tensor tensor, bool ownsMemory = true);
TensorBox* tensorBox(napi_env env, napi_value value);                            // throws BridgeError
const at::Tensor& unboxTensor(napi_env env, napi_value value, const char* what); // throws when disposed
at::Generator unboxGenerator(napi_env env, napi_value value, const char* what);
napi_value boxGenerator(napi_env env, at::Generator generator);

} // namespace openplug
