// One mma.sync chain an output: a block owns a tile of tokens x outputs for all of K and streams
// both operands through a ring of stages in shared memory. Tokens are on the 16-row side of the
// instruction, outputs on the 8-column side.
#include "kernels/linear/linear_operands_sm90.cuh"
#include "kernels/linear/linear_schedules_sm90.h"
#include "kernels/sm90/async_copy.cuh"
#include "kernels/sm90/launch.cuh"
#include "kernels/sm90/mma.cuh"

namespace vexact {
namespace {

// The part of a stage that is one row: `kDepth` of K, eight 16-byte chunks.
constexpr int kDepth = 64;
constexpr int kRowBytes = kDepth * 2;

// A block's tile of tokens x outputs and a warp's part of it.
template <int kTileTokens, int kTileOuts, int kPartTokens, int kPartOuts, int kRingStages>
struct TileShape {
  static constexpr int kTokens = kTileTokens;
  static constexpr int kOuts = kTileOuts;
  static constexpr int kWarpTokens = kPartTokens;
  static constexpr int kWarpOuts = kPartOuts;
  static constexpr int kStages = kRingStages;
  static constexpr int kWarpsAcross = kOuts / kWarpOuts;
  static constexpr int kThreads = kTokens / kWarpTokens * kWarpsAcross * 32;
  static constexpr int kStageBytes = (kTokens + kOuts) * kRowBytes;
  static constexpr int kSharedBytes = kStages * kStageBytes;  // of at most half an SM's 227 KB
};
using FewTokens = TileShape<16, 64, 16, 16, 8>;
using SomeTokens = TileShape<64, 64, 32, 32, 5>;
using ManyTokens = TileShape<128, 128, 64, 32, 3>;

// A row of a stage is eight 16-byte chunks; chunk c of row r is at place c ^ (r % 8), so that the
// eight rows that ldmatrix reads together lie in different banks.
__device__ __forceinline__ uint32_t ChunkAddress(uint32_t tile, int row, int chunk) {
  return tile + row * kRowBytes + ((chunk ^ (row & 7)) << 4);
}

// Eight elements, the first `valid` of them read, to shared memory.
__device__ __forceinline__ void CopyElements(uint32_t shared, const bf16* from, int valid) {
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint32_t low = 2 * i < valid ? from[2 * i].bits : 0;
    const uint32_t high = 2 * i + 1 < valid ? from[2 * i + 1].bits : 0;
    words[i] = low | high << 16;
  }
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(shared), "r"(words[0]),
               "r"(words[1]), "r"(words[2]), "r"(words[3])
               : "memory");
}

// kRows rows of `matrix` from `first_row`, columns [k, k + kDepth), to a tile; zeros where the
// matrix has no element.
template <int kRows, int kThreads, bool kAligned>
__device__ __forceinline__ void CopyTile(uint32_t tile, const Rows<const bf16>& matrix,
                                         int64_t first_row, int64_t k) {
  constexpr int kRowsAtOnce = kThreads / 8;
  static_assert(kRows % kRowsAtOnce == 0 || kRowsAtOnce > kRows);
  const int chunk = threadIdx.x % 8;
  const int64_t column = k + chunk * 8;
  const int in_row = static_cast<int>(min(max(matrix.cols - column, int64_t{0}), int64_t{8}));
#pragma unroll
  for (int i = 0; i < kRows; i += kRowsAtOnce) {
    const int row = i + threadIdx.x / 8;
    if (kRowsAtOnce > kRows && row >= kRows) break;
    const int valid = first_row + row < matrix.rows ? in_row : 0;
    const bf16* from = valid > 0 ? matrix[first_row + row] + column : matrix.data;
    const uint32_t to = ChunkAddress(tile, row, chunk);
    if constexpr (kAligned) {
      sm90::CopyAsync16(to, from, valid * sizeof(bf16));
    } else {
      CopyElements(to, from, valid);
    }
  }
}

template <typename Tile>
struct WarpTile {
  static constexpr int kTokenSteps = Tile::kWarpTokens / 16;
  static constexpr int kOutPairs = Tile::kWarpOuts / 16;  // of 8-column steps

  int first_token;  // in the block's tile
  int first_out;
  float sums[kTokenSteps][2 * kOutPairs][4] = {};

  __device__ __forceinline__ void AddStage(uint32_t x_tile, uint32_t w_tile) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int step = 0; step < kDepth / 16; ++step) {
      uint32_t x[kTokenSteps][4];
      uint32_t w[kOutPairs][4];
#pragma unroll
      for (int i = 0; i < kTokenSteps; ++i) {
        sm90::LoadMatrices(
            x[i], ChunkAddress(x_tile, first_token + 16 * i + lane % 16, 2 * step + lane / 16));
      }
#pragma unroll
      for (int j = 0; j < kOutPairs; ++j) {
        sm90::LoadMatrices(w[j], ChunkAddress(w_tile, first_out + 16 * j + lane % 8 + lane / 16 * 8,
                                              2 * step + lane / 8 % 2));
      }
#pragma unroll
      for (int i = 0; i < kTokenSteps; ++i) {
#pragma unroll
        for (int j = 0; j < 2 * kOutPairs; ++j) {
          const uint32_t columns[2] = {w[j / 2][j % 2 * 2], w[j / 2][j % 2 * 2 + 1]};
          sm90::MmaStep(sums[i][j], x[i], columns);
        }
      }
    }
  }

  __device__ __forceinline__ void Store(const sm90::LinearOperands& args, int64_t tile_token,
                                        int64_t tile_out) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kTokenSteps; ++i) {
      const int64_t t = tile_token + first_token + 16 * i + lane / 4;
#pragma unroll
      for (int j = 0; j < 2 * kOutPairs; ++j) {
        const int64_t o = tile_out + first_out + 8 * j + lane % 4 * 2;
        sm90::StorePair(args, t, o, sums[i][j][0], sums[i][j][1]);
        sm90::StorePair(args, t + 8, o, sums[i][j][2], sums[i][j][3]);
      }
    }
  }
};

extern __shared__ __align__(1024) unsigned char stages[];

// Blocks that run together share outputs' weights: the tile of tokens changes fastest.
template <typename Tile, bool kAlignedX>
__global__ void __launch_bounds__(Tile::kThreads, 2)
    LinearChainKernel(__grid_constant__ const sm90::LinearOperands args, int token_tiles) {
  constexpr int kStages = Tile::kStages;
  const int64_t tile_token = blockIdx.x % token_tiles * int64_t{Tile::kTokens};
  const int64_t tile_out = blockIdx.x / token_tiles * int64_t{Tile::kOuts};
  const int chunks = static_cast<int>((args.x.cols + kDepth - 1) / kDepth);
  const uint32_t ring = sm90::SharedAddress(stages);
  const auto copy = [&](int chunk) {
    if (chunk < chunks) {
      const uint32_t stage = ring + chunk % kStages * Tile::kStageBytes;
      const int64_t k = chunk * int64_t{kDepth};
      CopyTile<Tile::kTokens, Tile::kThreads, kAlignedX>(stage, args.x, tile_token, k);
      CopyTile<Tile::kOuts, Tile::kThreads, true>(stage + Tile::kTokens * kRowBytes, args.w,
                                                  tile_out, k);
    }
    sm90::CommitCopies();
  };

  const int warp = threadIdx.x / 32;
  WarpTile<Tile> tile = {warp / Tile::kWarpsAcross * Tile::kWarpTokens,
                         warp % Tile::kWarpsAcross * Tile::kWarpOuts};
  for (int chunk = 0; chunk < kStages - 1; ++chunk) copy(chunk);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    sm90::WaitCopies<kStages - 2>();
    __syncthreads();  // the chunk is there for all, and all are done with the one before it
    copy(chunk + kStages - 1);
    const uint32_t stage = ring + chunk % kStages * Tile::kStageBytes;
    tile.AddStage(stage, stage + Tile::kTokens * kRowBytes);
  }
  tile.Store(args, tile_token, tile_out);
}

template <typename Tile>
void LaunchChain(const sm90::LinearOperands& args, const Stream& stream) {
  const auto kernel =
      sm90::IsWide(args.x) ? LinearChainKernel<Tile, true> : LinearChainKernel<Tile, false>;
  const int64_t token_tiles = (args.x.rows + Tile::kTokens - 1) / Tile::kTokens;
  const int64_t out_tiles = (args.w.rows + Tile::kOuts - 1) / Tile::kOuts;
  sm90::AllowSharedBytes(kernel, Tile::kSharedBytes);
  sm90::Launch(kernel, static_cast<unsigned>(token_tiles * out_tiles), Tile::kThreads,
               Tile::kSharedBytes, stream, args, static_cast<int>(token_tiles));
}

}  // namespace

void LinearChainSm90(const LinearArgs& args, Stream& stream) {
  const sm90::LinearOperands operands = sm90::MakeLinearOperands(args);
  if (args.x.rows <= FewTokens::kTokens) {
    LaunchChain<FewTokens>(operands, stream);
  } else if (args.x.rows <= 2 * SomeTokens::kTokens) {
    LaunchChain<SomeTokens>(operands, stream);
  } else {
    LaunchChain<ManyTokens>(operands, stream);
  }
}

}  // namespace vexact
