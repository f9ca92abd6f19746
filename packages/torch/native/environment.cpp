#include "environment.h"
#include "napi_values.h"

namespace openplug {
namespace {

// V8 starts a garbage collection for each 64 MB that it hears of; a training step takes and frees more than that.
constexpr int64_t kReportStepBytes = 256 << 20;

void finalizeTensor(napi_env, void* data, void*) {
  auto* box = static_cast<TensorBox*>(data);
  box->release();
  delete box;
}

void finalizeGenerator(napi_env, void* data, void*) { delete static_cast<GeneratorBox*>(data); }

} // namespace

void* externalPointer(napi_env env, napi_value value, BoxKind kind, const char* what) {
  const char* expected = kind == BoxKind::tensor      ? ": expected a Tensor, got "
                         : kind == BoxKind::generator ? ": expected a Generator, got "
                                                      : ": expected a Program, got ";
  napi_valuetype type;
  check(env, napi_typeof(env, value, &type));
  void* data = nullptr;
  if (type == napi_external) check(env, napi_get_value_external(env, value, &data));
  if (data == nullptr || *static_cast<BoxKind*>(data) != kind)
    throw BridgeError(what + (expected + describe(env, value)));
  return data;
}

std::shared_ptr<Environment>& Environment::of(napi_env env) {
  void* data = nullptr;
  check(env, napi_get_instance_data(env, &data));
  return *static_cast<std::shared_ptr<Environment>*>(data);
}

void Environment::reportBytes(int64_t delta) {
  externalBytes += delta;
  unreportedBytes += delta;
  if (!alive || std::abs(unreportedBytes) < kReportStepBytes) return;
  int64_t total;
  napi_adjust_external_memory(env, unreportedBytes, &total);
  unreportedBytes = 0;
}

void TensorBox::release() {
  if (!tensor.defined()) return;
  owner->liveTensors--;
  auto use = owner->storages.find(storage);
  if (use != owner->storages.end() && --use->second.handles == 0) {
    owner->reportBytes(-use->second.bytes);
    owner->storages.erase(use);
  }
  tensor.reset();
}

napi_value boxTensor(Environment& environment, at::Tensor tensor, bool ownsMemory) {
  auto* box = new TensorBox;
  box->owner = Environment::of(environment.env);
  if (tensor.has_storage()) box->storage = tensor.storage().unsafeGetStorageImpl();
  box->tensor = std::move(tensor);
  napi_value result;
  if (napi_create_external(environment.env, box, finalizeTensor, nullptr, &result) != napi_ok) {
    delete box;
    throw PendingException();
  }
  environment.liveTensors++;
  if (box->storage) {
    StorageUse& use = environment.storages[box->storage];
    if (use.handles++ == 0 && ownsMemory) {
      use.bytes = box->tensor.storage().nbytes();
      environment.reportBytes(use.bytes);
    }
  }
  return result;
}

TensorBox* tensorBox(napi_env env, napi_value value) {
  return static_cast<TensorBox*>(externalPointer(env, value, BoxKind::tensor, "self"));
}

const at::Tensor& unboxTensor(napi_env env, napi_value value, const char* what) {
  auto* box = static_cast<TensorBox*>(externalPointer(env, value, BoxKind::tensor, what));
  if (!box->tensor.defined())
    throw DisposedTensor(std::string(what) + ": this tensor was disposed, by dispose(), `using` or the end of a scope; "
                         "keep() it, or return it from the scope");
  return box->tensor;
}

napi_value boxGenerator(napi_env env, at::Generator generator) {
  auto* box = new GeneratorBox;
  box->generator = std::move(generator);
  napi_value result;
  if (napi_create_external(env, box, finalizeGenerator, nullptr, &result) != napi_ok) {
    delete box;
    throw PendingException();
  }
  return result;
}

at::Generator unboxGenerator(napi_env env, napi_value value, const char* what) {
  return static_cast<GeneratorBox*>(externalPointer(env, value, BoxKind::generator, what))->generator;
}

} // namespace openplug
