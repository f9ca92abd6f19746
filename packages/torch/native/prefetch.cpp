// Reads the pages under tensors that lie on mapped files before they are computed with, on a thread of its own that
// mostly waits for the disk.
#include "addon.h"
#include "napi_values.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 // Linux 5.14; older kernels refuse it, and then pages are read when they are touched
#endif

namespace openplug {
namespace {

struct Range {
  uintptr_t begin, end;
};

class Prefetcher {
 public:
  Prefetcher() { std::thread([this] { run(); }).detach(); }

  void add(Range range) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ranges_.size() >= maxWaiting) return; // computing is ahead of the disk: it reads what it needs by itself
    ranges_.push_back(range);
    wake_.notify_one();
  }

 private:
  static constexpr size_t maxWaiting = 64;
  static constexpr uintptr_t pieceBytes = 16 << 20; // the address space is locked for reading while a piece is read

  void run() {
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return !ranges_.empty(); });
      const Range range = ranges_.front();
      ranges_.pop_front();
      lock.unlock();
      // The tensor is not kept alive: a range that is not mapped any more is refused, and nothing reads it here.
      for (uintptr_t at = range.begin; at < range.end; at += pieceBytes)
        if (madvise(reinterpret_cast<void*>(at), std::min(pieceBytes, range.end - at), MADV_POPULATE_READ) != 0) break;
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Range> ranges_;
};

// prefetch(tensor): returns at once.
napi_value prefetch(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "prefetch"; }, [&]() -> napi_value {
    static auto* prefetcher = new Prefetcher; // never destroyed: its thread outlives everything
    Arguments arguments(env, info);
    const at::Tensor& tensor = unboxTensor(env, arguments[0], "self");
    if (tensor.numel() == 0 || !tensor.is_contiguous() || !tensor.device().is_cpu()) return makeUndefined(env);
    const auto begin = reinterpret_cast<uintptr_t>(tensor.data_ptr());
    prefetcher->add({begin & ~static_cast<uintptr_t>(sysconf(_SC_PAGESIZE) - 1), begin + tensor.nbytes()});
    return makeUndefined(env);
  });
}

} // namespace

void registerPrefetch(napi_env env, napi_value exports) { addFunction(env, exports, "prefetch", prefetch); }

} // namespace openplug
