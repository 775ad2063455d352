// Few rows of x: the time is that of reading the weights once. A block owns 16 outputs for all of
// K; one warp computes, another has the copy engine stream pieces of weight rows and of x into a
// ring. Weights are on the 16-row side of mma.sync, tokens on the 8-column side. Blocks of more
// outputs and rings that run on from tile to tile were slower (docs/performance.md).
//
// Rows in shared memory are 16 bytes longer than what they hold, so that the eight rows that
// ldmatrix reads together lie in different banks.
#include <algorithm>

#include "kernels/linear/linear_operands_sm90.cuh"
#include "kernels/linear/linear_schedules_sm90.h"
#include "kernels/sm90/async_copy.cuh"
#include "kernels/sm90/barrier.cuh"
#include "kernels/sm90/dependent_launch.cuh"
#include "kernels/sm90/mma.cuh"

namespace vexact {
namespace {

constexpr int kOuts = kLinearFewRowsOuts;
constexpr int kTokens = kLinearFewRows;
constexpr int kDepth = kLinearFewRowsDepth;  // of K in a stage
constexpr int kRowBytes = kDepth * 2 + 16;
constexpr int kStageBytes = (kOuts + kTokens) * kRowBytes;  // 33 KB
constexpr int kMostStages = 3;  // two blocks fit on an SM: the next kernel's first stages load
                                // while this one drains
constexpr int kThreads = 64;
// Steps of 16 whose operands are loaded together, ahead of the chain.
constexpr int kGroup = 8;
constexpr int kGroups = kDepth / 16 / kGroup;
static_assert(kOuts == 16 && kTokens == 16);

struct Ring {
  uint32_t stages;  // addresses in shared memory
  uint32_t full;    // barriers, 8 bytes a stage
  uint32_t free;
  int count;
};

extern __shared__ __align__(128) unsigned char ring_bytes[];

__device__ __forceinline__ void Produce(const sm90::LinearOperands& args, const Ring& ring,
                                        int64_t first_out) {
  const int lane = threadIdx.x % 32;
  const int chunks = static_cast<int>(args.x.cols / kDepth);
  const auto outs = static_cast<int>(min(args.w.rows - first_out, int64_t{kOuts}));
  const auto tokens = static_cast<int>(args.x.rows);
  constexpr uint32_t kBytes = kDepth * 2;
  const auto copy_weights = [&](int chunk) {
    const int stage = chunk % ring.count;
    const uint32_t barrier = ring.full + 8 * stage;
    if (lane == 0) sm90::ArriveExpectBytes(barrier, (outs + tokens) * kBytes);
    __syncwarp();
    for (int row = lane; row < outs; row += 32) {
      sm90::CopyBulk(ring.stages + stage * kStageBytes + row * kRowBytes,
                     args.w[first_out + row] + int64_t{chunk} * kDepth, kBytes, barrier);
    }
  };
  const auto copy_x = [&](int chunk) {
    const int stage = chunk % ring.count;
    for (int row = lane; row < tokens; row += 32) {
      sm90::CopyBulk(ring.stages + stage * kStageBytes + (kOuts + row) * kRowBytes,
                     args.x[row] + int64_t{chunk} * kDepth, kBytes, ring.full + 8 * stage);
    }
  };
  for (int chunk = 0; chunk < ring.count; ++chunk) copy_weights(chunk);
  sm90::WaitForEarlier();  // x may still be being written
  for (int chunk = 0; chunk < ring.count; ++chunk) copy_x(chunk);
  for (int chunk = ring.count; chunk < chunks; ++chunk) {
    sm90::WaitBarrier(ring.free + 8 * (chunk % ring.count), (chunk / ring.count - 1) & 1);
    copy_weights(chunk);
    copy_x(chunk);
  }
}

// Operands of kGroup steps.
struct Fragments {
  uint32_t w[kGroup][4];
  uint32_t x[kGroup][4];

  // Lane addresses in the stage's part of the warp and in x.
  __device__ __forceinline__ void Load(uint32_t w_lane, uint32_t x_lane, int group) {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      const uint32_t column = (group * kGroup + i) * 32;
      sm90::LoadMatrices(w[i], w_lane + column);
      sm90::LoadMatrices(x[i], x_lane + column);
    }
  }

  __device__ __forceinline__ void AddTo(float (&sums)[kTokens / 8][4]) const {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
#pragma unroll
      for (int t = 0; t < kTokens / 8; ++t) {
        const uint32_t columns[2] = {x[i][2 * t], x[i][2 * t + 1]};
        sm90::MmaStep(sums[t], w[i], columns);
      }
    }
  }
};

__device__ __forceinline__ void Consume(const sm90::LinearOperands& args, const Ring& ring,
                                        int64_t first_out) {
  const int lane = threadIdx.x % 32;
  const int chunks = static_cast<int>(args.x.cols / kDepth);
  const uint32_t w_offset = lane % 16 * kRowBytes + lane / 16 * 16;
  const uint32_t x_offset = (lane % 8 + lane / 16 * 8) * kRowBytes + lane / 8 % 2 * 16;
  float sums[kTokens / 8][4] = {};
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const int stage = chunk % ring.count;
    sm90::WaitBarrier(ring.full + 8 * stage, chunk / ring.count & 1);
    const uint32_t base = ring.stages + stage * kStageBytes;
    const uint32_t w_lane = base + w_offset;
    const uint32_t x_lane = base + kOuts * kRowBytes + x_offset;
    Fragments fragments[2];
    fragments[0].Load(w_lane, x_lane, 0);
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if (group + 1 < kGroups) fragments[(group + 1) % 2].Load(w_lane, x_lane, group + 1);
      fragments[group % 2].AddTo(sums);
    }
    __syncwarp();
    if (lane == 0) sm90::Arrive(ring.free + 8 * stage);
  }
  const int64_t o = first_out + lane / 4;
#pragma unroll
  for (int t = 0; t < kTokens / 8; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sm90::StoreOne(args, 8 * t + lane % 4 * 2 + i % 2, o + i / 2 * 8, sums[t][i]);
    }
  }
}

// The second warp produces.
__global__ void __launch_bounds__(kThreads)
    LinearFewRowsKernel(__grid_constant__ const sm90::LinearOperands args, int stages) {
  __shared__ uint64_t barriers[2 * kMostStages];
  const Ring ring = {sm90::SharedAddress(ring_bytes), sm90::SharedAddress(barriers),
                     sm90::SharedAddress(barriers + kMostStages), stages};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < stages; ++stage) {
      sm90::InitBarrier(ring.full + 8 * stage, 1);
      sm90::InitBarrier(ring.free + 8 * stage, 1);
    }
    sm90::FenceBarrierInit();
  }
  __syncthreads();
  sm90::AllowLater();
  const int64_t first_out = blockIdx.x * int64_t{kOuts};
  if (threadIdx.x / 32 == 1) {
    Produce(args, ring, first_out);
  } else {
    Consume(args, ring, first_out);
  }
}

}  // namespace

void LinearFewRowsSm90(const LinearArgs& args, Stream& stream) {
  if (args.x.rows > kTokens || !sm90::HasAlignedRows(args.x)) return LinearChainSm90(args, stream);
  const sm90::LinearOperands operands = sm90::MakeLinearOperands(args);
  const auto stages = static_cast<int>(std::min<int64_t>(args.x.cols / kDepth, kMostStages));
  const int shared_bytes = stages * kStageBytes;
  sm90::AllowSharedBytes(LinearFewRowsKernel, shared_bytes);
  sm90::LaunchDependent(LinearFewRowsKernel,
                        static_cast<unsigned>((operands.w.rows + kOuts - 1) / kOuts), kThreads,
                        shared_bytes, stream, operands, stages);
}

}  // namespace vexact
