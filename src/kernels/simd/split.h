// How the CPU kernels split their work over threads.
#ifndef VEXACT_KERNELS_SIMD_SPLIT_H_
#define VEXACT_KERNELS_SIMD_SPLIT_H_

#include <algorithm>
#include <cstdint>

#include "base/function_ref.h"
#include "tensor/stream.h"

namespace vexact {

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Calls body(begin, end) for ranges that cover [0, count). An item costs about `item_elements`
// vector-friendly elements; a range holds enough of them to be worth waking a thread.
inline void ParallelRanges(Stream& stream, int64_t count, int64_t item_elements,
                           FunctionRef<void(int64_t, int64_t)> body) {
  constexpr int64_t kRangeElements = 32768;  // about 10 us
  const int64_t range = std::max<int64_t>(1, kRangeElements / std::max<int64_t>(1, item_elements));
  stream.pool->ParallelFor(CeilDiv(count, range),
                           [&](int64_t i) { body(i * range, std::min(count, (i + 1) * range)); });
}

}  // namespace vexact

#endif  // VEXACT_KERNELS_SIMD_SPLIT_H_
