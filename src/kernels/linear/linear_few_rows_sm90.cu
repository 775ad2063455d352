// Few rows of x: the time is that of reading the weights once. A block owns 16 outputs a warp for
// all of K; one more warp has the copy engine stream pieces of weight rows and of x into a ring.
// Weights are on the 16-row side of mma.sync, tokens on the 8-column side.
//
// Rows in shared memory are 16 bytes longer than what they hold, so that the eight rows that
// ldmatrix reads together lie in different banks.
#include "kernels/linear/linear_operands_sm90.cuh"
#include "kernels/linear/linear_schedules_sm90.h"
#include "kernels/sm90/async_copy.cuh"
#include "kernels/sm90/barrier.cuh"
#include "kernels/sm90/dependent_launch.cuh"
#include "kernels/sm90/mma.cuh"

namespace vexact {
namespace {

constexpr int kMostStages = 16;
// Two blocks fit on an SM, so that the next kernel's first stages load while this one drains.
constexpr int kRingBytes = 108 * 1024;

template <int kWarpCount, int kTokenCount>
struct TileShape {
  static constexpr int kWarps = kWarpCount;  // that compute, 16 outputs each
  static constexpr int kTokens = kTokenCount;
  static constexpr int kOuts = 16 * kWarps;
  // Of K in a stage: 33 KB or less where there are few rows, else two stages fit.
  static constexpr int kDepth = kOuts + kTokens <= 32 ? 512 : kOuts + kTokens <= 64 ? 256 : 128;
  static constexpr int kRowBytes = kDepth * 2 + 16;
  static constexpr int kStageBytes = (kOuts + kTokens) * kRowBytes;
  static constexpr int kThreads = (kWarps + 1) * 32;
  // Steps of 16 whose operands are loaded together, ahead of the chain.
  static constexpr int kGroup = kTokens == 16 ? 8 : kTokens == 32 ? 4 : 2;
  static constexpr int kGroups = kDepth / 16 / kGroup;
  static_assert(2 * kStageBytes <= kRingBytes);

  static int Stages(int64_t in) {
    const int64_t chunks = in / kDepth;
    const int64_t fit = kRingBytes / kStageBytes;
    const int64_t stages = chunks < fit ? chunks : fit;
    return static_cast<int>(stages < kMostStages ? stages : kMostStages);
  }
};

struct Ring {
  uint32_t stages;  // addresses in shared memory
  uint32_t full;    // barriers, 8 bytes a stage
  uint32_t free;
  int count;
};

extern __shared__ __align__(128) unsigned char ring_bytes[];

template <typename Tile>
__device__ __forceinline__ void Produce(const sm90::LinearOperands& args, const Ring& ring,
                                        int64_t first_out) {
  const int lane = threadIdx.x % 32;
  const int chunks = static_cast<int>(args.x.cols / Tile::kDepth);
  const auto outs = static_cast<int>(min(args.w.rows - first_out, int64_t{Tile::kOuts}));
  const auto tokens = static_cast<int>(args.x.rows);
  constexpr uint32_t kBytes = Tile::kDepth * 2;
  const auto copy_weights = [&](int chunk) {
    const int stage = chunk % ring.count;
    const uint32_t barrier = ring.full + 8 * stage;
    if (lane == 0) sm90::ArriveExpectBytes(barrier, (outs + tokens) * kBytes);
    __syncwarp();
    for (int row = lane; row < outs; row += 32) {
      sm90::CopyBulk(ring.stages + stage * Tile::kStageBytes + row * Tile::kRowBytes,
                     args.w[first_out + row] + int64_t{chunk} * Tile::kDepth, kBytes, barrier);
    }
  };
  const auto copy_x = [&](int chunk) {
    const int stage = chunk % ring.count;
    for (int row = lane; row < tokens; row += 32) {
      sm90::CopyBulk(
          ring.stages + stage * Tile::kStageBytes + (Tile::kOuts + row) * Tile::kRowBytes,
          args.x[row] + int64_t{chunk} * Tile::kDepth, kBytes, ring.full + 8 * stage);
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
template <typename Tile>
struct Fragments {
  uint32_t w[Tile::kGroup][4];
  uint32_t x[Tile::kGroup][Tile::kTokens / 16][4];

  // Lane addresses in the stage's part of the warp and in x.
  __device__ __forceinline__ void Load(uint32_t w_lane, uint32_t x_lane, int group) {
#pragma unroll
    for (int i = 0; i < Tile::kGroup; ++i) {
      const uint32_t column = (group * Tile::kGroup + i) * 32;
      sm90::LoadMatrices(w[i], w_lane + column);
#pragma unroll
      for (int t = 0; t < Tile::kTokens / 16; ++t) {
        sm90::LoadMatrices(x[i][t], x_lane + 16 * t * Tile::kRowBytes + column);
      }
    }
  }

  __device__ __forceinline__ void AddTo(float (&sums)[Tile::kTokens / 8][4]) const {
#pragma unroll
    for (int i = 0; i < Tile::kGroup; ++i) {
#pragma unroll
      for (int t = 0; t < Tile::kTokens / 8; ++t) {
        const uint32_t columns[2] = {x[i][t / 2][t % 2 * 2], x[i][t / 2][t % 2 * 2 + 1]};
        sm90::MmaStep(sums[t], w[i], columns);
      }
    }
  }
};

template <typename Tile>
__device__ __forceinline__ void Consume(const sm90::LinearOperands& args, const Ring& ring,
                                        int64_t first_out) {
  const int lane = threadIdx.x % 32;
  const int chunks = static_cast<int>(args.x.cols / Tile::kDepth);
  const uint32_t w_offset = lane % 16 * Tile::kRowBytes + lane / 16 * 16;
  const uint32_t x_offset = (lane % 8 + lane / 16 * 8) * Tile::kRowBytes + lane / 8 % 2 * 16;
  float sums[Tile::kTokens / 8][4] = {};
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const int stage = chunk % ring.count;
    sm90::WaitBarrier(ring.full + 8 * stage, chunk / ring.count & 1);
    const uint32_t base = ring.stages + stage * Tile::kStageBytes;
    const uint32_t w_lane = base + threadIdx.x / 32 * 16 * Tile::kRowBytes + w_offset;
    const uint32_t x_lane = base + Tile::kOuts * Tile::kRowBytes + x_offset;
    Fragments<Tile> fragments[2];
    fragments[0].Load(w_lane, x_lane, 0);
#pragma unroll
    for (int group = 0; group < Tile::kGroups; ++group) {
      if (group + 1 < Tile::kGroups) fragments[(group + 1) % 2].Load(w_lane, x_lane, group + 1);
      fragments[group % 2].AddTo(sums);
    }
    __syncwarp();
    if (lane == 0) sm90::Arrive(ring.free + 8 * stage);
  }
  const int64_t o = first_out + threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
  for (int t = 0; t < Tile::kTokens / 8; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sm90::StoreOne(args, 8 * t + lane % 4 * 2 + i % 2, o + i / 2 * 8, sums[t][i]);
    }
  }
}

// The last warp produces.
template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads)
    LinearFewRowsKernel(__grid_constant__ const sm90::LinearOperands args, int stages) {
  __shared__ uint64_t barriers[2 * kMostStages];
  const Ring ring = {sm90::SharedAddress(ring_bytes), sm90::SharedAddress(barriers),
                     sm90::SharedAddress(barriers + kMostStages), stages};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < stages; ++stage) {
      sm90::InitBarrier(ring.full + 8 * stage, 1);
      sm90::InitBarrier(ring.free + 8 * stage, Tile::kWarps);
    }
    sm90::FenceBarrierInit();
  }
  __syncthreads();
  sm90::AllowLater();
  const int64_t first_out = blockIdx.x * int64_t{Tile::kOuts};
  if (threadIdx.x / 32 == Tile::kWarps) {
    Produce<Tile>(args, ring, first_out);
  } else {
    Consume<Tile>(args, ring, first_out);
  }
}

template <typename Tile>
void LaunchFewRows(const sm90::LinearOperands& args, const Stream& stream) {
  const int stages = Tile::Stages(args.x.cols);
  const auto kernel = LinearFewRowsKernel<Tile>;
  const int shared_bytes = stages * Tile::kStageBytes;
  sm90::AllowSharedBytes(kernel, shared_bytes);
  sm90::LaunchDependent(kernel,
                        static_cast<unsigned>((args.w.rows + Tile::kOuts - 1) / Tile::kOuts),
                        Tile::kThreads, shared_bytes, stream, args, stages);
}

template <int kWarps>
void LinearFewRows(const LinearArgs& args, Stream& stream) {
  const sm90::LinearOperands operands = sm90::MakeLinearOperands(args);
  if (args.x.rows > kLinearFewRows || !sm90::HasAlignedRows(args.x)) {
    LinearChainSm90(args, stream);
  } else if (args.x.rows <= 16) {
    LaunchFewRows<TileShape<kWarps, 16>>(operands, stream);
  } else if (args.x.rows <= 32) {
    LaunchFewRows<TileShape<kWarps, 32>>(operands, stream);
  } else {
    LaunchFewRows<TileShape<kWarps, 64>>(operands, stream);
  }
}

constexpr LinearKernelSm90 kKernels[] = {
    {"few rows, 16 outputs a block", 16, LinearFewRows<1>},
    {"few rows, 32 outputs a block", 32, LinearFewRows<2>},
    {"few rows, 64 outputs a block", 64, LinearFewRows<4>},
    {"few rows, 96 outputs a block", 96, LinearFewRows<6>},
    {"few rows, 128 outputs a block", 128, LinearFewRows<8>},
};

}  // namespace

std::span<const LinearKernelSm90> LinearFewRowsKernelsSm90() { return kKernels; }

}  // namespace vexact
