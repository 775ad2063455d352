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

// The tiles of this warp: the first, the distance to the next, how many. Warps with the same index
// in their blocks have neighbouring tiles, so that all blocks get as many.
struct WarpTiles {
  int first;
  int stride;
  int count;

  __device__ __forceinline__ WarpTiles(int tiles, int warps)
      : first(static_cast<int>(threadIdx.x / 32 * gridDim.x + blockIdx.x)),
        stride(static_cast<int>(gridDim.x) * warps),
        count(first < tiles ? (tiles - 1 - first) / stride + 1 : 0) {}
};

// The weights of a warp's tiles on their way into its ring, stage after stage.
template <int kStages>
class WeightStream {
 public:
  __device__ __forceinline__ WeightStream(const Rows<const bf16>& w, const WarpTiles& tiles,
                                          uint32_t ring)
      : w_(w),
        tile_(tiles.first),
        tile_stride_(tiles.stride),
        stages_of_tile_(static_cast<int>(w.cols / kDepth)),
        stages_left_(tiles.count * stages_of_tile_),
        first_slot_(ring + threadIdx.x % 32 / 8 * kWeightRowBytes + threadIdx.x % 8 * 16),
        slot_(first_slot_) {
    if (stages_left_ > 0) BeginTile();
  }

  // Starts the copy of the next stage, or of none past the last tile; either way one group of
  // copies.
  __device__ __forceinline__ void CopyNext() {
    if (stages_left_ > 0) {
#pragma unroll
      for (int i = 0; i < kPasses; ++i) {
        sm90::CopyAsync16(slot_ + i * kRowsAtOnce * kWeightRowBytes, from_[i], 16);
        from_[i] += kDepth;
      }
      slot_ += kStageBytes;
      if (slot_ == first_slot_ + kStages * kStageBytes) slot_ = first_slot_;
      --stages_left_;
      if (--left_of_tile_ == 0 && stages_left_ > 0) {
        tile_ += tile_stride_;
        BeginTile();
      }
    }
    sm90::CommitCopies();
  }

 private:
  static constexpr int kRowsAtOnce = 4;  // 8 lanes a row
  static constexpr int kPasses = kTileOuts / kRowsAtOnce;

  // Past the last row that row again: its outputs are not stored.
  __device__ __forceinline__ void BeginTile() {
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      const int64_t row =
          int64_t{tile_} * kTileOuts + i * kRowsAtOnce + static_cast<int>(threadIdx.x % 32) / 8;
      from_[i] = w_[min(row, w_.rows - 1)] + threadIdx.x % 8 * 8;
    }
    left_of_tile_ = stages_of_tile_;
  }

  const Rows<const bf16>& w_;
  int tile_;
  int tile_stride_;
  int stages_of_tile_;
  int stages_left_;  // of all tiles
  int left_of_tile_ = 0;
  uint32_t first_slot_;  // this lane's place in the ring's first stage
  uint32_t slot_;
  const bf16* from_[kPasses];
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

  __device__ __forceinline__ void AddStep(int step, float (&sums)[kTokens / 8][4]) const {
#pragma unroll
    for (int t = 0; t < kTokens / 8; ++t) {
      const uint32_t columns[2] = {x[step][2 * t], x[step][2 * t + 1]};
      sm90::MmaStep(sums[t], w[step], columns);
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
  int64_t in;        // columns

  __device__ __forceinline__ uint32_t RowBytes() const {
    return static_cast<uint32_t>(in * 2 + 16);
  }
  __device__ __forceinline__ int Parts() const {
    return static_cast<int>((in + kPartDepth - 1) / kPartDepth);
  }
  // By one thread.
  __device__ __forceinline__ void Init() const {
#pragma unroll 1
    for (int part = 0; part < Parts(); ++part) sm90::InitBarrier(arrived + 8 * part, 1);
    sm90::FenceBarrierInit();
  }
  // By one warp. Rows past x's last stay as they are: their columns of the products are not stored.
  __device__ __forceinline__ void Copy(const Rows<const bf16>& x) const {
    const int lane = threadIdx.x % 32;
#pragma unroll 1
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
  __device__ __forceinline__ void Wait(int column) const {
    if (column % kPartDepth == 0) sm90::WaitBarrier(arrived + 8 * (column / kPartDepth), 0);
  }
};

// A warp's products. Copies run kStages - 1 stages ahead of them, loads from shared memory one.
template <typename Shape>
class TileProducts {
 public:
  static constexpr int kTokens = Shape::kTokens;
  using Stage = Fragments<kTokens>;

  __device__ __forceinline__ TileProducts(const sm90::LinearOperands& args, const SharedX& x,
                                          const WarpTiles& tiles, uint32_t ring)
      : args_(args),
        x_(x),
        in_(static_cast<int>(x.in)),
        stream_(args.w, tiles, ring),
        tiles_(tiles),
        first_slot_(ring + threadIdx.x % 16 * kWeightRowBytes + threadIdx.x % 32 / 16 * 16),
        slot_(first_slot_),
        x_lane_(x.data + XRow() * x.RowBytes() + XChunk() * 16) {}

  __device__ __forceinline__ void CopyAhead() {
    for (int stage = 0; stage < Shape::kStages - 1; ++stage) stream_.CopyNext();
  }

  __device__ __forceinline__ void Run() {
    Stage even;
    Stage odd;
    WaitForStage();
    stream_.CopyNext();
    LoadNext(even);
    const int stages_of_tile = in_ / kDepth;
    const int num_stages = tiles_.count * stages_of_tile;
    int tile = tiles_.first;
    int left_of_tile = stages_of_tile;
    const auto end_stage = [&] {
      if (--left_of_tile > 0) return;
      StoreTile<kTokens>(args_, tile, sums_);
#pragma unroll
      for (auto& of_tokens : sums_) {
#pragma unroll
        for (float& sum : of_tokens) sum = 0.0f;
      }
      tile += tiles_.stride;
      left_of_tile = stages_of_tile;
    };
#pragma unroll 1
    for (int stage = 0; stage < num_stages; stage += 2) {
      AddAndLoad(even, odd);
      end_stage();
      if (stage + 1 == num_stages) break;
      AddAndLoad(odd, even);
      end_stage();
    }
  }

 private:
  // What ldmatrix wants: with 16 tokens two steps of 8 columns for each 8 tokens, with 8 tokens
  // four such steps.
  static __device__ __forceinline__ uint32_t XRow() {
    const uint32_t lane = threadIdx.x % 32;
    return kTokens == 16 ? lane % 8 + lane / 16 * 8 : lane % 8;
  }
  static __device__ __forceinline__ uint32_t XChunk() {
    const uint32_t lane = threadIdx.x % 32;
    return kTokens == 16 ? lane / 8 % 2 : lane / 8;
  }

  // The next stage is there for all lanes, and all have loaded the one before it.
  __device__ __forceinline__ void WaitForStage() {
    sm90::WaitCopies<Shape::kStages - 2>();
    __syncwarp();
  }
  __device__ __forceinline__ void LoadNext(Stage& stage) {
    x_.Wait(column_);
    stage.Load(slot_, x_lane_ + column_ * 2);
    slot_ += kStageBytes;
    if (slot_ == first_slot_ + Shape::kRingBytes) slot_ = first_slot_;
    column_ += kDepth;
    if (column_ == in_) column_ = 0;
  }

  // The steps wait for each other (33 cycles), and the next stage is fetched between them. Past the
  // last stage, what is loaded is an old one and not used.
  __device__ __forceinline__ void AddAndLoad(const Stage& stage, Stage& next) {
    static_assert(kSteps == 4);
    stage.AddStep(0, sums_);
    WaitForStage();
    stage.AddStep(1, sums_);
    stream_.CopyNext();
    stage.AddStep(2, sums_);
    LoadNext(next);
    stage.AddStep(3, sums_);
  }

  const sm90::LinearOperands& args_;
  const SharedX& x_;
  int in_;
  WeightStream<Shape::kStages> stream_;
  const WarpTiles& tiles_;
  uint32_t first_slot_;  // this lane's addresses in the ring's first stage and in the next
  uint32_t slot_;
  uint32_t x_lane_;
  int column_ = 0;  // of the next stage
  float sums_[kTokens / 8][4] = {};
};

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    LinearFewRowsKernel(__grid_constant__ const sm90::LinearOperands args) {
  __shared__ uint64_t barriers[kMostParts];
  sm90::AllowLater();
  const uint32_t shared = sm90::SharedAddress(few_rows_shared);
  const SharedX x = {shared + Shape::kWarps * Shape::kRingBytes, sm90::SharedAddress(barriers),
                     args.x.cols};
  if (threadIdx.x == 0) x.Init();
  const WarpTiles tiles(static_cast<int>((args.w.rows + kTileOuts - 1) / kTileOuts), Shape::kWarps);
  TileProducts<Shape> products(args, x, tiles, shared + threadIdx.x / 32 * Shape::kRingBytes);
  products.CopyAhead();    // weights, which no kernel writes
  __syncthreads();         // the barriers are there
  sm90::WaitForEarlier();  // x may still be being written, y being read
  if (threadIdx.x < 32) x.Copy(args.x);
  if (tiles.count > 0) products.Run();
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
