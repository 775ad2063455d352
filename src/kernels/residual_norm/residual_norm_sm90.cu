// A CTA for each row. Every thread reads, sums, writes and normalises the same elements, so that
// normed may be branch or hidden.
#include "kernels/residual_norm/residual_norm.h"
#include "kernels/rms_norm/rms_norm_sm90.cuh"
#include "kernels/sm90/overlapped_launch.cuh"

namespace vexact {
namespace {

// hidden + branch as hidden holds it.
template <bool kWide>
__device__ __forceinline__ sm90::LaneGroup AddBranch(const ResidualNormArgs& args, int64_t row,
                                                     int64_t first) {
  const int64_t count = args.hidden.cols;
  auto sum = sm90::LoadLaneGroup<kWide>(args.hidden[row], first, count);
  const auto branch = sm90::LoadLaneGroup<kWide>(args.branch[row], first, count);
#pragma unroll
  for (int i = 0; i < sm90::kLaneGroup; ++i) {
    sum.values[i] = sm90::RoundToBf16(__fadd_rn(sum.values[i], branch.values[i]));
  }
  sm90::StoreLaneGroup<kWide>(args.hidden[row], first, count, sum);
  return sum;
}

template <bool kWide>
__global__ void __launch_bounds__(sm90::kNormLanes) ResidualNormKernel(ResidualNormArgs args) {
  const int64_t first = threadIdx.x * int64_t{sm90::kLaneGroup};
  const int64_t count = args.hidden.cols;
  const auto first_weight = sm90::LoadLaneGroup<kWide>(args.weight, first, count);
  sm90::BeginOverlapped();
  const int64_t row = blockIdx.x;
  const auto first_group = AddBranch<kWide>(args, row, first);
  float p = sm90::AddSquares(first_group, 0.0f);
  for (int64_t i = first + sm90::kNormRound; i < count; i += sm90::kNormRound) {
    p = sm90::AddSquares(AddBranch<kWide>(args, row, i), p);
  }
  const float r = sm90::InverseRoot(sm90::SumOfNormLanes(p), count, args.eps);
  bf16* const normed = args.normed[row];
  sm90::StoreLaneGroup<kWide>(normed, first, count, sm90::Normalised(first_group, first_weight, r));
  for (int64_t i = first + sm90::kNormRound; i < count; i += sm90::kNormRound) {
    const auto weight = sm90::LoadLaneGroup<kWide>(args.weight, i, count);
    const auto group = sm90::LoadLaneGroup<kWide>(args.hidden[row], i, count);
    sm90::StoreLaneGroup<kWide>(normed, i, count, sm90::Normalised(group, weight, r));
  }
}

}  // namespace

void ResidualNormSm90(const ResidualNormArgs& args, Stream& stream) {
  CheckShapes(args);
  const Rows<bf16>& hidden = args.hidden;
  const bool wide = hidden.cols % sm90::kLaneGroup == 0 && sm90::IsWide(hidden) &&
                    sm90::IsWide(args.branch) && sm90::IsWide(args.weight) &&
                    sm90::IsWide(args.normed);
  sm90::LaunchOverlapped(wide ? ResidualNormKernel<true> : ResidualNormKernel<false>,
                         static_cast<unsigned>(hidden.rows), sm90::kNormLanes, 0, stream, args);
}

}  // namespace vexact
