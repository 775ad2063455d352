// Tiles of the output, for steps whose time is that of reading the weights, or of bringing weights
// and x to where they are multiplied. A block owns 64 to 192 outputs of 8 to 128 tokens for all of
// K. One thread has the copy engine stream boxes of weights and of x into a ring; warpgroups of 64
// outputs each multiply them with wgmma, weights on its 64-row side and tokens on the other, so
// that few tokens leave little of it idle. The first boxes of weights are on their way before the
// kernel ahead has finished: that is what a library's kernel does not do (docs/performance.md).
#include <array>

#include "kernels/linear/linear_operands_sm90.cuh"
#include "kernels/linear/linear_schedules_sm90.h"
#include "kernels/sm90/async_copy.cuh"
#include "kernels/sm90/barrier.cuh"
#include "kernels/sm90/dependent_launch.cuh"
#include "kernels/sm90/mma.cuh"
#include "kernels/sm90/tensor_map.cuh"
#include "kernels/sm90/wgmma.cuh"

namespace vexact {
namespace {

constexpr int kGroupThreads = 128;           // a warpgroup
constexpr int kGroupOuts = 64;               // its outputs
constexpr int kColumns = kLinearTilesDepth;  // of a swizzled row
constexpr int kRowBytes = kColumns * 2;
constexpr int kGroupStride = 8 * kRowBytes;  // bytes between groups of 8 rows (WgmmaOperand)
static_assert(kRowBytes == 128);

template <int kOutsOfTile, int kTokensOfTile>
struct Tile {
  static constexpr int kOuts = kOutsOfTile;
  static constexpr int kTokens = kTokensOfTile;
  static constexpr int kGroups = kOuts / kGroupOuts;
  static constexpr int kConsumers = kGroups * kGroupThreads;
  static constexpr int kThreads = kConsumers + 32;  // the producer's warp behind
  // Of a stage, kColumns each: small stages would be too many arrivals.
  static constexpr int kParts = kOuts + kTokens <= 128 ? 2 : 1;
  static constexpr uint32_t kWeightBytes = kOuts * kRowBytes;  // of a part
  static constexpr uint32_t kXBytes = kTokens * kRowBytes;

  // Each part is [rows][kColumns].
  struct Stage {
    unsigned char weights[kParts * kWeightBytes];
    unsigned char x[kParts * kXBytes];
  };
};

template <typename Tile, int kStages>
struct Ring {
  alignas(1024) typename Tile::Stage stages[kStages];
  uint64_t full[kStages];
  uint64_t empty[kStages];
};

struct TileParameters {
  CUtensorMap weights;  // boxes of a tile's outputs and a stage's columns
  CUtensorMap x;        // boxes of a tile's tokens; what lies beyond x is 0
  sm90::LinearOperands operands;
  int32_t steps;  // stages' worth of K
};

template <typename Tile, int kStages>
__device__ __forceinline__ void Produce(const TileParameters& p, Ring<Tile, kStages>* ring) {
  const auto first_token = static_cast<int32_t>(blockIdx.x) * Tile::kTokens;
  const auto first_out = static_cast<int32_t>(blockIdx.y) * Tile::kOuts;
  const auto copy_weights = [&](int stage, int step) {
    const uint32_t full = sm90::SharedAddress(&ring->full[stage]);
    sm90::ArriveExpectBytes(full, sizeof(typename Tile::Stage));
    sm90::CopyBox(sm90::SharedAddress(ring->stages[stage].weights), &p.weights, first_out,
                  step * Tile::kParts, 0, full);
  };
  const auto copy_x = [&](int stage, int step) {
    sm90::CopyBox(sm90::SharedAddress(ring->stages[stage].x), &p.x, first_token,
                  step * Tile::kParts, 0, sm90::SharedAddress(&ring->full[stage]));
  };
  const int ahead = min(p.steps, kStages);
  for (int step = 0; step < ahead; ++step) copy_weights(step, step);
  sm90::WaitForEarlier();  // x may still be being written
  for (int step = 0; step < ahead; ++step) copy_x(step, step);
  sm90::RingPlace<kStages> place;
  for (int step = kStages; step < p.steps; ++step) {
    sm90::WaitBarrier(sm90::SharedAddress(&ring->empty[place.stage]), place.round);
    copy_weights(place.stage, step);
    copy_x(place.stage, step);
    place.Advance();
  }
}

// A warp's 16 outputs from `o` on, of the tokens from `t` on.
template <int kFragments>
__device__ __forceinline__ void Store(const sm90::LinearOperands& operands, int64_t t, int64_t o,
                                      const float (&sums)[kFragments][4]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (operands.y_fp32.data != nullptr) {  // 8 lanes write 32 bytes of a token
#pragma unroll
    for (int j = 0; j < kFragments; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        sm90::StoreOne(operands, t + 8 * j + lane % 4 * 2 + e % 2, o + lane / 4 + e / 2 * 8,
                       sums[j][e]);
      }
    }
    return;
  }
  // A lane's words are an output of two tokens; turned, they are two outputs of a token, as memory
  // has them. All before the first store: lanes without one would part from the others.
  const bool has_bias = operands.bias != nullptr;
  const float bias[2] = {sm90::BiasOf(operands, o + lane / 4),
                         sm90::BiasOf(operands, o + lane / 4 + 8)};
  uint32_t words[kFragments][2];
#pragma unroll
  for (int j = 0; j < kFragments; ++j) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float first = sums[j][2 * half];
      float second = sums[j][2 * half + 1];
      if (has_bias) first = __fadd_rn(first, bias[half]);
      if (has_bias) second = __fadd_rn(second, bias[half]);
      words[j][half] = sm90::TransposeMatrix(sm90::PackBf16(first, second));
    }
  }
#pragma unroll
  for (int j = 0; j < kFragments; ++j) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      sm90::StoreWord(operands, t + 8 * j + lane / 4, o + 8 * half + lane % 4 * 2, words[j][half]);
    }
  }
}

// kGroup is a constant because an operand whose address depends on the thread passes through vector
// registers before each step (`down` at 8 rows took 12.6 us then, and takes 10.3).
template <int kGroup, typename Tile, int kStages>
__device__ __forceinline__ void Consume(const TileParameters& p, Ring<Tile, kStages>* ring) {
  constexpr uint32_t kGroupBytes = kGroup * kGroupOuts * kRowBytes;
  const int lane = static_cast<int>(threadIdx.x % 32);
  float sums[Tile::kTokens / 8][4] = {};
  sm90::HoldRegisters(sums);
  sm90::RingPlace<kStages> place;
  uint32_t before = 0;  // the barrier that gives back the stage before
  for (int step = 0; step < p.steps; ++step) {
    sm90::WaitBarrier(sm90::SharedAddress(&ring->full[place.stage]), place.round);
    const sm90::WgmmaOperands weights(
        sm90::SharedAddress(ring->stages[place.stage].weights) + kGroupBytes, 0, kGroupStride);
    const sm90::WgmmaOperands x(sm90::SharedAddress(ring->stages[place.stage].x), 0, kGroupStride);
    sm90::WgmmaFence();
#pragma unroll
    for (int part = 0; part < Tile::kParts; ++part) {
#pragma unroll
      for (int k = 0; k < kColumns; k += 16) {
        sm90::WgmmaStep(sums, weights.At(part * Tile::kWeightBytes + 2 * k),
                        x.At(part * Tile::kXBytes + 2 * k));
      }
    }
    sm90::WgmmaCommit();
    sm90::WgmmaWait<1>();  // the stage before has been read
    if (step > 0 && lane == 0) sm90::Arrive(before);
    before = sm90::SharedAddress(&ring->empty[place.stage]);
    place.Advance();
  }
  sm90::WgmmaWait<0>();
  sm90::HoldRegisters(sums);
  Store(p.operands, int64_t{blockIdx.x} * Tile::kTokens,
        int64_t{blockIdx.y} * Tile::kOuts + threadIdx.x / 32 * 16, sums);
}

template <typename Tile, int kStages>
__global__ void __launch_bounds__(Tile::kThreads)
    LinearTilesKernel(const __grid_constant__ TileParameters p) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  auto* ring = reinterpret_cast<Ring<Tile, kStages>*>(bytes);
  if (threadIdx.x == Tile::kConsumers) {
    for (int stage = 0; stage < kStages; ++stage) {
      sm90::InitBarrier(sm90::SharedAddress(&ring->full[stage]), 1);
      sm90::InitBarrier(sm90::SharedAddress(&ring->empty[stage]), Tile::kConsumers / 32);
    }
    sm90::FenceBarrierInit();
  }
  __syncthreads();
  sm90::AllowLater();
  if (threadIdx.x < kGroupThreads) {
    Consume<0>(p, ring);
  } else if (Tile::kGroups > 1 && threadIdx.x < 2 * kGroupThreads) {
    Consume<1>(p, ring);
  } else if (Tile::kGroups > 2 && threadIdx.x < 3 * kGroupThreads) {
    Consume<2>(p, ring);
  } else if (threadIdx.x == Tile::kConsumers) {
    Produce(p, ring);
  }
}

CUtensorMap MapOfRows(const Rows<const bf16>& rows, int box_rows, int parts) {
  const auto row_bytes = static_cast<uint64_t>(rows.stride) * sizeof(bf16);
  const auto num_rows = static_cast<uint64_t>(rows.rows);
  return sm90::MakeTensorMap(
      {.data = const_cast<bf16*>(rows.data),
       .dims = {kColumns, num_rows, static_cast<uint64_t>(rows.cols / kColumns), 1},
       .stride_bytes = {row_bytes, kRowBytes, row_bytes * num_rows},
       .box = {kColumns, static_cast<uint32_t>(box_rows), static_cast<uint32_t>(parts), 1}});
}

template <typename Tile, int kStages>
void RunWith(const sm90::LinearOperands& operands, dim3 grid, Stream& stream) {
  constexpr int kStageColumns = Tile::kParts * kColumns;
  const TileParameters p = {
      MapOfRows(operands.w, Tile::kOuts, Tile::kParts),
      MapOfRows(operands.x, Tile::kTokens, Tile::kParts), operands,
      static_cast<int32_t>((operands.x.cols + kStageColumns - 1) / kStageColumns)};
  const auto kernel = LinearTilesKernel<Tile, kStages>;
  constexpr size_t kBytes = sizeof(Ring<Tile, kStages>);
  sm90::AllowSharedBytes(kernel, kBytes);
  sm90::LaunchDependent(kernel, grid, Tile::kThreads, kBytes, stream, p);
}

// As much under way as fits: a block an SM with 180 KB and more, or two with 90 KB each.
template <int kOuts, int kTokens>
void Run(const LinearArgs& args, Stream& stream) {
  using TileOfThis = Tile<kOuts, kTokens>;
  constexpr unsigned kFewBlocks = 128;
  constexpr int kHalf = 112 * 1024 / static_cast<int>(sizeof(typename TileOfThis::Stage));
  constexpr int kWhole = 224 * 1024 / static_cast<int>(sizeof(typename TileOfThis::Stage));
  if (args.x.cols % kColumns != 0 || !sm90::IsWide(args.x)) {
    return LinearChainSm90(args, stream);
  }
  const sm90::LinearOperands operands = sm90::MakeLinearOperands(args);
  // Blocks of the same weights follow one another: one of them brings the weights to the L2 cache.
  const dim3 grid(static_cast<unsigned>((operands.x.rows + kTokens - 1) / kTokens),
                  static_cast<unsigned>((operands.w.rows + kOuts - 1) / kOuts));
  if constexpr (kHalf >= 3) {
    if (grid.x * grid.y > kFewBlocks) return RunWith<TileOfThis, kHalf>(operands, grid, stream);
  }
  RunWith<TileOfThis, kWhole>(operands, grid, stream);
}

template <int kOuts, int kTokens>
constexpr LinearTile TileOf() {
  return {kOuts, kTokens, Run<kOuts, kTokens>};
}

}  // namespace

std::span<const LinearTile> LinearTilesSm90() {
  static constexpr std::array kTiles = {
      TileOf<64, 8>(),    TileOf<64, 16>(),  TileOf<64, 24>(),  TileOf<64, 32>(),
      TileOf<64, 48>(),   TileOf<64, 64>(),  TileOf<64, 96>(),  TileOf<64, 128>(),
      TileOf<128, 32>(),  TileOf<128, 64>(), TileOf<128, 96>(), TileOf<128, 128>(),
      TileOf<192, 128>(),
  };
  return kTiles;
}

}  // namespace vexact
