// Attention of one new token in each row of a batch to keys and values that are kept: its own text's (which it first
// joins), or the source's.
//
// keys [R, H, L/16 rounded up, D, 16]: of 16 tokens at a time, so that their scores come out side by side in one vector.
// values [R, H, L, D]. Of each row a prefix is filled; what is after it may be anything and is not used. Keys and values
// have the queries' dtype, or are bf16 under fp32 queries: half the bytes to read. Scores, probabilities and sums are
// fp32 (fp64 for fp64).
// Why: the general kernel copies the whole cache and makes matrix products of one row. A step of a large model finds
// nothing in the processor's caches: what counts is how many bytes are read, and that they stand in order.
#include <ATen/Parallel.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "simd.h"

namespace openplug {
namespace {

constexpr int64_t group = 16; // tokens whose keys stand side by side
constexpr int64_t streamStart = 8192; // bytes that are asked for ahead of what reads them
constexpr int64_t lines = 4; // dimensions that are added up apart: sums need not wait for each other

int64_t groupsOf(int64_t length) { return (length + group - 1) / group; }

// Asks the second-level cache for the line at `begin + offset`, of what will be read next, if it is among the first: the
// hardware follows a stream once it has seen it, but a head's keys, or its values, are a new one each.
template <typename T>
KERNEL_INLINE void prefetch(const T* begin, int64_t offset) {
  constexpr int64_t most = streamStart / sizeof(T);
  if (offset < most) __builtin_prefetch(begin + offset, 0, 2);
}

// scores[j] = scale * q · key j, for whole groups; meanwhile the values come near.
template <typename T>
KERNEL_INLINE void scoreGroups(Compute<T>* __restrict scores, const Compute<T>* __restrict q, const T* __restrict keys,
                               const T* values, int64_t groups, int64_t depth, Compute<T> scale) {
  using C = Compute<T>;
  constexpr int64_t line = 64 / sizeof(T);
  for (int64_t g = 0; g < groups; ++g, keys += depth * group, scores += group) {
    C dots[lines][group] = {};
    int64_t d = 0;
    for (; d + lines <= depth; d += lines) {
      for (int64_t at = 0; at < lines * group; at += line) prefetch(values, (g * depth + d) * group + at);
#pragma GCC unroll 4
      for (int64_t u = 0; u < lines; ++u)
#pragma omp simd
        for (int64_t lane = 0; lane < group; ++lane) dots[u][lane] += q[d + u] * load(keys[(d + u) * group + lane]);
    }
    for (; d < depth; ++d)
#pragma omp simd
      for (int64_t lane = 0; lane < group; ++lane) dots[0][lane] += q[d] * load(keys[d * group + lane]);
#pragma omp simd
    for (int64_t lane = 0; lane < group; ++lane)
      scores[lane] = ((dots[0][lane] + dots[1][lane]) + (dots[2][lane] + dots[3][lane])) * scale;
  }
}

// Dimensions [first, first + width) of the sum of all values by their weights; the sums stay in registers. Meanwhile
// `next` comes near, as many bytes as are read here.
template <int width, typename X, typename T>
KERNEL_INLINE void sumValues(X* __restrict out, const Compute<T>* __restrict weights, const T* __restrict values,
                             const T* next, int64_t count, int64_t depth, Compute<T> factor) {
  using C = Compute<T>;
  constexpr int line = 64 / sizeof(T);
  C sums[width] = {};
  for (int64_t j = 0; j < count; ++j) {
    const C weight = weights[j];
    for (int at = 0; at + line <= width; at += line) prefetch(next, j * depth + at);
#pragma omp simd
    for (int d = 0; d < width; ++d) sums[d] += weight * load(values[j * depth + d]);
  }
#pragma omp simd
  for (int d = 0; d < width; ++d) out[d] = narrow<X>(sums[d] * factor);
}

template <typename T, typename X>
KERNEL_INLINE T stored(X value) {
  if constexpr (std::is_same_v<T, X>)
    return value;
  else
    return narrow<T>(load(value));
}

// One head of one row, and the keys of the head that comes after it.
template <typename X, typename T>
struct Head {
  X* out;              // [D]
  const X* query;      // [D]
  T* keys;
  T* values;
  const T* nextKeys;
  const X* newToken;   // key [D] of the last of `count` tokens if it is to join the others, or null
  int64_t valueOffset; // of its value from its key
  int64_t count;
};

// A key in lane `place % 16` of its group. Numbers are narrowed 16 at once, then go to their lines.
template <typename X, typename T>
KERNEL_INLINE void keepKey(T* __restrict keys, const X* __restrict key, int64_t place, int64_t depth) {
  T* __restrict column = keys + place / group * depth * group + place % group;
  int64_t first = 0;
  for (; first + 16 <= depth; first += 16) {
    T some[16];
#pragma omp simd
    for (int d = 0; d < 16; ++d) some[d] = stored<T>(key[first + d]);
#pragma GCC unroll 16
    for (int d = 0; d < 16; ++d) column[(first + d) * group] = some[d];
  }
  for (int64_t d = first; d < depth; ++d) column[d * group] = stored<T>(key[d]);
}

template <typename X, typename T>
KERNEL_INLINE void keepValue(T* __restrict values, const X* __restrict value, int64_t place, int64_t depth) {
  T* __restrict row = values + place * depth;
#pragma omp simd
  for (int64_t d = 0; d < depth; ++d) row[d] = stored<T>(value[d]);
}

template <typename X, typename T>
KERNEL_INLINE void keepTokenBody(T* keys, T* values, const X* key, const X* value, int64_t place, int64_t depth) {
  keepKey(keys, key, place, depth);
  keepValue(values, value, place, depth);
}
KERNEL_MULTIVERSION(keepToken)

// out [D] = softmax(scale * q · keysᵀ) · values over `count` keys. Scratch: q [D], then scores.
template <typename X, typename T>
KERNEL_INLINE void attendBody(const Head<X, T>* head, Compute<T>* __restrict scratch, int64_t depth, Compute<T> scale) {
  using C = Compute<T>;
  C* __restrict q = scratch;
  C* __restrict scores = scratch + depth;
  const int64_t count = head->count, groups = groupsOf(count), places = groups * group;
#pragma omp simd
  for (int64_t d = 0; d < depth; ++d) q[d] = load(head->query[d]);
  if (head->newToken) keepValue(head->values, head->newToken + head->valueOffset, count - 1, depth);
  scoreGroups(scores, q, static_cast<const T*>(head->keys), static_cast<const T*>(head->values), groups, depth, scale);
  if (head->newToken) { // its key is written after its group was read: a vector cannot be read at once from parts
    C dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t d = 0; d < depth; ++d) dot += q[d] * load(stored<T>(head->newToken[d]));
    scores[count - 1] = dot * scale;
    keepKey(head->keys, head->newToken, count - 1, depth);
  }
  for (int64_t j = count; j < places; ++j) scores[j] = -INFINITY;
  C largest = -INFINITY, total = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t j = 0; j < places; ++j) largest = scores[j] > largest ? scores[j] : largest;
#pragma omp simd reduction(+ : total)
  for (int64_t j = 0; j < places; ++j) {
    const C e = expNonPositive(scores[j] - largest);
    scores[j] = e;
    total += e;
  }
  const C factor = C(1) / total;
  X* out = head->out;
  const T* values = head->values;
  const T* next = head->nextKeys;
  int64_t d = 0;
  for (; d + 64 <= depth; d += 64) sumValues<64>(out + d, scores, values + d, next + d, count, depth, factor);
  for (; d + 16 <= depth; d += 16) sumValues<16>(out + d, scores, values + d, next + d, count, depth, factor);
  for (; d < depth; ++d) sumValues<1>(out + d, scores, values + d, next + d, count, depth, factor);
}
KERNEL_MULTIVERSION(attend)

// Calls body(tag of queries and results, tag of keys and values) for the pairs that there are.
template <typename Body>
void dispatchKept(at::ScalarType queries, at::ScalarType kept, const char* op, Body body) {
  if (queries == at::kFloat && kept == at::kBFloat16) return body(float{}, Bf16{});
  TORCH_CHECK(queries == kept, op, ": keys and values must have the dtype of the projections or be bfloat16 under float32, got ",
              kept, " under ", queries);
  dispatchFloating(kept, op, [&](auto tag) { body(tag, tag); });
}

struct Sizes {
  int64_t rows, heads, length, depth;
  int64_t keysOfHead() const { return groupsOf(length) * depth * group; }
};

Sizes checkArguments(const at::Tensor& projected, int64_t parts, const at::Tensor& keys, const at::Tensor& values,
                     const char* op) {
  TORCH_CHECK(keys.dim() == 5 && values.dim() == 4 && keys.is_contiguous() && values.is_contiguous() &&
                  keys.size(0) == values.size(0) && keys.size(1) == values.size(1) &&
                  keys.size(2) == groupsOf(values.size(2)) && keys.size(3) == values.size(3) && keys.size(4) == group,
              op, ": keys and values must be contiguous [R, H, L/16 rounded up, D, 16] and [R, H, L, D], got ", keys.sizes(),
              " and ", values.sizes());
  const Sizes sizes{projected.dim() > 0 ? projected.size(0) : 0, values.size(1), values.size(2), values.size(3)};
  TORCH_CHECK(projected.dim() == 2 && projected.size(1) == parts * sizes.heads * sizes.depth, op,
              ": expected projections [B, ", parts * sizes.heads * sizes.depth, "] for values ", values.sizes(), ", got ",
              projected.sizes());
  TORCH_CHECK(keys.scalar_type() == values.scalar_type(), op, ": keys and values must have one dtype, got ",
              keys.scalar_type(), " and ", values.scalar_type());
  return sizes;
}

const int64_t* checkIntegers(const at::Tensor& tensor, int64_t count, const char* what, const char* op) {
  TORCH_CHECK(tensor.scalar_type() == at::kLong && tensor.dim() == 1 && tensor.size(0) == count && tensor.is_contiguous(),
              op, ": ", what, " must be contiguous int64 [", count, "], got ", tensor.scalar_type(), " ", tensor.sizes());
  return static_cast<const int64_t*>(tensor.data_ptr());
}

// body(row, head, scratch) for all rows and heads, in parallel where there is enough to do: `most` keys or fewer each.
template <typename C, typename Body>
void forEachHead(const Sizes& sizes, int64_t most, Body body) {
  const int64_t grain = 1 + 16384 / std::max<int64_t>(most * sizes.depth, 1);
  const auto scratchSize = static_cast<size_t>(sizes.depth + groupsOf(most) * group);
  at::parallel_for(0, sizes.rows * sizes.heads, grain, [&](int64_t begin, int64_t end) {
    static thread_local std::vector<C> scratch;
    if (scratch.size() < scratchSize) scratch.resize(scratchSize);
    for (int64_t i = begin; i < end; ++i) body(i / sizes.heads, i % sizes.heads, scratch.data());
  });
}

// projected [B, 3E] = queries | keys | values of the new tokens, row b's at positions[b] of its text.
at::Tensor selfAttentionStep(const at::Tensor& projectedInput, at::Tensor keys, at::Tensor values,
                             const at::Tensor& positions, double scale) {
  const char* op = "openplug::self_attention_step";
  const Sizes sizes = checkArguments(projectedInput, 3, keys, values, op);
  TORCH_CHECK(keys.size(0) == sizes.rows, op, ": the cache has ", keys.size(0), " rows, the batch ", sizes.rows);
  const int64_t* position = checkIntegers(positions, sizes.rows, "positions", op);
  int64_t most = 0;
  for (int64_t b = 0; b < sizes.rows; ++b) {
    TORCH_CHECK(position[b] >= 0 && position[b] < sizes.length, op, ": the cache holds ", sizes.length,
                " tokens, row ", b, " is at position ", position[b]);
    most = std::max(most, position[b] + 1);
  }
  const at::Tensor projected = projectedInput.contiguous();
  const int64_t width = sizes.heads * sizes.depth;
  at::Tensor out = at::empty({sizes.rows, width}, projected.options());
  dispatchKept(projected.scalar_type(), keys.scalar_type(), op, [&](auto queryTag, auto keptTag) {
    using X = decltype(queryTag);
    using T = decltype(keptTag);
    using C = Compute<T>;
    forEachHead<C>(sizes, most, [&](int64_t b, int64_t h, C* scratch) {
      const X* q = dataOf<X>(projected) + b * 3 * width + h * sizes.depth;
      T* headKeys = dataOf<T>(keys) + (b * sizes.heads + h) * sizes.keysOfHead();
      T* headValues = dataOf<T>(values) + (b * sizes.heads + h) * sizes.length * sizes.depth;
      const Head<X, T> head{dataOf<X>(out) + b * width + h * sizes.depth, q, headKeys, headValues,
                            headKeys + sizes.keysOfHead(), q + width, width, position[b] + 1};
      attend(&head, scratch, sizes.depth, static_cast<C>(scale));
    });
  });
  return out;
}

// queries [B, E]; row b attends to the first visible[sources[b]] keys of row sources[b]: rows may share a source.
at::Tensor crossAttentionStep(const at::Tensor& queryInput, const at::Tensor& keys, const at::Tensor& values,
                              const at::Tensor& visible, const at::Tensor& sources, double scale) {
  const char* op = "openplug::cross_attention_step";
  const Sizes sizes = checkArguments(queryInput, 1, keys, values, op);
  const int64_t* counts = checkIntegers(visible, keys.size(0), "visible", op);
  const int64_t* source = checkIntegers(sources, sizes.rows, "sources", op);
  for (int64_t b = 0; b < sizes.rows; ++b)
    TORCH_CHECK(source[b] >= 0 && source[b] < keys.size(0), op, ": row ", b, " has source ", source[b], " of ",
                keys.size(0));
  int64_t most = 0;
  for (int64_t r = 0; r < keys.size(0); ++r) {
    TORCH_CHECK(counts[r] >= 1 && counts[r] <= sizes.length, op, ": source ", r, " shows ", counts[r],
                " keys, expected 1 to ", sizes.length);
    most = std::max(most, counts[r]);
  }
  const at::Tensor query = queryInput.contiguous();
  at::Tensor out = at::empty(query.sizes(), query.options());
  const int64_t width = sizes.heads * sizes.depth;
  dispatchKept(query.scalar_type(), keys.scalar_type(), op, [&](auto queryTag, auto keptTag) {
    using X = decltype(queryTag);
    using T = decltype(keptTag);
    using C = Compute<T>;
    forEachHead<C>(sizes, most, [&](int64_t b, int64_t h, C* scratch) {
      const int64_t at = b * width + h * sizes.depth, place = source[b] * sizes.heads + h;
      T* headKeys = dataOf<T>(keys) + place * sizes.keysOfHead();
      const Head<X, T> head{dataOf<X>(out) + at, dataOf<X>(query) + at, headKeys,
                            dataOf<T>(values) + place * sizes.length * sizes.depth, headKeys + sizes.keysOfHead(),
                            nullptr, 0, counts[source[b]]};
      attend(&head, scratch, sizes.depth, static_cast<C>(scale));
    });
  });
  return out;
}

// Keys | values of whole texts in packed rows [N, 2E] as the steps want them, in rows of `length` tokens. What is after
// a text is zero; filler rows after the last text are left out.
std::tuple<at::Tensor, at::Tensor> keepTexts(const at::Tensor& input, const at::Tensor& lengths, int64_t length,
                                             int64_t heads, at::ScalarType dtype) {
  const char* op = "openplug::keep_texts";
  TORCH_CHECK(input.dim() == 2 && heads > 0 && input.size(1) % (2 * heads) == 0, op,
              ": expected keys and values [tokens, 2 * heads * D] of ", heads, " heads, got ", input.sizes());
  TORCH_CHECK(length >= 0, op, ": rows cannot have length ", length);
  const int64_t rows = lengths.dim() == 1 ? lengths.size(0) : 0, depth = input.size(1) / (2 * heads);
  const int64_t* count = checkIntegers(lengths, rows, "lengths", op);
  std::vector<int64_t> starts(static_cast<size_t>(rows) + 1, 0);
  for (int64_t r = 0; r < rows; ++r) {
    TORCH_CHECK(count[r] >= 0 && count[r] <= length, op, ": row ", r, " has length ", count[r], ", expected 0 to ", length);
    starts[static_cast<size_t>(r) + 1] = starts[static_cast<size_t>(r)] + count[r];
  }
  TORCH_CHECK(starts.back() <= input.size(0), op, ": the lengths sum to ", starts.back(), ", but there are ",
              input.size(0), " packed tokens");
  const at::Tensor x = input.contiguous();
  const at::Tensor keys = at::empty({rows, heads, groupsOf(length), depth, group}, x.options().dtype(dtype));
  const at::Tensor values = at::empty({rows, heads, length, depth}, x.options().dtype(dtype));
  const Sizes sizes{rows, heads, length, depth};
  dispatchKept(x.scalar_type(), dtype, op, [&](auto inputTag, auto keptTag) {
    using X = decltype(inputTag);
    using T = decltype(keptTag);
    at::parallel_for(0, rows * heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t r = i / heads, whole = count[r] / group * group * depth, full = count[r] * depth;
        T* headKeys = dataOf<T>(keys) + i * sizes.keysOfHead();
        T* headValues = dataOf<T>(values) + i * length * depth;
        std::fill(headKeys + whole, headKeys + sizes.keysOfHead(), T{});
        std::fill(headValues + full, headValues + length * depth, T{});
        for (int64_t t = 0; t < count[r]; ++t) {
          const X* key = dataOf<X>(x) + (starts[static_cast<size_t>(r)] + t) * 2 * heads * depth + i % heads * depth;
          keepToken(headKeys, headValues, key, key + heads * depth, t, depth);
        }
      }
    });
  });
  return {keys, values};
}

} // namespace
} // namespace openplug

TORCH_LIBRARY_FRAGMENT(openplug, m) {
  m.def("self_attention_step(Tensor projected, Tensor(a!) keys, Tensor(b!) values, Tensor positions, float scale) -> "
        "Tensor");
  m.def("cross_attention_step(Tensor query, Tensor keys, Tensor values, Tensor visible, Tensor sources, float scale) -> "
        "Tensor");
  m.def("keep_texts(Tensor x, Tensor lengths, int length, int num_heads, ScalarType dtype) -> (Tensor keys, Tensor "
        "values)");
}
TORCH_LIBRARY_IMPL(openplug, CPU, m) {
  m.impl("self_attention_step", openplug::selfAttentionStep);
  m.impl("cross_attention_step", openplug::crossAttentionStep);
  m.impl("keep_texts", openplug::keepTexts);
}
