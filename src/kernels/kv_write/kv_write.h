// Writes the keys and values of new tokens into the paged KV pool: a step of norm_rope_write.
#ifndef VEXACT_KERNELS_KV_WRITE_KV_WRITE_H_
#define VEXACT_KERNELS_KV_WRITE_KV_WRITE_H_

#include <cstdint>

#include "kernels/paged_kv.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

// A row with a NaN or an infinity in K or V sets its fault flag and writes zeros instead, so that
// nothing not finite ever enters the pool; its request fails, its neighbours keep their bits.
struct KvWriteArgs {
  Rows<const bf16> k;    // [tokens, kv_heads * head_dim], after rope
  Rows<const bf16> v;    // [tokens, kv_heads * head_dim]
  const int32_t* slots;  // [tokens]: block * block_size + slot; -1: the row is written nowhere
  PagedKv kv;
  uint8_t* row_faults;  // [tokens]: set to 1 by a faulty row, else left alone
};

void KvWriteReference(const KvWriteArgs& args, Stream& stream);
void KvWriteCpu(const KvWriteArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_KV_WRITE_KV_WRITE_H_
