// What the attention kernels are launched with, and how it reads queries and writes answers.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_PARAMETERS_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_PARAMETERS_SM90_CUH_

#include <cuda.h>

#include <bit>
#include <cstdint>

#include "base/check.h"
#include "kernels/attention/attention_plan_sm90.h"
#include "kernels/attention/attention_tile_sm90.cuh"
#include "kernels/sm90/async_copy.cuh"
#include "kernels/sm90/chunks.cuh"
#include "numerics/constants.h"

namespace vexact::sm90 {

struct AttentionParameters {
  // The pool as boxes of 16 positions of one head: all columns, and a run of up to 64. Only where
  // the copy engine copies (attention_ring_sm90.cuh).
  CUtensorMap chunks;
  CUtensorMap chunk_runs;
  Rows<const bf16> q;
  Rows<bf16> y;
  bool q_words;  // q's rows are aligned to 4 bytes
  bool y_words;
  PagedKv kv;
  int32_t block_shift;  // log2 of the block size
  PagedSequences sequences;
  AttentionPlanView plan;
  int32_t num_heads;
  int32_t group;              // query heads of a KV head
  uint32_t group_reciprocal;  // of 2^31, the next integer
  float scale;                // AttentionScale(head_dim)
};

inline bool RowsAreWords(const bf16* data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 4 == 0 && stride % 2 == 0;
}

// All but the maps.
inline AttentionParameters ParametersOf(const AttentionArgs& args, int64_t head_dim) {
  VX_CHECK(args.plan != nullptr, "a plan");
  const AttentionLimits& limits = args.plan->limits;
  VX_CHECK(args.num_heads == limits.num_heads && args.kv.num_kv_heads == limits.num_kv_heads &&
               args.kv.head_dim == head_dim && limits.head_dim == head_dim,
           "the plan's heads");
  VX_CHECK(reinterpret_cast<uintptr_t>(args.kv.pool) % 16 == 0 && args.kv.block_stride % 8 == 0,
           "blocks aligned to 16 bytes");
  VX_CHECK(args.kv.block_size >= kChunk &&
               std::has_single_bit(static_cast<uint64_t>(args.kv.block_size)),
           "blocks of 16, 32 or 64");
  const auto group = static_cast<int32_t>(args.num_heads / args.kv.num_kv_heads);
  VX_CHECK(limits.max_tokens * group * group < int64_t{1} << 31, "rows that TokenOfRow can divide");
  size_t bytes = 0;
  const AttentionPlanView plan = ViewPlan(limits, args.plan->storage.data(), &bytes);
  return {{},
          {},
          args.q,
          args.y,
          RowsAreWords(args.q.data, args.q.stride),
          RowsAreWords(args.y.data, args.y.stride),
          args.kv,
          static_cast<int32_t>(std::countr_zero(static_cast<uint64_t>(args.kv.block_size))),
          args.sequences,
          plan,
          static_cast<int32_t>(args.num_heads),
          group,
          (1u << 31) / static_cast<uint32_t>(group) + 1,
          AttentionScale(head_dim)};
}

// The token of packed row r: r / group, without a division.
__device__ __forceinline__ int32_t TokenOfRow(const AttentionParameters& p, int32_t r) {
  return static_cast<int32_t>(__umulhi(static_cast<uint32_t>(r) * 2, p.group_reciprocal));
}

// What packed row r of a sequence sees.
template <typename Mask>
__device__ __forceinline__ VisibleRun<Mask::kFromStart> VisibleOfRow(const AttentionParameters& p,
                                                                     const StepSequence& s,
                                                                     int32_t r) {
  const int32_t token = TokenOfRow(p, r);
  return VisibleOf(Mask(p.sequences.mask), s.Position(token), s.first_row + token);
}

// Positions that all of packed rows [begin, end) see.
template <typename Mask>
__device__ __forceinline__ VisibleRun<Mask::kFromStart> VisibleToAll(const AttentionParameters& p,
                                                                     const StepSequence& s,
                                                                     int32_t begin, int32_t end) {
  return {VisibleOfRow<Mask>(p, s, end - 1).begin, VisibleOfRow<Mask>(p, s, begin).end};
}

// The first of positions' tiles that packed row r sees, and the one behind the last.
template <typename Mask>
__device__ __forceinline__ int32_t FirstTileOfRow(const AttentionParameters& p,
                                                  const StepSequence& s, int32_t r) {
  return VisibleOfRow<Mask>(p, s, r).begin / kAttentionTile;
}
template <typename Mask>
__device__ __forceinline__ int32_t TileEndOfRow(const AttentionParameters& p, const StepSequence& s,
                                                int32_t r) {
  return (VisibleOfRow<Mask>(p, s, r).end + kAttentionTile - 1) / kAttentionTile;
}

// Element offset of packed row r of a KV head in rows of heads * head_dim of the given stride.
__device__ __forceinline__ int64_t PackedRowOffset(const AttentionParameters& p,
                                                   const StepSequence& s, int32_t kv_head,
                                                   int32_t r, int32_t head_dim, int64_t stride) {
  const int32_t token = TokenOfRow(p, r);
  const int32_t head = kv_head * p.group + r - token * p.group;
  return (s.first_row + token) * stride + head * head_dim;
}

__device__ __forceinline__ uint32_t LoadPair(const bf16* x, bool words) {
  if (words) return *reinterpret_cast<const uint32_t*>(x);
  return x[0].bits | static_cast<uint32_t>(x[1].bits) << 16;
}
__device__ __forceinline__ void StorePair(bf16* x, uint32_t pair, bool words) {
  if (words) {
    *reinterpret_cast<uint32_t*>(x) = pair;
  } else {
    x[0].bits = static_cast<uint16_t>(pair);
    x[1].bits = static_cast<uint16_t>(pair >> 16);
  }
}

// Packed rows row0 .. row0 + 15 of a KV head, a warp's; rows from `end` on are not there.
struct WarpRows {
  int32_t kv_head;
  int32_t row0;
  int32_t end;
};

// The fragments of a warp's rows; those that are not there are zeros.
template <int kHeadDim>
__device__ __forceinline__ void LoadQueries(const AttentionParameters& p, const StepSequence& s,
                                            const WarpRows& rows, uint32_t (&q)[kHeadDim / 16][4]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int32_t r = rows.row0 + lane / 4 + 8 * half;
    const bf16* row =
        p.q.data + PackedRowOffset(p, s, rows.kv_head, min(r, rows.end - 1), kHeadDim, p.q.stride);
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      const bf16* x = row + 16 * k + lane % 4 * 2;
      q[k][half] = r < rows.end ? LoadPair(x, p.q_words) : 0;
      q[k][2 + half] = r < rows.end ? LoadPair(x + 8, p.q_words) : 0;
    }
  }
}

// y of rows g and g + 8 of a warp's rows, from the whole fold.
template <int kHeadDim>
__device__ __forceinline__ void StoreAnswers(const AttentionParameters& p, const StepSequence& s,
                                             const WarpRows& rows,
                                             const float (&o)[kHeadDim / 8][4],
                                             const RowSum (&sum)[2]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int32_t r = rows.row0 + lane / 4 + 8 * half;
    if (r >= rows.end) continue;
    const float reciprocal = __frcp_rn(sum[half].l);
    bf16* row = p.y.data + PackedRowOffset(p, s, rows.kv_head, r, kHeadDim, p.y.stride);
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      const uint32_t pair = PackBf16(__fmul_rn(o[j][2 * half], reciprocal),
                                     __fmul_rn(o[j][2 * half + 1], reciprocal));
      StorePair(row + 8 * j + lane % 4 * 2, pair, p.y_words);
    }
  }
}

// Element offset of `position` of one head of K (part 0) or V (part 1), given its block.
template <int kHeadDim>
__device__ __forceinline__ int64_t KvOffset(const AttentionParameters& p, int32_t block, int part,
                                            int32_t kv_head, int32_t position) {
  const int64_t head = part * p.kv.num_kv_heads + kv_head;
  const int32_t slot = position & (static_cast<int32_t>(p.kv.block_size) - 1);
  return block * p.kv.block_stride + ((head << p.block_shift) + slot) * kHeadDim;
}

// Values that are not finite become 0, in a pair and in 16 bytes of shared memory. Of use where
// rows that are computed together do not all see a position: P is 0 there for some, and 0 times
// what is not finite is NaN.
__device__ __forceinline__ uint32_t ZeroNotFinite(uint32_t pair) {
  const uint32_t low = (pair & 0x7f80u) == 0x7f80u ? 0xffffu : 0u;
  const uint32_t high = (pair & 0x7f800000u) == 0x7f800000u ? 0xffff0000u : 0u;
  return pair & ~(low | high);
}
__device__ __forceinline__ bool AllFinite(const uint4& x) {
  const auto carry = [](uint32_t pair) { return (pair & 0x7f807f80u) + 0x00800080u; };
  return ((carry(x.x) | carry(x.y) | carry(x.z) | carry(x.w)) & 0x80008000u) == 0;
}
__device__ __forceinline__ void ZeroNotFinite(unsigned char* piece) {
  auto* words = reinterpret_cast<uint4*>(piece);
  const uint4 x = *words;
  const uint4 finite = {ZeroNotFinite(x.x), ZeroNotFinite(x.y), ZeroNotFinite(x.z),
                        ZeroNotFinite(x.w)};
  if (finite.x != x.x || finite.y != x.y || finite.z != x.z || finite.w != x.w) *words = finite;
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_PARAMETERS_SM90_CUH_
