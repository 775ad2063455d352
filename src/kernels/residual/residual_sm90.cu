#include "base/check.h"
#include "kernels/residual/residual.h"
#include "kernels/sm90/chunks.cuh"
#include "kernels/sm90/overlapped_launch.cuh"

namespace vexact {
namespace {

template <int kWidth>
__global__ void ResidualKernel(ResidualArgs args) {
  sm90::BeginOverlapped();
  sm90::ForEachChunk(args.y.rows, args.y.cols / kWidth, [&](int64_t t, int64_t chunk) {
    auto a = sm90::LoadChunk<kWidth>(args.a[t] + chunk * kWidth);
    const auto b = sm90::LoadChunk<kWidth>(args.b[t] + chunk * kWidth);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) a.values[i] = __fadd_rn(a.values[i], b.values[i]);
    sm90::StoreChunk(args.y[t] + chunk * kWidth, a);
  });
}

template <int kWidth>
void Run(const ResidualArgs& args, const Stream& stream) {
  const auto [grid, threads] = sm90::GridOfChunks(args.y.rows, args.y.cols / kWidth);
  sm90::LaunchOverlapped(ResidualKernel<kWidth>, grid, threads, 0, stream, args);
}

}  // namespace

void ResidualSm90(const ResidualArgs& args, Stream& stream) {
  VX_CHECK(args.b.rows == args.a.rows && args.b.cols == args.a.cols, "b like a");
  VX_CHECK(args.y.rows == args.a.rows && args.y.cols == args.a.cols, "y like a");
  const bool wide = args.y.cols % sm90::kWideChunk == 0 && sm90::IsWide(args.a) &&
                    sm90::IsWide(args.b) && sm90::IsWide(args.y);
  wide ? Run<sm90::kWideChunk>(args, stream) : Run<1>(args, stream);
}

}  // namespace vexact
