// What a linear kernel of this backend is given, and how it writes an output.
#ifndef VEXACT_KERNELS_LINEAR_LINEAR_OPERANDS_SM90_CUH_
#define VEXACT_KERNELS_LINEAR_LINEAR_OPERANDS_SM90_CUH_

#include "base/check.h"
#include "kernels/linear/linear.h"
#include "kernels/sm90/arithmetic.cuh"
#include "kernels/sm90/chunks.cuh"

namespace vexact::sm90 {

struct LinearOperands {
  Rows<const bf16> x;  // [tokens, in], rows may start at any multiple of 2 bytes
  Rows<const bf16> w;  // [out, in], rows start at multiples of 16 bytes
  const bf16* bias;    // [out], or none
  Rows<bf16> y;        // [tokens, out]; exactly one of y and y_fp32 has data
  Rows<float> y_fp32;  // [tokens, out]
  bool y_in_pairs;     // two neighbouring outputs from an even one are one aligned word of y
};

inline bool IsAligned(const void* pointer, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

inline LinearOperands MakeLinearOperands(const LinearArgs& args) {
  CheckShapes(args);
  const LinearWeight& weight = *args.weight;
  VX_CHECK(IsWide(weight.rows), "a weight of this backend: rows of 16-byte words");
  const bool to_fp32 = args.y_fp32.data != nullptr;
  const bool pairs = to_fp32 ? IsAligned(args.y_fp32.data, 8) && args.y_fp32.stride % 2 == 0
                             : IsAligned(args.y.data, 4) && args.y.stride % 2 == 0;
  return {args.x, weight.rows, args.bias, args.y, args.y_fp32, pairs};
}

__device__ __forceinline__ float WithBias(const LinearOperands& args, float sum, int64_t o) {
  return args.bias == nullptr ? sum : __fadd_rn(sum, FloatFromBf16(args.bias[o]));
}

// 0 if there is none.
__device__ __forceinline__ float BiasOf(const LinearOperands& args, int64_t o) {
  return args.bias == nullptr || o >= args.w.rows ? 0 : FloatFromBf16(args.bias[o]);
}

__device__ __forceinline__ void StoreOne(const LinearOperands& args, int64_t t, int64_t o,
                                         float sum) {
  if (t >= args.x.rows || o >= args.w.rows) return;
  sum = WithBias(args, sum, o);
  if (args.y_fp32.data != nullptr) {
    args.y_fp32[t][o] = sum;
  } else {
    args.y[t][o] = Bf16FromFloat(sum);
  }
}

// Outputs o and o + 1 of token t as a word, as far as they exist; o is even, y has data.
__device__ __forceinline__ void StoreWord(const LinearOperands& args, int64_t t, int64_t o,
                                          uint32_t word) {
  if (t >= args.x.rows || o >= args.w.rows) return;
  bf16* y = args.y[t] + o;
  const bool has_second = o + 1 < args.w.rows;
  if (args.y_in_pairs && has_second) {
    *reinterpret_cast<uint32_t*>(y) = word;
  } else {
    y[0] = bf16{static_cast<uint16_t>(word)};
    if (has_second) y[1] = bf16{static_cast<uint16_t>(word >> 16)};
  }
}

// Outputs o and o + 1 of token t, as far as they exist; o is even.
__device__ __forceinline__ void StorePair(const LinearOperands& args, int64_t t, int64_t o,
                                          float first, float second) {
  const int64_t out = args.w.rows;
  if (t >= args.x.rows || o >= out) return;
  first = WithBias(args, first, o);
  const bool has_second = o + 1 < out;
  if (has_second) second = WithBias(args, second, o + 1);
  if (args.y_fp32.data != nullptr) {
    float* y = args.y_fp32[t] + o;
    if (args.y_in_pairs && has_second) {
      *reinterpret_cast<float2*>(y) = make_float2(first, second);
    } else {
      y[0] = first;
      if (has_second) y[1] = second;
    }
  } else {
    StoreWord(args, t, o, PackBf16(first, second));
  }
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_LINEAR_LINEAR_OPERANDS_SM90_CUH_
