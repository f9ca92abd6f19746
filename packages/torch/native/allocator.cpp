// Memory of tensors. libtorch asks the C library for aligned blocks (posix_memalign), which glibc before 2.38 does
// not hand out again once they are freed (its bug 14581): a loop that makes and frees one tensor grows without end.
// Plain malloc does reuse its blocks, so we align within one and keep its start in front of the data.
// A cache of freed blocks instead (lists by size, large ones mapped in huge pages, bounded) was measured and is not
// worth its code: with malloc told to keep its pages (addon.cpp) a training step takes no longer, 66.4 ms against 68.5
// over 300 steps of varied lengths, and the process holds 480 MB instead of 630, as malloc joins and splits blocks.
// But the kernel is asked for huge pages: what is streamed from memory, as weights and kept keys are by each token, comes
// faster when fewer addresses have to be looked up (docs/experiments.md).
#include "addon.h"

#include <c10/core/CPUAllocator.h>
#include <atomic>
#include <cstdlib>
#include <cstring>
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace openplug {
namespace {

constexpr size_t kAlignment = 64; // libtorch's own: a cache line, and the widest vector

// A wish: where the kernel has no huge pages to give, nothing changes. The heap is asked for as a whole whenever it has
// grown, as tensors lie side by side in it; what malloc mapped apart is asked for if it is worth a call of the kernel.
void preferHugePages(const void* block, size_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr uintptr_t hugePage = 2 << 20;
  static std::atomic<uintptr_t> heapBegin{UINTPTR_MAX}, heapEnd{0};
  const auto begin = reinterpret_cast<uintptr_t>(block), end = begin + bytes;
  if (begin >= heapBegin && end <= heapEnd) return;
  const auto top = reinterpret_cast<uintptr_t>(sbrk(0));
  const bool isInHeap = end <= top; // mappings lie above it
  if (!isInHeap && bytes < hugePage) return;
  const uintptr_t from = begin & ~(hugePage - 1), to = isInHeap ? top : (end + hugePage - 1) & ~(hugePage - 1);
  madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
  if (!isInHeap) return;
  if (begin < heapBegin) heapBegin = begin;
  heapEnd = top;
#endif
}

void release(void* data) {
  if (data) std::free(static_cast<void**>(data)[-1]);
}

at::DataPtr acquire(size_t bytes) {
  void* data = nullptr;
  if (bytes > 0) {
    void* block = bytes < SIZE_MAX / 2 ? std::malloc(bytes + kAlignment + sizeof(void*)) : nullptr;
    TORCH_CHECK(block, "not enough memory: could not get ", bytes, " bytes");
    preferHugePages(block, bytes);
    auto address = (reinterpret_cast<uintptr_t>(block) + sizeof(void*) + kAlignment - 1) & ~(kAlignment - 1);
    data = reinterpret_cast<void*>(address);
    static_cast<void**>(data)[-1] = block;
  }
  return {data, data, &release, at::Device(at::kCPU)};
}

// No `override`: libtorch 2 dropped the const of allocate() and added copy_data().
struct ReusingAllocator final : at::Allocator {
  at::DataPtr allocate(size_t bytes) const { return acquire(bytes); }
  at::DataPtr allocate(size_t bytes) { return acquire(bytes); }
  at::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const { std::memcpy(to, from, bytes); }
};

} // namespace

void useReusingAllocator() {
  static auto* allocator = new ReusingAllocator; // never destroyed: libtorch may allocate until the process ends
  c10::SetCPUAllocator(allocator, /*priority=*/1);
}

} // namespace openplug
