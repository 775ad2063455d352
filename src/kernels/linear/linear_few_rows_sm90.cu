// Few rows of x: the time is that of reading the weights once. A block owns 64 outputs for all of
// K. One thread has the copy engine stream boxes of weights and of x into a ring; a warpgroup
// multiplies them with wgmma, weights on its 64-row side and tokens on the other, so that few
// tokens leave little of it idle. The first boxes of weights are on their way before the kernel
// ahead has finished: that is what a library's kernel does not do (docs/performance.md).
#include <algorithm>

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

constexpr int kOuts = 64;
constexpr int kColumns = kLinearFewRowsDepth;  // of a swizzled row: 128 bytes
constexpr int kParts = 2;                      // of a stage, kColumns each
constexpr int kConsumers = 128;
constexpr int kThreads = kConsumers + 32;       // the producer's warp behind
constexpr int kGroupStride = 8 * kColumns * 2;  // bytes between groups of 8 rows (WgmmaOperand)
static_assert(kColumns == 64);

// Each part is [rows][kColumns].
template <int kTokens>
struct Stage {
  static constexpr uint32_t kWeightBytes = kOuts * kColumns * 2;  // of a part
  static constexpr uint32_t kXBytes = kTokens * kColumns * 2;

  unsigned char weights[kParts * kWeightBytes];
  unsigned char x[kParts * kXBytes];
};

template <int kTokens, int kStages>
struct Ring {
  alignas(1024) Stage<kTokens> stages[kStages];
  uint64_t full[kStages];
  uint64_t empty[kStages];
};

struct FewRowsParameters {
  CUtensorMap weights;  // boxes of kOuts rows and a stage's columns
  CUtensorMap x;        // boxes of kTokens rows; what lies beyond x is 0
  sm90::LinearOperands operands;
  int32_t steps;  // stages' worth of K
};

template <int kTokens, int kStages>
__device__ __forceinline__ void Produce(const FewRowsParameters& p, Ring<kTokens, kStages>* ring) {
  const auto first_out = static_cast<int32_t>(blockIdx.x) * kOuts;
  const auto copy_weights = [&](int stage, int step) {
    const uint32_t full = sm90::SharedAddress(&ring->full[stage]);
    sm90::ArriveExpectBytes(full, sizeof(Stage<kTokens>));
    sm90::CopyBox(sm90::SharedAddress(ring->stages[stage].weights), &p.weights, first_out,
                  step * kParts, 0, full);
  };
  const auto copy_x = [&](int stage, int step) {
    sm90::CopyBox(sm90::SharedAddress(ring->stages[stage].x), &p.x, 0, step * kParts, 0,
                  sm90::SharedAddress(&ring->full[stage]));
  };
  const int ahead = min(p.steps, kStages);
  for (int step = 0; step < ahead; ++step) copy_weights(step, step);
  sm90::WaitForEarlier();  // x may still be being written
  for (int step = 0; step < ahead; ++step) copy_x(step, step);
  for (int step = kStages; step < p.steps; ++step) {
    const int stage = step % kStages;
    sm90::WaitBarrier(sm90::SharedAddress(&ring->empty[stage]), (step / kStages - 1) & 1);
    copy_weights(stage, step);
    copy_x(stage, step);
  }
}

template <int kTokens, int kStages>
__device__ __forceinline__ void Consume(const FewRowsParameters& p, Ring<kTokens, kStages>* ring) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  float sums[kTokens / 8][4] = {};
  sm90::HoldRegisters(sums);
  for (int step = 0; step < p.steps; ++step) {
    const int stage = step % kStages;
    sm90::WaitBarrier(sm90::SharedAddress(&ring->full[stage]), step / kStages & 1);
    const uint32_t weights = sm90::SharedAddress(ring->stages[stage].weights);
    const uint32_t x = sm90::SharedAddress(ring->stages[stage].x);
    sm90::WgmmaFence();
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
#pragma unroll
      for (int k = 0; k < kColumns; k += 16) {
        sm90::WgmmaStep(
            sums,
            sm90::WgmmaOperand(weights + part * Stage<kTokens>::kWeightBytes + 2 * k, 0,
                               kGroupStride),
            sm90::WgmmaOperand(x + part * Stage<kTokens>::kXBytes + 2 * k, 0, kGroupStride));
      }
    }
    sm90::WgmmaCommit();
    sm90::WgmmaWait<1>();  // the stage before has been read
    if (step > 0 && lane == 0) {
      sm90::Arrive(sm90::SharedAddress(&ring->empty[(step - 1) % kStages]));
    }
  }
  sm90::WgmmaWait<0>();
  sm90::HoldRegisters(sums);
  const int64_t o = int64_t{blockIdx.x} * kOuts + threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
  for (int j = 0; j < kTokens / 8; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      sm90::StoreOne(p.operands, 8 * j + lane % 4 * 2 + e % 2, o + e / 2 * 8, sums[j][e]);
    }
  }
}

template <int kTokens, int kStages>
__global__ void __launch_bounds__(kThreads)
    LinearFewRowsKernel(const __grid_constant__ FewRowsParameters p) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  auto* ring = reinterpret_cast<Ring<kTokens, kStages>*>(bytes);
  if (threadIdx.x == kConsumers) {
    for (int stage = 0; stage < kStages; ++stage) {
      sm90::InitBarrier(sm90::SharedAddress(&ring->full[stage]), 1);
      sm90::InitBarrier(sm90::SharedAddress(&ring->empty[stage]), kConsumers / 32);
    }
    sm90::FenceBarrierInit();
  }
  __syncthreads();
  sm90::AllowLater();
  if (threadIdx.x < kConsumers) {
    Consume(p, ring);
  } else if (threadIdx.x == kConsumers) {
    Produce(p, ring);
  }
}

CUtensorMap MapOfRows(const Rows<const bf16>& rows, int box_rows) {
  const auto row_bytes = static_cast<uint64_t>(rows.stride) * sizeof(bf16);
  const auto num_rows = static_cast<uint64_t>(rows.rows);
  return sm90::MakeTensorMap(
      {.data = const_cast<bf16*>(rows.data),
       .dims = {kColumns, num_rows, static_cast<uint64_t>(rows.cols / kColumns), 1},
       .stride_bytes = {row_bytes, kColumns * sizeof(bf16), row_bytes * num_rows},
       .box = {kColumns, static_cast<uint32_t>(box_rows), kParts, 1}});
}

template <int kTokens, int kStages>
void Run(const sm90::LinearOperands& operands, unsigned blocks, Stream& stream) {
  const FewRowsParameters p = {
      MapOfRows(operands.w, kOuts), MapOfRows(operands.x, kTokens), operands,
      static_cast<int32_t>((operands.x.cols + kParts * kColumns - 1) / (kParts * kColumns))};
  const auto kernel = LinearFewRowsKernel<kTokens, kStages>;
  constexpr size_t kBytes = sizeof(Ring<kTokens, kStages>);
  sm90::AllowSharedBytes(kernel, kBytes);
  sm90::LaunchDependent(kernel, blocks, kThreads, kBytes, stream, p);
}

// As much under way as fits: a block an SM with 180 KB and more, or two with 90 KB each.
template <int kTokens>
void RunOn(const sm90::LinearOperands& operands, unsigned blocks, Stream& stream) {
  constexpr unsigned kFewBlocks = 128;
  constexpr int kStages = 112 * 1024 / static_cast<int>(sizeof(Stage<kTokens>));
  if (blocks <= kFewBlocks) return Run<kTokens, 2 * kStages>(operands, blocks, stream);
  Run<kTokens, kStages>(operands, blocks, stream);
}

}  // namespace

void LinearFewRowsSm90(const LinearArgs& args, Stream& stream) {
  const int64_t tokens = args.x.rows;
  if (tokens > kLinearFewRows || args.x.cols % kColumns != 0 || !sm90::HasAlignedRows(args.x)) {
    return LinearChainSm90(args, stream);
  }
  const sm90::LinearOperands operands = sm90::MakeLinearOperands(args);
  const auto blocks = static_cast<unsigned>((operands.w.rows + kOuts - 1) / kOuts);
  if (tokens <= 8) return RunOn<8>(operands, blocks, stream);
  if (tokens <= 16) return RunOn<16>(operands, blocks, stream);
  if (tokens <= 24) return RunOn<24>(operands, blocks, stream);
  if (tokens <= 32) return RunOn<32>(operands, blocks, stream);
  if (tokens <= 48) return RunOn<48>(operands, blocks, stream);
  return RunOn<64>(operands, blocks, stream);
}

}  // namespace vexact
