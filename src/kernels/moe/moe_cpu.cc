#include "kernels/moe/moe.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/moe/moe_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/simd/ex2-inl.h"
#include "kernels/simd/split.h"
#include "kernels/simd/tree128-inl.h"
#include "kernels/simd/vector-inl.h"
#include "numerics/constants.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace moe {

// Whether an expert is chosen before another of a higher id: a NaN ranks below -inf.
bool KeepsPlace(float lower_id, float higher_id) {
  return std::isnan(higher_id) || lower_id >= higher_id;
}

// Marks the k largest scores, ties to the lower id; chosen is [count], all 0 before.
void Choose(const float* scores, int64_t count, int64_t k, uint8_t* chosen) {
  for (int64_t i = 0; i < k; ++i) {
    int64_t best = -1;
    for (int64_t e = 0; e < count; ++e) {
      if (chosen[e] == 0 && (best < 0 || !KeepsPlace(scores[best], scores[e]))) best = e;
    }
    chosen[best] = 1;
  }
}

// powers[e] = ex2(fma(scores[e], log2 e, -M)) for e < count, 0 up to the next multiple of 128.
void Powers(const float* scores, int64_t count, float* powers) {
  const DF df;
  float largest = -INFINITY;
  for (int64_t e = 0; e < count; ++e) largest = scores[e] > largest ? scores[e] : largest;
  const VF minus_m = hn::Set(df, -CeilOfProduct(largest, kLog2E));
  const int64_t padded = (count + 127) / 128 * 128;
  std::copy_n(scores, count, powers);
  std::fill(powers + count, powers + padded, 0.0f);
  for (int64_t e = 0; e < count; e += kLanes) {
    const VF exponent = FusedMulAdd(hn::LoadU(df, powers + e), hn::Set(df, kLog2E), minus_m);
    hn::StoreU(Ex2(exponent), df, powers + e);
  }
  std::fill(powers + count, powers + padded, 0.0f);
}

void RouteToken(const MoeRouteArgs& args, int64_t token, float* powers, uint8_t* chosen) {
  const int64_t count = args.scores.cols;
  const float* scores = args.scores[token];
  std::fill_n(chosen, count, uint8_t{0});
  Choose(scores, count, args.ids.cols, chosen);
  Powers(scores, count, powers);
  float sum = 0.0f;
  if (args.norm_topk_prob) {
    for (int64_t e = 0; e < count; ++e) {
      if (chosen[e] != 0) sum = sum + powers[e];
    }
  } else {
    for (int64_t block = 0; block < count; block += 128) sum = sum + Tree128(powers + block);
  }
  int64_t j = 0;
  for (int64_t e = 0; e < count; ++e) {
    if (chosen[e] == 0) continue;
    args.ids[token][j] = static_cast<int32_t>(e);
    args.weights[token][j] = powers[e] / sum;
    ++j;
  }
}

void Route(const MoeRouteArgs& args, Stream& stream) {
  const int64_t cost = args.scores.cols * (8 + args.ids.cols);  // in additions
  ParallelRanges(stream, args.scores.rows, cost, [&](int64_t begin, int64_t end) {
    const int64_t padded = (args.scores.cols + 127) / 128 * 128;
    const auto powers = std::make_unique<float[]>(padded);
    const auto chosen = std::make_unique<uint8_t[]>(args.scores.cols);
    for (int64_t t = begin; t < end; ++t) RouteToken(args, t, powers.get(), chosen.get());
  });
}

void CombineToken(const MoeCombineArgs& args, int64_t token) {
  const DF df;
  const int64_t top_k = args.weights.cols;
  const int64_t cols = args.y.cols;
  const auto at = [&](int64_t j) { return args.expert_rows[token * top_k + j]; };
  int64_t i = 0;
  for (; i + 2 * kLanes <= cols; i += 2 * kLanes) {
    VF even = hn::Zero(df);
    VF odd = hn::Zero(df);
    for (int64_t j = 0; j < top_k; ++j) {
      const VF weight = hn::Set(df, args.weights[token][j]);
      const VU words = LoadBf16(at(j) + i);
      even = FusedMulAdd(weight, EvenBf16(words), even);
      odd = FusedMulAdd(weight, OddBf16(words), odd);
    }
    StoreBf16(JoinBf16(RoundToBf16(even), RoundToBf16(odd)), args.y[token] + i);
  }
  for (; i < cols; ++i) {
    float y = 0.0f;
    for (int64_t j = 0; j < top_k; ++j) {
      y = std::fma(args.weights[token][j], FloatFromBf16(at(j)[i]), y);
    }
    args.y[token][i] = Bf16FromFloat(y);
  }
}

void Combine(const MoeCombineArgs& args, Stream& stream) {
  ParallelRanges(stream, args.y.rows, args.y.cols * args.weights.cols,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t t = begin; t < end; ++t) CombineToken(args, t);
                 });
}

}  // namespace moe
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {

void MoeRouteCpu(CpuTarget target, const MoeRouteArgs& args, Stream& stream) {
  CheckShapes(args);
  VX_CPU_DISPATCH(target, moe::Route, args, stream);
}

void MoeCombineCpu(CpuTarget target, const MoeCombineArgs& args, Stream& stream) {
  CheckShapes(args);
  VX_CPU_DISPATCH(target, moe::Combine, args, stream);
}

}  // namespace vexact
#endif  // HWY_ONCE
