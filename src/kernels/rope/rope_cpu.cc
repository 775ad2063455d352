#include "kernels/rope/rope.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope/rope_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include <algorithm>

#include "kernels/simd/elementwise-inl.h"
#include "kernels/simd/split.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace rope {

// bf16(rn(bf16(rn(x * cos)) + bf16(rn(y * sin)))).
HWY_INLINE VU Rotated(VF x, VF cos, VF y, VF sin) {
  return RoundToBf16(hn::Add(RoundThroughBf16(hn::Mul(x, cos)), RoundThroughBf16(hn::Mul(y, sin))));
}

// kWordLanes elements of both halves of a head, in place.
HWY_INLINE void RotateVector(bf16* lower, bf16* upper, const bf16* cos_from, const bf16* sin_from) {
  const VU a = LoadBf16(lower);
  const VU b = LoadBf16(upper);
  const VU cos = LoadBf16(cos_from);
  const VU sin = LoadBf16(sin_from);
  const VU a_even = Rotated(EvenBf16(a), EvenBf16(cos), hn::Neg(EvenBf16(b)), EvenBf16(sin));
  const VU a_odd = Rotated(OddBf16(a), OddBf16(cos), hn::Neg(OddBf16(b)), OddBf16(sin));
  const VU b_even = Rotated(EvenBf16(b), EvenBf16(cos), EvenBf16(a), EvenBf16(sin));
  const VU b_odd = Rotated(OddBf16(b), OddBf16(cos), OddBf16(a), OddBf16(sin));
  StoreBf16(JoinBf16(a_even, a_odd), lower);
  StoreBf16(JoinBf16(b_even, b_odd), upper);
}

void RotateHead(bf16* head, const bf16* cos, const bf16* sin, int64_t half) {
  int64_t i = 0;
  for (; i + kWordLanes <= half; i += kWordLanes) {
    RotateVector(head + i, head + half + i, cos + i, sin + i);
  }
  if (i == half) return;
  const int64_t left = half - i;
  bf16 lower[kWordLanes] = {};
  bf16 upper[kWordLanes] = {};
  bf16 last_cos[kWordLanes] = {};
  bf16 last_sin[kWordLanes] = {};
  std::copy_n(head + i, left, lower);
  std::copy_n(head + half + i, left, upper);
  std::copy_n(cos + i, left, last_cos);
  std::copy_n(sin + i, left, last_sin);
  RotateVector(lower, upper, last_cos, last_sin);
  std::copy_n(lower, left, head + i);
  std::copy_n(upper, left, head + half + i);
}

void Run(const RopeArgs& args, Stream& stream) {
  const RopeView& table = args.table;
  constexpr int64_t kCost = 4;  // of an element, in elements of an addition
  ParallelRanges(stream, args.x.rows, args.x.cols * kCost, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t entry = args.positions[r] * table.half;
      for (int64_t c = 0; c < args.x.cols; c += args.head_dim) {
        RotateHead(args.x[r] + c, table.cos + entry, table.sin + entry, table.half);
      }
    }
  });
}

}  // namespace rope
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {

void RopeCpu(CpuTarget target, const RopeArgs& args, Stream& stream) {
  VX_CPU_DISPATCH(target, rope::Run, args, stream);
}

}  // namespace vexact
#endif  // HWY_ONCE
