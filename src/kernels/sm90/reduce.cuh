// Sums and maxima over the lanes of a warp.
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

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_REDUCE_CUH_
