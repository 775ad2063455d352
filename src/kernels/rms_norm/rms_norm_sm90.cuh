// What kernels with a norm over the columns of a row share: the 256 lanes of numerics.md are the
// threads of a CTA, each with 8 consecutive elements in a 16-byte word, so a row of up to 2048
// columns is in registers after one load.
#ifndef VEXACT_KERNELS_RMS_NORM_RMS_NORM_SM90_CUH_
#define VEXACT_KERNELS_RMS_NORM_RMS_NORM_SM90_CUH_

#include "kernels/sm90/chunks.cuh"
#include "kernels/sm90/reduce.cuh"

namespace vexact::sm90 {

inline constexpr int kNormLanes = 256;
inline constexpr int kLaneGroup = kWideChunk;                   // consecutive elements of one lane
inline constexpr int64_t kNormRound = kNormLanes * kLaneGroup;  // elements between its groups
using LaneGroup = Chunk<kLaneGroup>;

// Elements [first, first + 8) of x[count], 0 past its end. kWide: count % 8 == 0 and x is aligned.
template <bool kWide>
__device__ __forceinline__ LaneGroup LoadLaneGroup(const bf16* x, int64_t first, int64_t count) {
  LaneGroup group = {};
  if constexpr (kWide) {
    if (first < count) group = LoadChunk<kLaneGroup>(x + first);
  } else {
#pragma unroll
    for (int i = 0; i < kLaneGroup; ++i) {
      if (first + i < count) group.values[i] = FloatFromBf16(x[first + i]);
    }
  }
  return group;
}

// Rounds to bf16; writes nothing past the end.
template <bool kWide>
__device__ __forceinline__ void StoreLaneGroup(bf16* y, int64_t first, int64_t count,
                                               const LaneGroup& group) {
  if constexpr (kWide) {
    if (first < count) StoreChunk(y + first, group);
  } else {
#pragma unroll
    for (int i = 0; i < kLaneGroup; ++i) {
      if (first + i < count) y[first + i] = Bf16FromFloat(group.values[i]);
    }
  }
}

__device__ __forceinline__ float AddSquares(const LaneGroup& group, float p) {
#pragma unroll
  for (int i = 0; i < kLaneGroup; ++i) p = __fmaf_rn(group.values[i], group.values[i], p);
  return p;
}

__device__ __forceinline__ float InverseRoot(float sum, int64_t count, float eps) {
  return __frsqrt_rn(__fadd_rn(__fdiv_rn(sum, static_cast<float>(count)), eps));
}

// What bf16 rounds to the norm of x.
__device__ __forceinline__ LaneGroup Normalised(LaneGroup x, const LaneGroup& weight, float r) {
#pragma unroll
  for (int i = 0; i < kLaneGroup; ++i) {
    x.values[i] = __fmul_rn(weight.values[i], RoundToBf16(__fmul_rn(x.values[i], r)));
  }
  return x;
}

// The tree's steps over lanes + 128, + 64 and + 32, then those within a warp; every thread of the
// CTA gets the sum. Once in a kernel.
__device__ __forceinline__ float SumOfNormLanes(float p) {
  __shared__ float lanes[kNormLanes];
  lanes[threadIdx.x] = p;
  __syncthreads();
  float q[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int lane = static_cast<int>(threadIdx.x % kWarp) + i * kWarp;
    q[i] = __fadd_rn(lanes[lane], lanes[lane + kNormLanes / 2]);
  }
  return HalvingTree<kWarp>(__fadd_rn(__fadd_rn(q[0], q[2]), __fadd_rn(q[1], q[3])));
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_RMS_NORM_RMS_NORM_SM90_CUH_
