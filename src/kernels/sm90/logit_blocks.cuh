// A row of logits in blocks of 128 ids: a warp reads a block, four neighbouring ids a lane, and
// knows its M_b and S_b (docs/numerics.md, logits -> logprob); a CTA makes the row's sums of them.
#ifndef VEXACT_KERNELS_SM90_LOGIT_BLOCKS_CUH_
#define VEXACT_KERNELS_SM90_LOGIT_BLOCKS_CUH_

#include <cstdint>

#include "kernels/logprob/logprob.h"
#include "kernels/logprob/logprob_value.h"
#include "kernels/sm90/arithmetic.cuh"
#include "kernels/sm90/order.cuh"
#include "kernels/sm90/reduce.cuh"

namespace vexact::sm90 {

inline constexpr int kLaneIds = 4;
static_assert(kWarp * kLaneIds == kVocabBlock);

// y[id] = rn(z[id] * factor).
struct ScaledLogits {
  const float* z = nullptr;  // [vocab]
  int vocab = 0;
  float factor = 1.0f;
  bool drops = false;  // z = -inf marks a dropped id; otherwise it is a fault

  __device__ int blocks() const { return static_cast<int>(NumVocabBlocks(vocab)); }
};

// The ids of a lane in a block, ascending.
__device__ __forceinline__ int FirstIdOfLane(int block) {
  return block * static_cast<int>(kVocabBlock) + Lane() * kLaneIds;
}

// What a lane holds of a block. Reading is apart from use so that several blocks can be under way.
struct LaneLogits {
  float z[kLaneIds];  // past the vocabulary: anything
};
__device__ __forceinline__ LaneLogits LoadLogits(const ScaledLogits& row, int block) {
  const int id = FirstIdOfLane(block);
  const float* const from = row.z + id;
  if (id + kLaneIds <= row.vocab && reinterpret_cast<uintptr_t>(from) % 16 == 0) {
    const float4 z = *reinterpret_cast<const float4*>(from);
    return {z.x, z.y, z.z, z.w};
  }
  LaneLogits logits = {};
#pragma unroll
  for (int i = 0; i < kLaneIds; ++i) {
    if (id + i < row.vocab) logits.z[i] = from[i];
  }
  return logits;
}

// Several blocks at once, all of whose loads are under way before the first is used.
template <int kCount>
__device__ __forceinline__ void LoadLogits(const ScaledLogits& row, const int (&blocks)[kCount],
                                           LaneLogits (&logits)[kCount]) {
  bool whole = reinterpret_cast<uintptr_t>(row.z) % 16 == 0;
#pragma unroll
  for (const int block : blocks) whole &= (block + 1) * static_cast<int>(kVocabBlock) <= row.vocab;
#pragma unroll
  for (int n = 0; whole && n < kCount; ++n) {
    const float4 z = *reinterpret_cast<const float4*>(row.z + FirstIdOfLane(blocks[n]));
    logits[n] = {z.x, z.y, z.z, z.w};
  }
  for (int n = 0; !whole && n < kCount; ++n) logits[n] = LoadLogits(row, blocks[n]);
}

struct LaneValues {
  float y[kLaneIds];  // kDropped for a dropped id and past the vocabulary
  bool fault;         // one of the others is NaN, infinite or too large
};
__device__ __forceinline__ LaneValues ValuesOf(const ScaledLogits& row, int block,
                                               const LaneLogits& logits) {
  LaneValues values = {};
#pragma unroll
  for (int i = 0; i < kLaneIds; ++i) {
    const float z = logits.z[i];
    const float y = __fmul_rn(z, row.factor);
    const bool past = FirstIdOfLane(block) + i >= row.vocab;
    const bool dropped = past | (row.drops & (z == kDropped));
    values.y[i] = dropped ? kDropped : y;
    values.fault |= !dropped & !(fabsf(y) < kLogitLimit);
  }
  return values;
}

// numerics' q of y.
__device__ __forceinline__ uint64_t SoftmaxTermOf(float y, float minus_exponent) {
  return __float2ull_rz(__fmul_rn(Ex2(__fmaf_rn(y, kLog2E, minus_exponent)), 0x1p44f));
}

// S_b of a warp's values, which are not above the exponent's.
__device__ __forceinline__ uint64_t SumOfTerms(const LaneValues& values, int32_t exponent) {
  const float minus_exponent = -static_cast<float>(exponent);
  uint64_t sum = 0;
#pragma unroll
  for (int i = 0; i < kLaneIds; ++i) sum += SoftmaxTermOf(values.y[i], minus_exponent);
  // Below 2^48 a lane: two parts whose sums over 32 lanes fit a word.
  const unsigned low = __reduce_add_sync(kAllLanes, static_cast<unsigned>(sum) & 0x3ffffffu);
  const unsigned high = __reduce_add_sync(kAllLanes, static_cast<unsigned>(sum >> 26));
  return (uint64_t{high} << 26) + low;
}

__device__ __forceinline__ float LargestOfWarp(const LaneValues& values) {
  float largest = values.y[0];
#pragma unroll
  for (int i = 1; i < kLaneIds; ++i) largest = fmaxf(largest, values.y[i]);
  return ValueOfOrderKey(__reduce_max_sync(kAllLanes, OrderKey(largest)));
}

// M_b's value and S_b; in every lane.
struct BlockSum {
  float max = kDropped;
  uint64_t sum = 0;
};
__device__ __forceinline__ BlockSum SumBlock(const LaneValues& values) {
  BlockSum block;
  block.max = LargestOfWarp(values);
  if (block.max != kDropped) block.sum = SumOfTerms(values, SoftmaxExponent(block.max));
  return block;
}
// Of all its ids; the maximum is NaN if one of them has a fault.
__device__ __forceinline__ BlockSum SumBlock(const ScaledLogits& row, int block,
                                             const LaneLogits& logits) {
  // Nearly every block is whole and has only usable values.
  LaneValues values = {};
  bool usable = FirstIdOfLane(block) + kLaneIds <= row.vocab;
#pragma unroll
  for (int i = 0; i < kLaneIds; ++i) {
    values.y[i] = __fmul_rn(logits.z[i], row.factor);
    usable &= fabsf(values.y[i]) < kLogitLimit;
  }
  if (!__all_sync(kAllLanes, usable)) {
    values = ValuesOf(row, block, logits);
    if (__any_sync(kAllLanes, values.fault)) return {FloatFromWord(kNanWord), 0};
  }
  return SumBlock(values);
}

// The sums of a row's blocks, in shared or device memory.
struct RowBlocks {
  float* max;      // [blocks]; kDropped for a block of nothing
  uint64_t* sums;  // [blocks]
};

// Blocks that a warp reads at once: 2 KB under way.
inline constexpr int kScanBlocks = 4;
inline constexpr int kScanThreads = 256;
// CTAs that scan a row.
inline unsigned NumScanCtas(int64_t vocab) {
  constexpr int64_t kBlocks = kScanBlocks * kScanThreads / kWarp;
  return static_cast<unsigned>((NumVocabBlocks(vocab) + kBlocks - 1) / kBlocks);
}

// SumBlock of the blocks of this CTA, blockIdx.y of NumScanCtas.
__device__ __forceinline__ void ScanBlocks(const ScaledLogits& row, const RowBlocks& out) {
  const int count = row.blocks();
  const int first =
      (static_cast<int>(blockIdx.y) * (kScanThreads / kWarp) + WarpIndex()) * kScanBlocks;
  int blocks[kScanBlocks];
#pragma unroll
  for (int i = 0; i < kScanBlocks; ++i) blocks[i] = min(first + i, count - 1);
  LaneLogits logits[kScanBlocks];
  LoadLogits(row, blocks, logits);
#pragma unroll
  for (int i = 0; i < kScanBlocks; ++i) {
    if (first + i >= count) return;
    const BlockSum block = SumBlock(row, first + i, logits[i]);
    if (Lane() != 0) continue;
    out.max[first + i] = block.max;
    out.sums[first + i] = block.sum;
  }
}

// The lowest id of a block whose logit has the property; in every lane. The block has one.
template <typename Property>
__device__ int FirstIdOfBlock(const ScaledLogits& row, int block, Property property) {
  const LaneLogits logits = LoadLogits(row, block);
  int id = INT32_MAX;
#pragma unroll
  for (int i = kLaneIds - 1; i >= 0; --i) {
    const bool exists = FirstIdOfLane(block) + i < row.vocab;
    if (exists && property(logits.z[i])) id = FirstIdOfLane(block) + i;
  }
  return __reduce_min_sync(kAllLanes, id);
}

// What SumBlock's results tell of a row; in every thread. All threads call it.
template <int kThreads>
__device__ LogitSums SumRow(const ScaledLogits& row, const RowBlocks& blocks) {
  LogitSums sums;
  const auto thread = static_cast<int>(threadIdx.x);
  uint32_t max_key = 0;
  int fault_block = INT32_MAX;
  for (int b = thread; b < row.blocks(); b += kThreads) {
    const float max = blocks.max[b];
    if (IsNanWord(WordFromFloat(max))) fault_block = min(fault_block, b);
    max_key = max_key > OrderKey(max) ? max_key : OrderKey(max);
  }
  fault_block = ReduceCta<kThreads, Min>(fault_block, INT32_MAX);
  max_key = ReduceCta<kThreads, Max>(max_key, 0u);
  if (fault_block != INT32_MAX) {
    sums.fault_id = FirstIdOfBlock(row, fault_block, [&](float z) {
      return !(row.drops && z == kDropped) && !(fabsf(__fmul_rn(z, row.factor)) < kLogitLimit);
    });
    sums.fault_value = __fmul_rn(row.z[sums.fault_id], row.factor);
    return sums;
  }
  const float max = ValueOfOrderKey(max_key);
  if (max == kDropped) return sums;
  sums.max = max;
  sums.exponent = SoftmaxExponent(max);
  uint64_t sum = 0;
  int max_block = INT32_MAX;
  for (int b = thread; b < row.blocks(); b += kThreads) {
    const float block_max = blocks.max[b];
    if (block_max == kDropped) continue;
    sum += BlockShare(blocks.sums[b], sums.exponent - SoftmaxExponent(block_max));
    if (block_max == max) max_block = min(max_block, b);
  }
  sums.sum = ReduceCta<kThreads, Sum>(sum, uint64_t{0});
  max_block = ReduceCta<kThreads, Min>(max_block, INT32_MAX);
  sums.argmax = FirstIdOfBlock(row, max_block, [&](float z) {
    // A dropped one times a factor of 0 is NaN.
    return __fmul_rn(z, row.factor) == max;
  });
  return sums;
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_LOGIT_BLOCKS_CUH_
