// Few rows of x: the time is that of reading the weights once. A warp owns 16 outputs for all of K
// and streams their rows through a ring of its own in shared memory, so that warps wait for nobody;
// x lies in shared memory whole. A block stays on its SM and its warps take tiles of 16 outputs one
// after the other, the ring running on across them. Weights are on the 16-row side of mma.sync,
// tokens on the 8-column side.
//
// What bounds it: K / 16 dependent steps a tile, about 33 cycles each (2.4 us at K = 2048, 7 us at
// 6144), and the bytes that an SM has under way, 48 to 64 KB here.
//
// Rejected: pieces of weight rows by the copy engine (cp.async.bulk, 256 B to 1 KB each, one warp
// issuing for all): 18.7 us for gate_up at one row on an H200 where cuBLASLt takes 14.3. x streamed
// beside the weights: with 16 rows half of what an SM takes in. 17 rows and more: cuBLASLt won
// everywhere.
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

constexpr int kTileOuts = 16;
constexpr int kDepth = 64;  // of K in a stage: 128 bytes, a line of L2, of each of its rows
constexpr int kSteps = kDepth / 16;
constexpr int kWeightRowBytes = kDepth * 2 + 16;
constexpr int kStageBytes = kTileOuts * kWeightRowBytes;
// x arrives in parts, so that the first steps need not wait for the last columns.
constexpr int kPartDepth = 1024;
constexpr int kMostParts = 16;
constexpr int kMostSharedBytes = 227 * 1024 - 1024;  // of a block, barriers left out

static_assert(kLinearFewRowsDepth == kDepth && kPartDepth % kDepth == 0);

template <int kWarpCount, int kTokenCount>
struct BlockShape {
  static constexpr int kWarps = kWarpCount;
  static constexpr int kTokens = kTokenCount;  // 8 or 16
  static constexpr int kThreads = kWarps * 32;
  // Of each warp's ring. One warp: what x at K = 6144 and 16 rows leaves.
  static constexpr int kStages = kWarps == 1 ? 15 : kWarps == 8 ? 5 : 32 / kWarps;
  static constexpr int kRingBytes = kStages * kStageBytes;

  static int64_t SharedBytes(int64_t in) {
    return int64_t{kWarps} * kRingBytes + int64_t{kTokens} * (in * 2 + 16);
  }
};

extern __shared__ __align__(128) unsigned char few_rows_shared[];

// The weights of this warp's tiles, stage after stage.
template <typename Shape>
class WeightStream {
 public:
  __device__ __forceinline__ WeightStream(const sm90::LinearOperands& args, uint32_t ring)
      : args_(args), ring_(ring), tile_(FirstTile()) {}

  // Warps with the same index in their blocks have neighbouring tiles: all blocks get as many.
  static __device__ __forceinline__ int FirstTile() {
    return static_cast<int>(threadIdx.x / 32 * gridDim.x + blockIdx.x);
  }
  static __device__ __forceinline__ int TileStride() {
    return static_cast<int>(gridDim.x) * Shape::kWarps;
  }

  // Starts the copy of the next stage into the ring, or none past the last tile; either way one
  // group of copies.
  __device__ __forceinline__ void CopyNext() {
    if (int64_t{tile_} * kTileOuts < args_.w.rows) {
      constexpr int kRowsAtOnce = 4;  // 8 lanes a row
      const int lane = threadIdx.x % 32;
      const int64_t first_out = int64_t{tile_} * kTileOuts + lane / 8;
      const bf16* from = args_.w[first_out] + column_ + lane % 8 * 8;
      uint32_t to = ring_ + stage_ * kStageBytes + lane / 8 * kWeightRowBytes + lane % 8 * 16;
#pragma unroll
      for (int i = 0; i < kTileOuts / kRowsAtOnce; ++i) {
        const bool exists = first_out + i * kRowsAtOnce < args_.w.rows;
        sm90::CopyAsync16(to, exists ? from : args_.w.data, exists ? 16 : 0);
        from += kRowsAtOnce * args_.w.stride;
        to += kRowsAtOnce * kWeightRowBytes;
      }
      stage_ = stage_ + 1 == Shape::kStages ? 0 : stage_ + 1;
      column_ += kDepth;
      if (column_ == args_.w.cols) {
        column_ = 0;
        tile_ += TileStride();
      }
    }
    sm90::CommitCopies();
  }

 private:
  const sm90::LinearOperands& args_;
  uint32_t ring_;
  int tile_;
  int64_t column_ = 0;
  int stage_ = 0;
};

// Operands of a stage's steps.
template <int kTokens>
struct Fragments {
  uint32_t w[kSteps][4];
  uint32_t x[kSteps][kTokens / 4];

  // Lane addresses in the stage and in x's columns of it.
  __device__ __forceinline__ void Load(uint32_t w_lane, uint32_t x_lane) {
#pragma unroll
    for (int i = 0; i < kSteps; ++i) sm90::LoadMatrices(w[i], w_lane + i * 32);
    if constexpr (kTokens == 16) {
#pragma unroll
      for (int i = 0; i < kSteps; ++i) sm90::LoadMatrices(x[i], x_lane + i * 32);
    } else {
#pragma unroll
      for (int i = 0; i < kSteps; i += 2) {  // four matrices are two steps of eight tokens
        uint32_t both[4];
        sm90::LoadMatrices(both, x_lane + i * 32);
        x[i][0] = both[0];
        x[i][1] = both[1];
        x[i + 1][0] = both[2];
        x[i + 1][1] = both[3];
      }
    }
  }

  __device__ __forceinline__ void AddTo(float (&sums)[kTokens / 8][4]) const {
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
#pragma unroll
      for (int t = 0; t < kTokens / 8; ++t) {
        const uint32_t columns[2] = {x[i][2 * t], x[i][2 * t + 1]};
        sm90::MmaStep(sums[t], w[i], columns);
      }
    }
  }
};

template <int kTokens>
__device__ __forceinline__ void StoreTile(const sm90::LinearOperands& args, int tile,
                                          const float (&sums)[kTokens / 8][4]) {
  const int lane = threadIdx.x % 32;
  const int64_t o = int64_t{tile} * kTileOuts + lane / 4;
#pragma unroll
  for (int t = 0; t < kTokens / 8; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sm90::StoreOne(args, 8 * t + lane % 4 * 2 + i % 2, o + i / 2 * 8, sums[t][i]);
    }
  }
}

// x[tokens, in] in shared memory, and a barrier for each part of its columns.
struct SharedX {
  uint32_t data;
  uint32_t arrived;  // [parts], 8 bytes each
  int64_t in;

  __device__ __forceinline__ uint32_t RowBytes() const {
    return static_cast<uint32_t>(in * 2 + 16);
  }
  __device__ __forceinline__ int Parts() const {
    return static_cast<int>((in + kPartDepth - 1) / kPartDepth);
  }
  // By one thread.
  __device__ __forceinline__ void Init() const {
    for (int part = 0; part < Parts(); ++part) sm90::InitBarrier(arrived + 8 * part, 1);
    sm90::FenceBarrierInit();
  }
  // By one warp. Rows past x's last stay as they are: their columns of the products are not stored.
  __device__ __forceinline__ void Copy(const Rows<const bf16>& x) const {
    const int lane = threadIdx.x % 32;
    for (int part = 0; part < Parts(); ++part) {
      const int64_t column = int64_t{part} * kPartDepth;
      const auto bytes = static_cast<uint32_t>(min(int64_t{kPartDepth}, in - column) * 2);
      const uint32_t barrier = arrived + 8 * part;
      if (lane == 0) sm90::ArriveExpectBytes(barrier, static_cast<uint32_t>(x.rows) * bytes);
      __syncwarp();
      if (lane < x.rows) {
        sm90::CopyBulk(data + lane * RowBytes() + static_cast<uint32_t>(column * 2),
                       x[lane] + column, bytes, barrier);
      }
    }
  }
  // Until columns [column, column + kDepth) are there.
  __device__ __forceinline__ void Wait(int64_t column) const {
    if (column % kPartDepth != 0) return;
    sm90::WaitBarrier(arrived + 8 * static_cast<int>(column / kPartDepth), 0);
  }
};

// The tiles of a warp. Copies run kStages - 1 stages ahead of the products, loads from shared
// memory one stage.
template <typename Shape>
__device__ __forceinline__ void RunTiles(const sm90::LinearOperands& args, const SharedX& x,
                                         uint32_t ring, WeightStream<Shape>& stream) {
  constexpr int kTokens = Shape::kTokens;
  const int lane = threadIdx.x % 32;
  const uint32_t w_lane = ring + lane % 16 * kWeightRowBytes + lane / 16 * 16;
  const uint32_t x_lane =
      kTokens == 16 ? x.data + (lane % 8 + lane / 16 * 8) * x.RowBytes() + lane / 8 % 2 * 16
                    : x.data + lane % 8 * x.RowBytes() + lane / 8 * 16;
  const int stages_of_tile = static_cast<int>(x.in / kDepth);
  const int tiles = static_cast<int>((args.w.rows + kTileOuts - 1) / kTileOuts);
  int tile = WeightStream<Shape>::FirstTile();
  if (tile >= tiles) return;
  const int num_tiles = (tiles - 1 - tile) / WeightStream<Shape>::TileStride() + 1;
  const int num_stages = num_tiles * stages_of_tile;

  int slot = 0;        // of the ring, to be loaded next
  int64_t column = 0;  // of K, the same stage's
  const auto load_next = [&](Fragments<kTokens>& fragments) {
    sm90::WaitCopies<Shape::kStages - 2>();
    __syncwarp();  // the stage is there for all lanes, and all have loaded the one before it
    stream.CopyNext();
    x.Wait(column);
    fragments.Load(w_lane + slot * kStageBytes, x_lane + static_cast<uint32_t>(column * 2));
    slot = slot + 1 == Shape::kStages ? 0 : slot + 1;
    column = column + kDepth == x.in ? 0 : column + kDepth;
  };
  Fragments<kTokens> now;
  Fragments<kTokens> next;
  float sums[kTokens / 8][4] = {};
  int left_of_tile = stages_of_tile;
  load_next(now);
#pragma unroll 2
  for (int stage = 0; stage < num_stages; ++stage) {
    if (stage + 1 < num_stages) load_next(next);
    now.AddTo(sums);
    if (--left_of_tile == 0) {
      StoreTile<kTokens>(args, tile, sums);
#pragma unroll
      for (auto& of_tokens : sums) {
#pragma unroll
        for (float& sum : of_tokens) sum = 0.0f;
      }
      tile += WeightStream<Shape>::TileStride();
      left_of_tile = stages_of_tile;
    }
    now = next;
  }
}

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    LinearFewRowsKernel(__grid_constant__ const sm90::LinearOperands args) {
  __shared__ uint64_t barriers[kMostParts];
  sm90::AllowLater();
  const uint32_t shared = sm90::SharedAddress(few_rows_shared);
  const uint32_t ring = shared + threadIdx.x / 32 * Shape::kRingBytes;
  const SharedX x = {shared + Shape::kWarps * Shape::kRingBytes, sm90::SharedAddress(barriers),
                     args.x.cols};
  if (threadIdx.x == 0) x.Init();
  WeightStream<Shape> stream(args, ring);
  for (int stage = 0; stage < Shape::kStages - 1; ++stage) stream.CopyNext();
  __syncthreads();         // the barriers are there
  sm90::WaitForEarlier();  // x may still be being written, y being read
  if (threadIdx.x < 32) x.Copy(args.x);
  RunTiles<Shape>(args, x, ring, stream);
  // The copies into a block's shared memory end before the block does, tiles or none.
  for (int part = 0; part < x.Parts(); ++part) sm90::WaitBarrier(x.arrived + 8 * part, 0);
}

int NumSms() {
  int device = 0;
  int sms = 0;
  sm90::CheckCuda(cudaGetDevice(&device));
  sm90::CheckCuda(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device));
  return sms;
}

// False if x does not fit.
template <typename Shape>
bool LaunchFewRows(const sm90::LinearOperands& args, const Stream& stream) {
  const int64_t bytes = Shape::SharedBytes(args.x.cols);
  if (bytes > kMostSharedBytes || args.x.cols > kMostParts * kPartDepth) return false;
  const auto kernel = LinearFewRowsKernel<Shape>;
  const int64_t outs = kTileOuts * Shape::kWarps;
  const int64_t blocks = std::min<int64_t>((args.w.rows + outs - 1) / outs, NumSms());
  sm90::AllowSharedBytes(kernel, bytes);
  sm90::LaunchDependent(kernel, static_cast<unsigned>(blocks), Shape::kThreads, bytes, stream,
                        args);
  return true;
}

template <int kWarps>
void LinearFewRows(const LinearArgs& args, Stream& stream) {
  const sm90::LinearOperands operands = sm90::MakeLinearOperands(args);
  const bool launched =
      args.x.rows <= kLinearFewRows && sm90::HasAlignedRows(args.x) &&
      (args.x.rows <= 8 ? LaunchFewRows<BlockShape<kWarps, 8>>(operands, stream)
                        : LaunchFewRows<BlockShape<kWarps, 16>>(operands, stream));
  if (!launched) LinearChainSm90(args, stream);
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
