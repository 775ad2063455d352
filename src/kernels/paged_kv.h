// The paged KV pool of one layer as operators see it (Kwon et al., PagedAttention, 2023).
#ifndef VEXACT_KERNELS_PAGED_KV_H_
#define VEXACT_KERNELS_PAGED_KV_H_

#include <cstdint>
#include <limits>

#include "kernels/attention/attention_mask.h"
#include "numerics/bf16.h"
#include "numerics/host_device.h"

namespace vexact {

// Position p of a sequence lives in its block_table[p / block_size], slot p % block_size.
struct PagedKv {
  bf16* pool = nullptr;  // [num_blocks][K, V][num_kv_heads][block_size][head_dim]
  int64_t num_blocks = 0;
  int64_t block_size = 0;  // tokens: 16, 32 or 64
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t block_stride = 0;  // elements between the starts of two blocks of this layer

  // [block_size, head_dim] of one head of one block.
  VX_HOST_DEVICE bf16* Keys(int64_t block, int64_t kv_head) const {
    return pool + block * block_stride + kv_head * block_size * head_dim;
  }
  VX_HOST_DEVICE bf16* Values(int64_t block, int64_t kv_head) const {
    return Keys(block, num_kv_heads + kv_head);
  }
};

// Which rows of a step belong to which sequence, where its keys and values lie, and which of them a
// row sees. Arrays in the backend's memory. Sequence s owns rows [query_start[s], query_start[s +
// 1]), perhaps none; its last row sits at position context_len[s] - 1.
struct PagedSequences {
  int64_t count = 0;
  const int32_t* query_start = nullptr;        // [count + 1]
  const int32_t* context_len = nullptr;        // [count], this step's tokens included
  const int32_t* block_table_start = nullptr;  // [count]: of a sequence's entries in block_tables
  const int32_t* block_tables = nullptr;  // position p: [block_table_start[s] + p / block_size]
  // No sequence has more rows. A promise, which lets a kernel leave out what long chunks need.
  int64_t max_rows = std::numeric_limits<int32_t>::max();
  AttentionMask mask = {};
};

}  // namespace vexact

#endif  // VEXACT_KERNELS_PAGED_KV_H_
