// Attention over packed rows (Vaswani et al., 2017): the tokens of all texts stand one after another, and each attends
// to its own text only. No padding, no copies to [B,H,T,D], and memory that grows with T and not with T * S.
//
// Self-attention: `queries` is the fused projection [N, 3E] (queries, keys, values; head h at columns h * D of each),
// `key_values` is none. Cross-attention: queries [Nt, E], key_values [Ns, 2E]. Result [N, E] or [Nt, E].
// query_lengths, key_lengths int64 [B]: stored rows of each text (self-attention: one and the same, key_lengths none);
// visible_lengths int64 [B]: leading keys that may be attended to, none for all. Rows past the last text are filler:
// zero, with zero gradients. A text that shows no key attends uniformly to all of its stored ones, causal or not.
// Softmax in fp32 (fp64 for fp64). Dropout: shared.h. Saved for the backward pass: the inputs, the
// result and two numbers per row and head; probabilities and mask are made again.
// One (text, head) is one task, run by one thread in a fixed order: the same bits for any number of threads.
#include <torch/csrc/autograd/custom_function.h>

#include <atomic>
#include <vector>

#include "bf16.h"
#include "head.h"

namespace openplug {
namespace {

using namespace attention;

constexpr const char* op = "openplug::packed_attention";

struct Settings {
  int64_t heads;
  double scale;
  bool causal;
  double p;
  int64_t seed, offset;
};

// One text: where its rows begin, and what its queries see.
struct Text {
  int64_t firstQuery, queries, firstKey, keys, visible;
  bool causal;
  double scale;
};

std::vector<int64_t> lengthsOf(const at::Tensor& lengths, const char* name, int64_t texts) {
  TORCH_CHECK(lengths.dim() == 1 && lengths.size(0) == texts && lengths.scalar_type() == at::kLong, op, ": ", name,
              " must be int64 [", texts, "], got ", lengths.scalar_type(), " ", lengths.sizes());
  const at::Tensor values = lengths.contiguous();
  const int64_t* data = values.data_ptr<int64_t>();
  return std::vector<int64_t>(data, data + texts);
}

bool has(const OptionalTensor& tensor) { return tensor.has_value() && tensor->defined(); }

// The arguments of a call, checked.
struct Call {
  at::Tensor queries, keyValues; // keyValues is undefined for self-attention
  Settings settings;
  Dropout dropout;
  int64_t width, depth;
  std::vector<Text> texts;
  int64_t queryRows = 0, keyRows = 0; // of all texts, without filler

  Call(const at::Tensor& q, const OptionalTensor& kv, const at::Tensor& queryLengths, const OptionalTensor& keyLengths,
       const OptionalTensor& visible, const Settings& s)
      : queries(q.contiguous()), settings(s), dropout(s.p, s.seed, s.offset, op) {
    const bool self = !has(kv);
    const int64_t parts = self ? 3 : 1;
    TORCH_CHECK(q.dim() == 2 && s.heads > 0 && q.size(1) > 0 && q.size(1) % (parts * s.heads) == 0, op, ": expected ",
                self ? "[N, 3E]" : "queries [Nt, E]", " with E a multiple of ", s.heads, " heads, got ", q.sizes());
    width = q.size(1) / parts;
    depth = width / s.heads;
    if (!self) {
      keyValues = kv->contiguous();
      TORCH_CHECK(kv->dim() == 2 && kv->size(1) == 2 * width, op, ": expected key_values [Ns, ", 2 * width,
                  "] for queries ", q.sizes(), ", got ", kv->sizes());
      TORCH_CHECK(kv->scalar_type() == q.scalar_type(), op, ": queries and key_values must have one dtype, got ",
                  q.scalar_type(), " and ", kv->scalar_type());
    }
    TORCH_CHECK(self != has(keyLengths), op, ": key_lengths are ", self ? "not wanted without" : "needed with",
                " key_values");
    readTexts(queryLengths, self ? queryLengths : *keyLengths, visible);
  }

  bool self() const { return !keyValues.defined(); }

  // Rows of part `part` of queries|keys|values, in a tensor laid out as the operands.
  template <typename T>
  Slice<T> slice(const at::Tensor& own, const at::Tensor& other, int part, const Text& text, int64_t head) const {
    const bool fromOther = part > 0 && !self();
    const at::Tensor& tensor = fromOther ? other : own;
    const int64_t first = part == 0 ? text.firstQuery : text.firstKey, columns = tensor.size(1);
    T* data = dataOf<T>(tensor) + first * columns + (fromOther ? part - 1 : part) * width + head * depth;
    return {data, columns, part == 0 ? text.queries : text.keys};
  }
  template <typename T>
  Slice<T> sliceOfResult(const at::Tensor& result, const Text& text, int64_t head) const {
    return {dataOf<T>(result) + text.firstQuery * width + head * depth, width, text.queries};
  }
  Rows rows(const Text& text, size_t index, int64_t head) const {
    return {0, text.queries, text.visible, text.causal, text.scale,
            static_cast<uint32_t>(index * settings.heads + head), &dropout};
  }
  Extent extent() const {
    int64_t keys = 0;
    for (const Text& text : texts) keys = std::max(keys, text.visible);
    return {keys, depth};
  }

 private:
  void readTexts(const at::Tensor& queryLengths, const at::Tensor& keyLengths, const OptionalTensor& visible) {
    TORCH_CHECK(queryLengths.dim() == 1, op, ": query_lengths must be int64 [B], got ", queryLengths.sizes());
    const int64_t count = queryLengths.size(0);
    const auto counts = lengthsOf(queryLengths, "query_lengths", count), stored = lengthsOf(keyLengths, "key_lengths", count);
    const auto shown = has(visible) ? lengthsOf(*visible, "visible_lengths", count) : stored;
    for (int64_t b = 0; b < count; ++b) {
      TORCH_CHECK(counts[b] >= 0 && stored[b] >= 0 && shown[b] >= 0 && shown[b] <= stored[b], op, ": text ", b, " has ",
                  counts[b], " queries and ", stored[b], " keys, ", shown[b],
                  " of them visible: expected no negative number, and no more visible than there are");
      TORCH_CHECK(!settings.causal || counts[b] == stored[b], op, ": causal attention needs a key for each query, text ",
                  b, " has ", counts[b], " queries and ", stored[b], " keys");
      // Equal scores for a text that shows nothing: all of its keys times a scale of zero.
      const bool uniform = shown[b] == 0;
      texts.push_back({queryRows, counts[b], keyRows, stored[b], uniform ? stored[b] : shown[b],
                       settings.causal && !uniform, uniform ? 0.0 : settings.scale});
      queryRows += counts[b];
      keyRows += stored[b];
    }
    const auto fits = [](int64_t rows, const at::Tensor& tensor, const char* name) {
      TORCH_CHECK(rows <= tensor.size(0), op, ": ", name, " sum to ", rows, ", but there are ", tensor.size(0),
                  " packed rows");
    };
    fits(queryRows, queries, "query_lengths");
    if (!self()) fits(keyRows, keyValues, "key_lengths");
  }
};

void zeroRowsFrom(const at::Tensor& tensor, int64_t row) {
  if (row < tensor.size(0)) tensor.narrow(0, row, tensor.size(0) - row).zero_();
}

// Runs body(head computation, text index, head) for all tasks: the costliest first, each by whichever thread is free.
template <typename Head, typename Body>
void forEachHead(const Call& call, Body body) {
  const int64_t heads = call.settings.heads, tasks = static_cast<int64_t>(call.texts.size()) * heads;
  std::vector<size_t> order(call.texts.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return call.texts[a].queries * call.texts[a].visible > call.texts[b].queries * call.texts[b].visible;
  });
  Arena measure(nullptr);
  Head(measure, call.extent());
  const int64_t workers = std::min<int64_t>(at::get_num_threads(), tasks);
  const at::Tensor scratch = at::empty({workers * measure.used()}, at::kByte);
  std::atomic<int64_t> next{0};
  at::parallel_for(0, workers, 1, [&](int64_t worker, int64_t) {
    Arena arena(static_cast<char*>(scratch.data_ptr()) + worker * measure.used());
    Head head(arena, call.extent());
    for (int64_t task; (task = next++) < tasks;) body(head, order[task / heads], task % heads);
  });
}

// Calls body(tag) with a value of the type of blocks for the tensors' dtype on this CPU.
template <typename Body>
void withBlocks(at::ScalarType dtype, Body body) {
#if defined(KERNEL_AVX512)
  if (dtype == at::kBFloat16 && hasBf16Products()) return body(Bf16Blocks{});
#endif
  dispatchFloating(dtype, op, [&](auto tag) { body(PortableBlocks<decltype(tag)>{}); });
}

// Result and, if wanted, statistics [2, heads, queries]: largest score and log of the sum, by row.
at::Tensor forward(const Call& call, const at::Tensor& statistics) {
  at::Tensor result = at::empty({call.queries.size(0), call.width}, call.queries.options());
  zeroRowsFrom(result, call.queryRows);
  withBlocks(call.queries.scalar_type(), [&](auto tag) {
    using Blocks = decltype(tag);
    using T = typename Blocks::Storage;
    using C = Compute<T>;
    forEachHead<ForwardHead<Blocks>>(call, [&](ForwardHead<Blocks>& task, size_t index, int64_t head) {
      const Text& text = call.texts[index];
      const auto out = call.sliceOfResult<T>(result, text, head);
      if (text.visible == 0) {
        for (int64_t r = 0; r < out.count; ++r) std::memset(static_cast<void*>(out.row(r)), 0, call.depth * sizeof(T));
        return;
      }
      Statistics<C> kept{nullptr, nullptr};
      if (statistics.defined()) {
        C* largest = dataOf<C>(statistics) + head * statistics.size(2) + text.firstQuery;
        kept = {largest, largest + statistics.stride(0)};
      }
      const auto part = [&](int which) { return call.slice<const T>(call.queries, call.keyValues, which, text, head); };
      task.run(part(0), part(1), part(2), out, call.rows(text, index, head), kept);
    });
  });
  return result;
}

std::pair<at::Tensor, at::Tensor> backward(const Call& call, const at::Tensor& result, const at::Tensor& statistics,
                                           const at::Tensor& incoming) {
  at::Tensor queryGrads = at::empty_like(call.queries);
  at::Tensor keyValueGrads = call.self() ? at::Tensor() : at::empty_like(call.keyValues);
  zeroRowsFrom(queryGrads, call.queryRows);
  if (!call.self()) zeroRowsFrom(keyValueGrads, call.keyRows);
  withBlocks(call.queries.scalar_type(), [&](auto tag) {
    using Blocks = decltype(tag);
    using T = typename Blocks::Storage;
    using C = Compute<T>;
    forEachHead<BackwardHead<Blocks>>(call, [&](BackwardHead<Blocks>& task, size_t index, int64_t head) {
      const Text& text = call.texts[index];
      const auto grads = [&](int which) { return call.slice<T>(queryGrads, keyValueGrads, which, text, head); };
      const HeadGradients<T> gradients{grads(0), grads(1), grads(2)};
      const auto clear = [&](const Slice<T>& slice, int64_t from) {
        for (int64_t r = from; r < slice.count; ++r)
          std::memset(static_cast<void*>(slice.row(r)), 0, call.depth * sizeof(T));
      };
      clear(gradients.k, text.visible);
      clear(gradients.v, text.visible);
      if (text.visible == 0) return clear(gradients.q, 0);
      const C* largest = dataOf<C>(statistics) + head * statistics.size(2) + text.firstQuery;
      const auto part = [&](int which) { return call.slice<const T>(call.queries, call.keyValues, which, text, head); };
      task.run(part(0), part(1), part(2), call.sliceOfResult<const T>(result, text, head),
               call.sliceOfResult<const T>(incoming, text, head), call.rows(text, index, head),
               {largest, largest + statistics.stride(0)}, gradients);
    });
  });
  return {queryGrads, keyValueGrads};
}

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& queries, const OptionalTensor& keyValues,
                            const at::Tensor& queryLengths, const OptionalTensor& keyLengths,
                            const OptionalTensor& visible, const Settings& s) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const Call call(queries, keyValues, queryLengths, keyLengths, visible, s);
    const at::Tensor statistics =
        at::empty({2, s.heads, queries.size(0)},
                  queries.options().dtype(queries.scalar_type() == at::kDouble ? at::kDouble : at::kFloat));
    at::Tensor result = openplug::forward(call, statistics);
    const auto orNone = [](const OptionalTensor& tensor) { return has(tensor) ? *tensor : at::Tensor(); };
    ctx->save_for_backward({queries, orNone(keyValues), queryLengths, orNone(keyLengths), orNone(visible), result, statistics});
    ctx->saved_data["heads"] = s.heads;
    ctx->saved_data["scale"] = s.scale;
    ctx->saved_data["causal"] = s.causal;
    ctx->saved_data["p"] = s.p;
    ctx->saved_data["seed"] = s.seed;
    ctx->saved_data["offset"] = s.offset;
    return result;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list grads) {
    auto& data = ctx->saved_data;
    const auto saved = ctx->get_saved_variables();
    const Call call(saved[0], saved[1], saved[2], saved[3], saved[4],
                    Settings{data["heads"].toInt(), data["scale"].toDouble(), data["causal"].toBool(), data["p"].toDouble(),
                             data["seed"].toInt(), data["offset"].toInt()});
    auto [queryGrads, keyValueGrads] = openplug::backward(call, saved[5], saved[6], grads[0].contiguous());
    return {queryGrads, keyValueGrads, {}, {}, {}, {}};
  }
};

at::Tensor packedAttentionCpu(const at::Tensor& queries, const OptionalTensor& keyValues, const at::Tensor& queryLengths,
                              const OptionalTensor& keyLengths, const OptionalTensor& visible, int64_t heads, double scale,
                              bool causal, double p, int64_t seed, int64_t offset) {
  return forward(Call(queries, keyValues, queryLengths, keyLengths, visible, {heads, scale, causal, p, seed, offset}), {});
}

at::Tensor packedAttentionAutograd(const at::Tensor& queries, const OptionalTensor& keyValues,
                                   const at::Tensor& queryLengths, const OptionalTensor& keyLengths,
                                   const OptionalTensor& visible, int64_t heads, double scale, bool causal, double p,
                                   int64_t seed, int64_t offset) {
  return PackedAttention::apply(queries, keyValues, queryLengths, keyLengths, visible,
                                Settings{heads, scale, causal, p, seed, offset});
}

} // namespace
} // namespace openplug

TORCH_LIBRARY_FRAGMENT(openplug, m) {
  m.def("packed_attention(Tensor queries, Tensor? key_values, Tensor query_lengths, Tensor? key_lengths, "
        "Tensor? visible_lengths, int num_heads, float scale, bool causal, float p, int seed, int offset) -> Tensor");
}
TORCH_LIBRARY_IMPL(openplug, CPU, m) {
  m.impl("packed_attention", openplug::packedAttentionCpu);
}
TORCH_LIBRARY_IMPL(openplug, AutogradCPU, m) {
  m.impl("packed_attention", openplug::packedAttentionAutograd);
}
