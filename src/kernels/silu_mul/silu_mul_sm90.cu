#include "kernels/silu_mul/silu_mul.h"
#include "kernels/sm90/chunks.cuh"
#include "kernels/sm90/overlapped_launch.cuh"
#include "numerics/constants.h"

namespace vexact {
namespace {

__device__ __forceinline__ float SiluMul(float gate, float up) {
  const float power = sm90::Ex2(__fmul_rn(-gate, kLog2E));
  const float silu = __fdiv_rn(gate, __fadd_rn(1.0f, power));
  return __fmul_rn(sm90::RoundToBf16(silu), up);
}

template <int kWidth>
__global__ void SiluMulKernel(SiluMulArgs args) {
  sm90::BeginOverlapped();
  sm90::ForEachChunk(args.y.rows, args.y.cols / kWidth, [&](int64_t t, int64_t chunk) {
    auto gate = sm90::LoadChunk<kWidth>(args.gate[t] + chunk * kWidth);
    const auto up = sm90::LoadChunk<kWidth>(args.up[t] + chunk * kWidth);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) gate.values[i] = SiluMul(gate.values[i], up.values[i]);
    sm90::StoreChunk(args.y[t] + chunk * kWidth, gate);
  });
}

template <int kWidth>
void Run(const SiluMulArgs& args, const Stream& stream) {
  const auto [grid, threads] = sm90::GridOfChunks(args.y.rows, args.y.cols / kWidth);
  sm90::LaunchOverlapped(SiluMulKernel<kWidth>, grid, threads, 0, stream, args);
}

}  // namespace

void SiluMulSm90(const SiluMulArgs& args, Stream& stream) {
  CheckShapes(args);
  const bool wide = args.y.cols % sm90::kWideChunk == 0 && sm90::IsWide(args.gate) &&
                    sm90::IsWide(args.up) && sm90::IsWide(args.y);
  wide ? Run<sm90::kWideChunk>(args, stream) : Run<1>(args, stream);
}

}  // namespace vexact
