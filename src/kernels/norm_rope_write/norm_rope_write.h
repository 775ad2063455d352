// From the rows of the qkv linear to what attention reads: the norms of q and k heads where a layer
// has them, rope of q and k, and K and V in the paged pool.
//
// Arithmetic: docs/numerics.md, rms_norm of each head, then rope; each step's results are bf16.
// Invariance: a head depends on its own values and position; whether K and V are stored, on the
// row's own.
#ifndef VEXACT_KERNELS_NORM_ROPE_WRITE_NORM_ROPE_WRITE_H_
#define VEXACT_KERNELS_NORM_ROPE_WRITE_NORM_ROPE_WRITE_H_

#include <cstdint>

#include "kernels/kv_write/kv_write.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope/rope.h"

namespace vexact {

struct NormRopeWriteArgs {
  Rows<bf16> qkv;      // [tokens, (num_heads + 2 * kv.num_kv_heads) * kv.head_dim]: q's heads,
                       // k's, v's; q and k are normed and rotated in place
  int64_t num_heads;   // of q
  const bf16* q_norm;  // [head_dim], or none: q is rotated as it is
  const bf16* k_norm;  // [head_dim], or none
  float eps;           // of the norms
  const int32_t* positions;  // [tokens], each in [0, table.max_positions)
  RopeView table;            // 2 * half == kv.head_dim
  // Where K and V go, and what becomes of values that are not finite: kv_write.h.
  const int32_t* slots;  // [tokens]
  PagedKv kv;
  uint8_t* row_faults;  // [tokens]
};

// What every backend requires; ends the program where shapes do not fit.
void CheckShapes(const NormRopeWriteArgs& args);

// The steps that the operator is made of, in their order. The Hopper backend has them in one kernel
// and takes what its attention takes: head_dim 16, 32, 64 or 128; qkv's rows, the pool, its blocks,
// the table and the norms start at multiples of 16 bytes.
struct NormRopeWriteSteps {
  RmsNormArgs q_norm;  // no weight: left out
  RmsNormArgs k_norm;
  RopeArgs rope;  // q and k together: their heads are neighbours
  KvWriteArgs write;
};
NormRopeWriteSteps StepsOf(const NormRopeWriteArgs& args);

void NormRopeWriteReference(const NormRopeWriteArgs& args, Stream& stream);
void NormRopeWriteCpu(CpuTarget target, const NormRopeWriteArgs& args, Stream& stream);
void NormRopeWriteSm90(const NormRopeWriteArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_NORM_ROPE_WRITE_NORM_ROPE_WRITE_H_
