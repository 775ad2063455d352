#include <algorithm>

#include "base/check.h"
#include "kernels/kv_write/kv_write.h"

namespace vexact {
namespace {

bool IsFinite(bf16 x) { return (x.bits & 0x7f80u) != 0x7f80u; }

}  // namespace

void KvWriteReference(const KvWriteArgs& args, Stream& stream) {
  const PagedKv& kv = args.kv;
  const int64_t cols = kv.num_kv_heads * kv.head_dim;
  VX_CHECK(args.k.cols == cols && args.v.cols == cols, "k and v: kv_heads * head_dim columns");
  VX_CHECK(args.k.rows == args.v.rows, "as many keys as values");
  stream.pool->ParallelFor(args.k.rows, [&](int64_t t) {
    if (args.slots[t] < 0) return;
    const bf16* k = args.k[t];
    const bf16* v = args.v[t];
    const bool finite = std::all_of(k, k + cols, IsFinite) && std::all_of(v, v + cols, IsFinite);
    if (!finite) args.row_faults[t] = 1;
    const int64_t block = args.slots[t] / kv.block_size;
    const int64_t slot = args.slots[t] % kv.block_size;
    VX_CHECK(block < kv.num_blocks, "slot in the pool");
    for (int64_t head = 0; head < kv.num_kv_heads; ++head) {
      for (int64_t d = 0; d < kv.head_dim; ++d) {
        const int64_t column = head * kv.head_dim + d;
        const int64_t offset = slot * kv.head_dim + d;
        kv.Keys(block, head)[offset] = finite ? k[column] : bf16{};
        kv.Values(block, head)[offset] = finite ? v[column] : bf16{};
      }
    }
  });
}

}  // namespace vexact
