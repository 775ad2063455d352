// The attention kernel: a fixed number of blocks works off the plan's prefill units, then its
// decode units. Lengths are read on the device only, so a recorded launch serves every step.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_KERNEL_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_KERNEL_SM90_CUH_

#include <algorithm>
#include <bit>
#include <cstdint>

#include "base/check.h"
#include "kernels/attention/attention_decode_sm90.cuh"
#include "kernels/attention/attention_prefill_sm90.cuh"
#include "kernels/sm90/launch.cuh"
#include "numerics/constants.h"

namespace vexact::sm90 {

template <int kHeadDim>
constexpr size_t AttentionSharedBytes() {
  return std::max(sizeof(PrefillShared<kHeadDim>),
                  kAttentionWarps * sizeof(DecodeShared<kHeadDim>));
}

template <int kHeadDim, int kSegmentTiles>
__global__ void __launch_bounds__(kAttentionWarps * 32, 1)
    AttentionKernel(const __grid_constant__ AttentionParameters p) {
  extern __shared__ __align__(128) unsigned char shared[];
  PrefillBlock<kHeadDim, kSegmentTiles>(p, reinterpret_cast<PrefillShared<kHeadDim>*>(shared))
      .Run();
  __syncthreads();
  auto* decode = reinterpret_cast<DecodeShared<kHeadDim>*>(shared);
  DecodeWarp<kHeadDim, kSegmentTiles>(p, decode + threadIdx.x / 32).Run();
  __syncthreads();
  if (threadIdx.x != 0) return;
  AttentionCounters* counters = p.plan.counters;
  __threadfence();
  if (atomicAdd(&counters->blocks_finished, 1) == static_cast<int32_t>(gridDim.x) - 1) {
    counters->prefill_taken = 0;
    counters->decode_taken = 0;
    counters->blocks_finished = 0;
  }
}

inline bool RowsAreWords(const bf16* data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 4 == 0 && stride % 2 == 0;
}

// Segments of kSegmentTiles tiles; args.plan was made for them.
template <int kHeadDim, int kSegmentTiles>
void LaunchAttention(const AttentionArgs& args, Stream& stream) {
  VX_CHECK(args.plan != nullptr, "a plan");
  const AttentionLimits& limits = args.plan->limits;
  VX_CHECK(args.num_heads == limits.num_heads && args.kv.num_kv_heads == limits.num_kv_heads &&
               args.kv.head_dim == kHeadDim && limits.head_dim == kHeadDim,
           "the plan's heads");
  VX_CHECK(reinterpret_cast<uintptr_t>(args.kv.pool) % 16 == 0 && args.kv.block_stride % 8 == 0,
           "blocks aligned to 16 bytes");
  VX_CHECK(args.kv.block_size >= kChunk &&
               std::has_single_bit(static_cast<uint64_t>(args.kv.block_size)),
           "blocks of 16, 32 or 64");
  size_t bytes = 0;
  const AttentionPlanView plan = ViewPlan(limits, args.plan->storage.data(), &bytes);
  const AttentionParameters p{
      args.q,
      args.y,
      RowsAreWords(args.q.data, args.q.stride),
      RowsAreWords(args.y.data, args.y.stride),
      args.kv,
      static_cast<int32_t>(std::countr_zero(static_cast<uint64_t>(args.kv.block_size))),
      args.sequences,
      plan,
      static_cast<int32_t>(args.num_heads),
      static_cast<int32_t>(args.num_heads / args.kv.num_kv_heads),
      AttentionScale(kHeadDim)};
  constexpr size_t kShared = AttentionSharedBytes<kHeadDim>();
  AllowSharedBytes(AttentionKernel<kHeadDim, kSegmentTiles>, kShared);
  Launch(AttentionKernel<kHeadDim, kSegmentTiles>, static_cast<unsigned>(NumSms()),
         kAttentionWarps * 32, kShared, stream, p);
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_KERNEL_SM90_CUH_
