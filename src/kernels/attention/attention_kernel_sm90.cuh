// The attention kernels: prefill's blocks take the plan's units as they come, decode's blocks a run
// of work each. Lengths are read on the device only, so recorded launches serve every step; both
// are launched in every step, and the one without work ends at once.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_KERNEL_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_KERNEL_SM90_CUH_

#include <bit>
#include <cstdint>

#include "base/check.h"
#include "kernels/attention/attention_decode_sm90.cuh"
#include "kernels/attention/attention_prefill_sm90.cuh"
#include "kernels/sm90/dependent_launch.cuh"
#include "numerics/constants.h"

namespace vexact::sm90 {

template <int kHeadDim>
__global__ void __launch_bounds__(kAttentionWarps * 32, 1)
    PrefillKernel(const __grid_constant__ AttentionParameters p) {
  extern __shared__ __align__(128) unsigned char shared[];
  WaitForEarlier();
  AllowLater();
  PrefillBlock<kHeadDim>(p, reinterpret_cast<PrefillShared<kHeadDim>*>(shared)).Run();
  __syncthreads();
  if (threadIdx.x != 0) return;
  AttentionCounters* counters = p.plan.counters;
  __threadfence();
  if (atomicAdd(&counters->blocks_finished, 1) == static_cast<int32_t>(gridDim.x) - 1) {
    counters->prefill_taken = 0;
    counters->blocks_finished = 0;
  }
}

template <int kHeadDim>
__global__ void __launch_bounds__(kAttentionWarps * 32, kDecodeBlocksPerSm)
    DecodeKernel(const __grid_constant__ AttentionParameters p) {
  extern __shared__ __align__(128) unsigned char shared[];
  WaitForEarlier();
  AllowLater();
  DecodeBlock<kHeadDim>(p, reinterpret_cast<DecodeShared<kHeadDim>*>(shared)).Run();
}

inline bool RowsAreWords(const bf16* data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 4 == 0 && stride % 2 == 0;
}

template <int kHeadDim>
AttentionParameters ParametersOf(const AttentionArgs& args) {
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
  return {args.q,
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
}

template <int kHeadDim>
void LaunchAttention(const AttentionArgs& args, Stream& stream) {
  const AttentionParameters p = ParametersOf<kHeadDim>(args);
  const auto sms = static_cast<unsigned>(NumSms());
  constexpr int kThreads = kAttentionWarps * 32;
  AllowSharedBytes(PrefillKernel<kHeadDim>, sizeof(PrefillShared<kHeadDim>));
  LaunchDependent(PrefillKernel<kHeadDim>, sms, kThreads, sizeof(PrefillShared<kHeadDim>), stream,
                  p);
  AllowSharedBytes(DecodeKernel<kHeadDim>, sizeof(DecodeShared<kHeadDim>));
  LaunchDependent(DecodeKernel<kHeadDim>, sms * kDecodeBlocksPerSm, kThreads,
                  sizeof(DecodeShared<kHeadDim>), stream, p);
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_KERNEL_SM90_CUH_
