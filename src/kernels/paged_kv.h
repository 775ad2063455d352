// The paged KV pool of one layer as operators see it (Kwon et al., PagedAttention, 2023).
#ifndef VEXACT_KERNELS_PAGED_KV_H_
#define VEXACT_KERNELS_PAGED_KV_H_

#include <cstdint>

#include "numerics/bf16.h"

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
  bf16* Keys(int64_t block, int64_t kv_head) const {
    return pool + block * block_stride + kv_head * block_size * head_dim;
  }
  bf16* Values(int64_t block, int64_t kv_head) const { return Keys(block, num_kv_heads + kv_head); }
};

}  // namespace vexact

#endif  // VEXACT_KERNELS_PAGED_KV_H_
