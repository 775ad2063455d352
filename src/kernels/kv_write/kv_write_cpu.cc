#include <algorithm>

#include "kernels/kv_write/kv_write.h"
#include "kernels/simd/split.h"

namespace vexact {
namespace {

bool AllFinite(const bf16* values, int64_t count) {
  int largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, values[i].bits & 0x7fff);
  return largest < 0x7f80;
}

// Copies one row [kv_heads * head_dim], or zeros, to its slot in every head.
void WriteToken(const KvWriteArgs& args, int64_t row) {
  if (args.slots[row] < 0) return;
  const PagedKv& kv = args.kv;
  const int64_t block = args.slots[row] / kv.block_size;
  const int64_t offset = args.slots[row] % kv.block_size * kv.head_dim;
  const bool finite = AllFinite(args.k[row], args.k.cols) && AllFinite(args.v[row], args.v.cols);
  if (!finite) args.row_faults[row] = 1;
  for (int64_t head = 0; head < kv.num_kv_heads; ++head) {
    bf16* const key = kv.Keys(block, head) + offset;
    bf16* const value = kv.Values(block, head) + offset;
    if (finite) {
      std::copy_n(args.k[row] + head * kv.head_dim, kv.head_dim, key);
      std::copy_n(args.v[row] + head * kv.head_dim, kv.head_dim, value);
    } else {
      std::fill_n(key, kv.head_dim, bf16{});
      std::fill_n(value, kv.head_dim, bf16{});
    }
  }
}

}  // namespace

void KvWriteCpu(const KvWriteArgs& args, Stream& stream) {
  ParallelRanges(stream, args.k.rows, 2 * args.k.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) WriteToken(args, r);
  });
}

}  // namespace vexact
