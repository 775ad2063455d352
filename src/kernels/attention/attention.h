// Causal attention over a paged KV cache, for prefill chunks and decode rows in one call.
//
// Arithmetic: docs/numerics.md, attention: tiles of 128 positions, segments of 256, both at
// absolute positions. Invariance: a query row depends on its own q and on K and V at positions that
// it sees; never on the chunk, the batch or the block size. Slots at later positions are never read
// as values: they may hold NaN.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_H_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_H_

#include <cstdint>

#include "kernels/paged_kv.h"
#include "kernels/simd/cpu_target.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

inline constexpr int kAttentionTile = 128;     // positions
inline constexpr int kAttentionSegment = 256;  // positions

struct AttentionArgs {
  Rows<const bf16> q;  // [tokens, heads * head_dim], after rope
  Rows<bf16> y;        // [tokens, heads * head_dim]
  int64_t num_heads;   // a multiple of kv.num_kv_heads
  PagedKv kv;          // already holds this step's keys and values
  // Sequence s owns q rows [query_start[s], query_start[s + 1]); its last row sits at position
  // context_len[s] - 1, and a row at position p sees positions 0..p.
  int64_t num_sequences;
  const int32_t* query_start;   // [num_sequences + 1]
  const int32_t* context_len;   // [num_sequences]
  const int32_t* block_tables;  // [num_sequences, block_table_stride]
  int64_t block_table_stride;   // blocks
};

void AttentionReference(const AttentionArgs& args, Stream& stream);
void AttentionCpu(CpuTarget target, const AttentionArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_H_
