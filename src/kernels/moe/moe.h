// Mixture of experts: routing of tokens and the weighted sum of expert outputs (Shazeer et al.,
// 2017; Qwen3-MoE). The experts themselves are linear, silu_mul, linear.
//
// Arithmetic: docs/numerics.md, moe. Invariance: a token's experts, weights and sum depend on its
// own row; the sum runs in ascending expert id, however tokens were grouped.
#ifndef VEXACT_KERNELS_MOE_MOE_H_
#define VEXACT_KERNELS_MOE_MOE_H_

#include <cstdint>

#include "kernels/simd/cpu_target.h"
#include "numerics/bf16.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

struct MoeRouteArgs {
  Rows<const float> scores;  // [tokens, num_experts], the router's linear in fp32
  bool norm_topk_prob;       // weights sum over the chosen, else over all experts
  Rows<int32_t> ids;         // [tokens, top_k], ascending expert id
  Rows<float> weights;       // [tokens, top_k], of ids
};

// What every backend requires; ends the program where shapes do not fit.
void CheckShapes(const MoeRouteArgs& args);

void MoeRouteReference(const MoeRouteArgs& args, Stream& stream);
void MoeRouteCpu(CpuTarget target, const MoeRouteArgs& args, Stream& stream);
void MoeRouteSm90(const MoeRouteArgs& args, Stream& stream);

// y[t] = bf16(sum over j of weights[t, j] * expert_rows[t * top_k + j]), one fma each, ascending j
// from 0: the experts of ids[t], which ascend.
struct MoeCombineArgs {
  Rows<const bf16> expert_rows;  // [tokens * top_k, hidden]
  Rows<const float> weights;     // [tokens, top_k]
  Rows<bf16> y;                  // [tokens, hidden]
};

void CheckShapes(const MoeCombineArgs& args);  // likewise

void MoeCombineReference(const MoeCombineArgs& args, Stream& stream);
void MoeCombineCpu(CpuTarget target, const MoeCombineArgs& args, Stream& stream);
void MoeCombineSm90(const MoeCombineArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_MOE_MOE_H_
