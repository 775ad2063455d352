#include "base/check.h"
#include "kernels/rope/rope.h"
#include "kernels/sm90/chunks.cuh"
#include "kernels/sm90/overlapped_launch.cuh"

namespace vexact {
namespace {

// What bf16 rounds to the rotated value.
__device__ __forceinline__ float Rotate(float x, float rotated, float cos, float sin) {
  return __fadd_rn(sm90::RoundToBf16(__fmul_rn(x, cos)),
                   sm90::RoundToBf16(__fmul_rn(rotated, sin)));
}

// A thread rotates kWidth values of a head's first half with their partners of the second.
template <int kWidth>
__global__ void RopeKernel(RopeArgs args) {
  sm90::BeginOverlapped();
  const int64_t half = args.table.half;
  const int64_t head_chunks = half / kWidth;
  sm90::ForEachChunk(args.x.rows, args.x.cols / (2 * kWidth), [&](int64_t t, int64_t chunk) {
    const int64_t head = static_cast<uint32_t>(chunk) / static_cast<uint32_t>(head_chunks);
    const int64_t i = (chunk - head * head_chunks) * kWidth;
    bf16* const x = args.x[t] + head * args.head_dim + i;
    const int64_t angle = args.positions[t] * half + i;
    auto first = sm90::LoadChunk<kWidth>(x);
    auto second = sm90::LoadChunk<kWidth>(x + half);
    const auto cos = sm90::LoadChunk<kWidth>(args.table.cos + angle);
    const auto sin = sm90::LoadChunk<kWidth>(args.table.sin + angle);
#pragma unroll
    for (int n = 0; n < kWidth; ++n) {  // rotate_half: (first, second) -> (-second, first)
      const float a = first.values[n];
      const float b = second.values[n];
      first.values[n] = Rotate(a, -b, cos.values[n], sin.values[n]);
      second.values[n] = Rotate(b, a, cos.values[n], sin.values[n]);
    }
    sm90::StoreChunk(x, first);
    sm90::StoreChunk(x + half, second);
  });
}

template <int kWidth>
void Run(const RopeArgs& args, const Stream& stream) {
  const auto [grid, threads] = sm90::GridOfChunks(args.x.rows, args.x.cols / (2 * kWidth));
  sm90::LaunchOverlapped(RopeKernel<kWidth>, grid, threads, 0, stream, args);
}

}  // namespace

void RopeSm90(const RopeArgs& args, Stream& stream) {
  const RopeView& table = args.table;
  VX_CHECK(args.head_dim == 2 * table.half && args.x.cols % args.head_dim == 0, "x.cols, head_dim");
  const bool wide = table.half % sm90::kWideChunk == 0 && sm90::IsWide(args.x) &&
                    sm90::IsWide(table.cos) && sm90::IsWide(table.sin);
  wide ? Run<sm90::kWideChunk>(args, stream) : Run<1>(args, stream);
}

}  // namespace vexact
