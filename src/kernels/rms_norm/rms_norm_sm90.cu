// A CTA for each group of columns. (The norms of q and k heads are part of norm_rope_write; here a
// small group has a CTA of its own too, most of whose lanes add zeros.)
#include "base/check.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rms_norm/rms_norm_sm90.cuh"
#include "kernels/sm90/overlapped_launch.cuh"

namespace vexact {
namespace {

// CTA = row * groups + group.
template <bool kWide>
__global__ void __launch_bounds__(sm90::kNormLanes)
    RmsNormKernel(RmsNormArgs args, uint32_t groups) {
  const int64_t first = threadIdx.x * int64_t{sm90::kLaneGroup};
  const int64_t count = args.group;
  const auto first_weight = sm90::LoadLaneGroup<kWide>(args.weight, first, count);
  sm90::BeginOverlapped();
  const uint32_t row = blockIdx.x / groups;
  const int64_t offset = (blockIdx.x - row * groups) * count;
  const bf16* const x = args.x[row] + offset;
  bf16* const y = args.y[row] + offset;
  const auto first_group = sm90::LoadLaneGroup<kWide>(x, first, count);
  float p = sm90::AddSquares(first_group, 0.0f);
  for (int64_t i = first + sm90::kNormRound; i < count; i += sm90::kNormRound) {
    p = sm90::AddSquares(sm90::LoadLaneGroup<kWide>(x, i, count), p);
  }
  const float r = sm90::InverseRoot(sm90::SumOfNormLanes(p), count, args.eps);
  sm90::StoreLaneGroup<kWide>(y, first, count, sm90::Normalised(first_group, first_weight, r));
  for (int64_t i = first + sm90::kNormRound; i < count; i += sm90::kNormRound) {
    const auto weight = sm90::LoadLaneGroup<kWide>(args.weight, i, count);
    const auto group = sm90::LoadLaneGroup<kWide>(x, i, count);
    sm90::StoreLaneGroup<kWide>(y, i, count, sm90::Normalised(group, weight, r));
  }
}

}  // namespace

void RmsNormSm90(const RmsNormArgs& args, Stream& stream) {
  CheckShapes(args);
  const int64_t groups = args.x.cols / args.group;
  VX_CHECK(args.x.rows * groups <= INT32_MAX, "groups in 31 bits");
  const bool wide = args.group % sm90::kLaneGroup == 0 && sm90::IsWide(args.x) &&
                    sm90::IsWide(args.weight) && sm90::IsWide(args.y);
  sm90::LaunchOverlapped(wide ? RmsNormKernel<true> : RmsNormKernel<false>,
                         static_cast<unsigned>(args.x.rows * groups), sm90::kNormLanes, 0, stream,
                         args, static_cast<uint32_t>(groups));
}

}  // namespace vexact
