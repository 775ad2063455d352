// Sums, maxima and running sums over the lanes of a warp and the threads of a CTA.
#ifndef VEXACT_KERNELS_SM90_REDUCE_CUH_
#define VEXACT_KERNELS_SM90_REDUCE_CUH_

#include <cstdint>

namespace vexact::sm90 {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// Folds value with that of the lane whose index differs in `bit`; a commutative operation leaves
// the same bits in both.
template <typename T, typename Operation>
__device__ __forceinline__ T FoldLanes(T value, int bit, Operation operation) {
  return operation(value, __shfl_xor_sync(kAllLanes, value, bit));
}

// The same value in every lane; for operations whose order does not matter.
template <typename T, typename Operation>
__device__ __forceinline__ T ReduceWarp(T value, Operation operation) {
#pragma unroll
  for (int bit = kWarp / 2; bit >= 1; bit /= 2) value = FoldLanes(value, bit, operation);
  return value;
}

__device__ __forceinline__ float AddFloats(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ float MaxOfFloats(float a, float b) { return fmaxf(a, b); }

// numerics' halving tree over the last kLanes lanes of it: lane + kLanes / 2, ..., lane + 1. Every
// group of kLanes lanes has its own.
template <int kLanes>
__device__ __forceinline__ float HalvingTree(float value) {
#pragma unroll
  for (int bit = kLanes / 2; bit >= 1; bit /= 2) value = FoldLanes(value, bit, AddFloats);
  return value;
}

// numerics/tree128.h over 128 values, lane l holding those of index l, l + 32, l + 64 and l + 96.
__device__ __forceinline__ float Tree128OfWarp(float (&p)[4]) {
#pragma unroll
  for (float& value : p) {
    value = FoldLanes(value, 1, AddFloats);
    value = FoldLanes(value, 8, AddFloats);
    value = FoldLanes(value, 16, AddFloats);
  }
  float sum = __fadd_rn(__fadd_rn(p[0], p[1]), __fadd_rn(p[2], p[3]));
  sum = FoldLanes(sum, 2, AddFloats);
  return FoldLanes(sum, 4, AddFloats);
}

__device__ __forceinline__ int Lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ __forceinline__ int WarpIndex() { return static_cast<int>(threadIdx.x) / kWarp; }

struct Sum {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct Min {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};

// Of every thread's integer, in every thread; all threads call it. The order of the operation does
// not matter; `identity` changes nothing.
template <int kThreads, typename Operation, typename T>
__device__ T ReduceCta(T value, T identity) {
  constexpr int kWarps = kThreads / kWarp;
  static_assert(kWarps <= kWarp);
  __shared__ T partials[kWarps];
  value = ReduceWarp(value, Operation());
  __syncthreads();  // the partials of the call before have been read
  if (Lane() == 0) partials[WarpIndex()] = value;
  __syncthreads();
  return ReduceWarp(Lane() < kWarps ? partials[Lane()] : identity, Operation());
}

// The sum of the values of this lane and those below.
__device__ __forceinline__ uint64_t RunningSumOfWarp(uint64_t value) {
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const uint64_t below = __shfl_up_sync(kAllLanes, value, distance);
    if (Lane() >= distance) value += below;
  }
  return value;
}

// The sum of the values of this thread and those below; all threads call it.
template <int kThreads>
__device__ uint64_t RunningSumOfCta(uint64_t value) {
  constexpr int kWarps = kThreads / kWarp;
  __shared__ uint64_t partials[kWarps];
  const uint64_t running = RunningSumOfWarp(value);
  __syncthreads();  // the partials of the call before have been read
  if (Lane() == kWarp - 1) partials[WarpIndex()] = running;
  __syncthreads();
  const uint64_t of_warps = RunningSumOfWarp(Lane() < kWarps ? partials[Lane()] : 0);
  const uint64_t before = __shfl_sync(kAllLanes, of_warps, WarpIndex() == 0 ? 0 : WarpIndex() - 1);
  return running + (WarpIndex() == 0 ? 0 : before);
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_REDUCE_CUH_
