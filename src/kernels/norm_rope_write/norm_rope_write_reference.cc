#include "base/check.h"
#include "kernels/norm_rope_write/norm_rope_write.h"

namespace vexact {

void CheckShapes(const NormRopeWriteArgs& args) {
  VX_CHECK(args.qkv.cols == (args.num_heads + 2 * args.kv.num_kv_heads) * args.kv.head_dim,
           "qkv: q's, k's and v's columns");
  VX_CHECK(args.kv.head_dim == 2 * args.table.half, "head_dim == 2 * half");
}

NormRopeWriteSteps StepsOf(const NormRopeWriteArgs& args) {
  CheckShapes(args);
  const int64_t head_dim = args.kv.head_dim;
  const int64_t q_cols = args.num_heads * head_dim;
  const int64_t kv_cols = args.kv.num_kv_heads * head_dim;
  const Rows<bf16> q = args.qkv.Columns(0, q_cols);
  const Rows<bf16> k = args.qkv.Columns(q_cols, q_cols + kv_cols);
  const Rows<bf16> v = args.qkv.Columns(q_cols + kv_cols, q_cols + 2 * kv_cols);
  const Rows<bf16> q_and_k = args.qkv.Columns(0, q_cols + kv_cols);
  return {.q_norm = {q, args.q_norm, head_dim, args.eps, q},
          .k_norm = {k, args.k_norm, head_dim, args.eps, k},
          .rope = {q_and_k, head_dim, args.positions, args.table},
          .write = {k, v, args.slots, args.kv, args.row_faults}};
}

void NormRopeWriteReference(const NormRopeWriteArgs& args, Stream& stream) {
  const NormRopeWriteSteps steps = StepsOf(args);
  if (args.q_norm != nullptr) RmsNormReference(steps.q_norm, stream);
  if (args.k_norm != nullptr) RmsNormReference(steps.k_norm, stream);
  RopeReference(steps.rope, stream);
  KvWriteReference(steps.write, stream);
}

}  // namespace vexact
