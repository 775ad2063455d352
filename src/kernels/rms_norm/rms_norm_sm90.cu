// The 256 lanes of numerics.md are the threads of a CTA, each with 8 consecutive elements in a
// 16-byte word: a layer norm of up to 2048 columns is in registers after one load. In the norm of a
// head only the first ceil(group / 8) lanes hold values and the upper steps of the tree add zeros,
// so a warp, a half or a quarter of one has the same bits.
#include "base/check.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/sm90/chunks.cuh"
#include "kernels/sm90/overlapped_launch.cuh"
#include "kernels/sm90/reduce.cuh"

namespace vexact {
namespace {

constexpr int kLanes = 256;
constexpr int kLaneGroup = sm90::kWideChunk;  // consecutive elements of one lane
constexpr int64_t kRound = kLanes * kLaneGroup;
using LaneGroup = sm90::Chunk<kLaneGroup>;

// Elements [first, first + 8) of x[count], 0 past its end. kWide: count % 8 == 0 and x is aligned.
template <bool kWide>
__device__ __forceinline__ LaneGroup Load(const bf16* x, int64_t first, int64_t count) {
  LaneGroup group = {};
  if constexpr (kWide) {
    if (first < count) group = sm90::LoadChunk<kLaneGroup>(x + first);
  } else {
#pragma unroll
    for (int i = 0; i < kLaneGroup; ++i) {
      if (first + i < count) group.values[i] = FloatFromBf16(x[first + i]);
    }
  }
  return group;
}

__device__ __forceinline__ float AddSquares(const LaneGroup& group, float p) {
#pragma unroll
  for (int i = 0; i < kLaneGroup; ++i) p = __fmaf_rn(group.values[i], group.values[i], p);
  return p;
}

__device__ __forceinline__ float InverseRoot(float sum, const RmsNormArgs& args) {
  const float mean = __fdiv_rn(sum, static_cast<float>(args.group));
  return __frsqrt_rn(__fadd_rn(mean, args.eps));
}

// y[first, first + 8) from the same elements of x.
template <bool kWide>
__device__ __forceinline__ void Normalise(LaneGroup x, const LaneGroup& weight, float r,
                                          const RmsNormArgs& args, int64_t first, bf16* y) {
  if (first >= args.group) return;
#pragma unroll
  for (int i = 0; i < kLaneGroup; ++i) {
    x.values[i] = __fmul_rn(weight.values[i], sm90::RoundToBf16(__fmul_rn(x.values[i], r)));
  }
  if constexpr (kWide) {
    sm90::StoreChunk(y + first, x);
  } else {
#pragma unroll
    for (int i = 0; i < kLaneGroup; ++i) {
      if (first + i < args.group) y[first + i] = Bf16FromFloat(x.values[i]);
    }
  }
}

// The tree's steps over lanes + 128, + 64 and + 32, then those within a warp; every thread of the
// CTA gets the sum.
__device__ __forceinline__ float SumOfLanes(float p) {
  __shared__ float lanes[kLanes];
  lanes[threadIdx.x] = p;
  __syncthreads();
  float q[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int lane = static_cast<int>(threadIdx.x % sm90::kWarp) + i * sm90::kWarp;
    q[i] = __fadd_rn(lanes[lane], lanes[lane + kLanes / 2]);
  }
  return sm90::HalvingTree<sm90::kWarp>(__fadd_rn(__fadd_rn(q[0], q[2]), __fadd_rn(q[1], q[3])));
}

// A CTA for each group of columns: CTA = row * groups + group.
template <bool kWide>
__global__ void __launch_bounds__(kLanes) WideNormKernel(RmsNormArgs args, uint32_t groups) {
  const int64_t first = threadIdx.x * int64_t{kLaneGroup};
  const LaneGroup first_weight = Load<kWide>(args.weight, first, args.group);  // no kernel's output
  sm90::BeginOverlapped();
  const uint32_t row = blockIdx.x / groups;
  const int64_t offset = (blockIdx.x - row * groups) * args.group;
  const bf16* const x = args.x[row] + offset;
  bf16* const y = args.y[row] + offset;
  const LaneGroup first_group = Load<kWide>(x, first, args.group);
  float p = AddSquares(first_group, 0.0f);
  for (int64_t i = first + kRound; i < args.group; i += kRound) {
    p = AddSquares(Load<kWide>(x, i, args.group), p);
  }
  const float r = InverseRoot(SumOfLanes(p), args);
  Normalise<kWide>(first_group, first_weight, r, args, first, y);
  for (int64_t i = first + kRound; i < args.group; i += kRound) {
    const LaneGroup weight = Load<kWide>(args.weight, i, args.group);
    Normalise<kWide>(Load<kWide>(x, i, args.group), weight, r, args, i, y);
  }
}

// kHeadLanes threads for each group of at most 8 * kHeadLanes columns.
template <bool kWide, int kHeadLanes>
__global__ void __launch_bounds__(kLanes) HeadNormKernel(RmsNormArgs args, uint32_t groups) {
  const int64_t thread = blockIdx.x * int64_t{kLanes} + threadIdx.x;
  const int64_t first = thread % kHeadLanes * kLaneGroup;
  const LaneGroup weight = Load<kWide>(args.weight, first, args.group);  // no kernel's output
  sm90::BeginOverlapped();
  const int64_t index = thread / kHeadLanes;
  const bool exists = index < args.x.rows * groups;  // all lanes of a warp take part in shuffles
  const int64_t row = exists ? static_cast<uint32_t>(index) / groups : 0;
  const int64_t offset = exists ? (index - row * groups) * args.group : 0;
  const LaneGroup x = Load<kWide>(args.x[row] + offset, first, exists ? args.group : 0);
  const float sum = sm90::HalvingTree<kHeadLanes>(AddSquares(x, 0.0f));
  if (!exists) return;
  Normalise<kWide>(x, weight, InverseRoot(sum, args), args, first, args.y[row] + offset);
}

template <bool kWide, int kHeadLanes>
void RunHeads(const RmsNormArgs& args, uint32_t groups, const Stream& stream) {
  const int64_t threads = args.x.rows * groups * kHeadLanes;
  sm90::LaunchOverlapped(HeadNormKernel<kWide, kHeadLanes>,
                         static_cast<unsigned>((threads + kLanes - 1) / kLanes), kLanes, 0, stream,
                         args, groups);
}

template <bool kWide>
void Run(const RmsNormArgs& args, const Stream& stream) {
  const auto groups = static_cast<uint32_t>(args.x.cols / args.group);
  if (args.group <= 64) return RunHeads<kWide, 8>(args, groups, stream);
  if (args.group <= 128) return RunHeads<kWide, 16>(args, groups, stream);
  if (args.group <= 256) return RunHeads<kWide, 32>(args, groups, stream);
  sm90::LaunchOverlapped(WideNormKernel<kWide>, static_cast<unsigned>(args.x.rows * groups), kLanes,
                         0, stream, args, groups);
}

}  // namespace

void RmsNormSm90(const RmsNormArgs& args, Stream& stream) {
  VX_CHECK(args.group > 0 && args.x.cols % args.group == 0, "cols is a multiple of group");
  VX_CHECK(args.y.rows == args.x.rows && args.y.cols == args.x.cols, "y has the shape of x");
  VX_CHECK(args.x.rows * args.x.cols / args.group <= INT32_MAX, "groups in 31 bits");
  const bool wide = args.group % kLaneGroup == 0 && sm90::IsWide(args.x) &&
                    sm90::IsWide(args.weight) && sm90::IsWide(args.y);
  wide ? Run<true>(args, stream) : Run<false>(args, stream);
}

}  // namespace vexact
