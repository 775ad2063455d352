// The fold of a decode head that several blocks share: the partial results of its segments, in
// their order.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_FOLD_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_FOLD_SM90_CUH_

#include <cstdint>

#include "kernels/attention/attention_parameters_sm90.cuh"
#include "kernels/sm90/reduce.cuh"

namespace vexact::sm90 {

// Row r of a KV head of a sequence.
struct DecodeRow {
  int32_t position;
  int32_t head;
  int32_t row;  // of q and y
};
__device__ __forceinline__ DecodeRow FindRow(const AttentionParameters& p, const DecodeSequence& s,
                                             int32_t kv_head, int32_t r) {
  const int32_t token = r / p.group;
  return {s.context - s.tokens + token, kv_head * p.group + r % p.group, s.first_row + token};
}

// Folds the partial results of all segments of a split head, kWidth neighbouring elements a thread.
template <int kHeadDim, int kWidth>
__device__ __forceinline__ void FoldPartials(const AttentionParameters& p, const DecodeSequence& s,
                                             int32_t kv_head, int32_t slot) {
  constexpr int kTogether = kWidth == 4 ? 8 : 16;  // segments read at a time
  const int32_t rows = s.tokens * p.group;
  for (int32_t i = static_cast<int32_t>(threadIdx.x) * kWidth; i < rows * kHeadDim;
       i += kAttentionWarps * kWarp * kWidth) {
    const DecodeRow row = FindRow(p, s, kv_head, i / kHeadDim);
    const int32_t segments = row.position / kAttentionSegment + 1;
    RowSum fold{-INFINITY, 0.0f};
    float o[kWidth] = {};
    for (int32_t first = 0; first < segments; first += kTogether) {
      float next[kTogether][kWidth];
      float2 ml[kTogether];
#pragma unroll
      for (int a = 0; a < kTogether; ++a) {
        const int64_t index = slot + int64_t{min(first + a, segments - 1)} * rows + i / kHeadDim;
        ml[a] = __ldcg(reinterpret_cast<const float2*>(p.plan.partial_ml + index * 2));
        const float* from = p.plan.partial_o + index * kHeadDim + i % kHeadDim;
        if constexpr (kWidth == 4) {
          const float4 x = __ldcg(reinterpret_cast<const float4*>(from));
          next[a][0] = x.x, next[a][1] = x.y, next[a][2] = x.z, next[a][3] = x.w;
        } else {
          next[a][0] = __ldcg(from);
        }
      }
#pragma unroll
      for (int a = 0; a < kTogether; ++a) {
        if (first + a >= segments) break;
        const FoldScales scales = FoldRow({ml[a].x, ml[a].y}, true, &fold);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) o[e] = FoldValue(o[e], next[a][e], scales);
      }
    }
    const float reciprocal = __frcp_rn(fold.l);
    bf16* y = p.y.data + row.row * p.y.stride + row.head * kHeadDim + i % kHeadDim;
#pragma unroll
    for (int e = 0; e < kWidth; ++e) y[e] = Bf16FromFloat(__fmul_rn(o[e], reciprocal));
  }
}

// A function of its own, so that its registers are not the streaming loop's.
template <int kHeadDim>
__device__ __noinline__ void FoldSplitHead(const AttentionParameters& p, DecodeSequence s,
                                           int32_t kv_head, int32_t slot) {
  if (s.tokens * p.group * kHeadDim <= 2 * kAttentionWarps * kWarp) {
    FoldPartials<kHeadDim, 1>(p, s, kv_head, slot);
  } else {
    FoldPartials<kHeadDim, 4>(p, s, kv_head, slot);
  }
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_FOLD_SM90_CUH_
