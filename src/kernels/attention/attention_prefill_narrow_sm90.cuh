// Sequences with many query rows and heads too narrow for wgmma's 128-byte swizzle (head_dim 16 and
// 32): a block takes 128 rows of one KV head (FlashAttention-2, Dao 2023), 16 a warp; tiles of K
// and V are shared by its warps, the next tile under way while one is computed.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_NARROW_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_NARROW_SM90_CUH_

#include <cstdint>

#include "kernels/attention/attention_work_sm90.cuh"

namespace vexact::sm90 {

template <int kHeadDim>
struct NarrowPrefillShared {
  using Tile = unsigned char[kTileChunks][KvChunk<kHeadDim>::kBytes];

  alignas(16) Tile kv[2][2];                          // [stage][K, V]
  float fold[kHeadDim / 8][kAttentionWarps * 32][4];  // each thread's fragments
  int32_t ticket;
};

template <int kHeadDim, typename Mask>
class NarrowPrefillBlock {
 public:
  using Shared = NarrowPrefillShared<kHeadDim>;
  using Visible = VisibleRun<Mask::kFromStart>;

  __device__ NarrowPrefillBlock(const AttentionParameters& p, Shared* shared)
      : p_(p), shared_(shared) {}

  __device__ __forceinline__ void Run() {
    AttentionCounters* counters = p_.plan.counters;
    const auto heads = static_cast<int32_t>(p_.kv.num_kv_heads);
    const int32_t units = counters->prefill * heads;
    if (units == 0) return;
    for (;;) {
      __syncthreads();  // the last unit's shared memory, and its ticket, are no longer read
      if (threadIdx.x == 0) shared_->ticket = atomicAdd(&counters->taken, 1);
      __syncthreads();
      const int32_t ticket = shared_->ticket;
      if (ticket >= units) return;
      RunUnit(LoadPlanned(p_.plan.prefill + ticket / heads), ticket % heads);
    }
  }

 private:
  __device__ __forceinline__ void RunUnit(const PrefillUnit& unit, int32_t kv_head) {
    s_ = unit.sequence;
    kv_head_ = kv_head;
    const int32_t row0 = unit.begin + static_cast<int32_t>(threadIdx.x / 32) * kWarpRows;
    const Visible to_all = VisibleToAll<Mask>(p_, s_, unit.begin, unit.end);
    const int32_t first_tile = FirstTileOfRow<Mask>(p_, s_, unit.begin);
    const int32_t tile_end = TileEndOfRow<Mask>(p_, s_, unit.end - 1);
    // Tiles of the warp: none of a warp without rows.
    const bool has_rows = row0 < unit.end;
    const int32_t warp_first = has_rows ? FirstTileOfRow<Mask>(p_, s_, row0) : 0;
    const int32_t warp_end =
        has_rows ? TileEndOfRow<Mask>(p_, s_, min(row0 + kWarpRows, unit.end) - 1) : 0;
    const int32_t row = row0 + static_cast<int32_t>(threadIdx.x % 32) / 4;
    const Visible visible0 = VisibleOfRow<Mask>(p_, s_, min(row, unit.end - 1));
    const Visible visible1 = VisibleOfRow<Mask>(p_, s_, min(row + 8, unit.end - 1));

    CopyTile(first_tile, first_tile % 2);
    uint32_t q[kHeadDim / 16][4] = {};
    if (has_rows) LoadQueries<kHeadDim>(p_, s_, {kv_head_, row0, unit.end}, q);
    RowSum fold[2] = {{-INFINITY, 0.0f}, {-INFINITY, 0.0f}};
    state_.Clear();
    for (int32_t tile = first_tile; tile < tile_end; ++tile) {
      const int stage = tile % 2;
      const int32_t start = tile * kAttentionTile;
      WaitCopies<0>();
      if (!to_all.SeesAll(start, start + kAttentionTile)) ZeroUnseen(stage);
      __syncthreads();  // this tile is there; the other stage is no longer read
      if (tile + 1 < tile_end) CopyTile(tile + 1, 1 - stage);
      if (tile < warp_first || tile >= warp_end) continue;
      RunTile(stage, q, {visible0.From(start), visible1.From(start)});
      if (tile + 1 == warp_end || (tile + 1) % kSegmentTiles == 0) {
        const bool is_first = tile / kSegmentTiles == warp_first / kSegmentTiles;
        const int32_t segment = tile / kSegmentTiles * kAttentionSegment;
        FoldSegment(is_first, tile + 1 == warp_end, visible0.From(segment), visible1.From(segment),
                    fold);
        if (tile + 1 < warp_end) state_.Clear();
      }
    }
    if (has_rows) {
      StoreAnswers<kHeadDim>(p_, s_, {kv_head_, row0, unit.end}, state_.o, fold);
    }
  }

  // Positions that the sequence does not have become zeros.
  __device__ __forceinline__ void CopyTile(int32_t tile, int stage) {
    using Chunk = KvChunk<kHeadDim>;
    constexpr int kPieces = Chunk::kRunPieces;
    const auto thread = static_cast<int32_t>(threadIdx.x);
    const uint32_t to = SharedAddress(shared_->kv[stage]);
    const int32_t* blocks = p_.sequences.block_tables + s_.first_block;
#pragma unroll
    for (int i = 0; i < kTile16 / kThreads; ++i) {
      const int32_t row = (i * kThreads + thread) / kPieces;
      const int32_t piece = (i * kThreads + thread) % kPieces;
      const int32_t position = tile * kAttentionTile + row;
      const bool there = position < s_.context;
      const int32_t block = there ? blocks[position >> p_.block_shift] : 0;
      const uint32_t offset = Chunk::Offset(row, piece);
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        const bf16* from =
            p_.kv.pool + KvOffset<kHeadDim>(p_, block, part, kv_head_, position) + piece * 8;
        CopyAsync16(to + part * kTileBytes + offset, from, there ? 16 : 0);
      }
    }
    CommitCopies();
  }

  // Where not all rows of the block see all positions: on the pieces that this thread copied.
  __device__ __forceinline__ void ZeroUnseen(int stage) {
    using Chunk = KvChunk<kHeadDim>;
    unsigned char* values = &shared_->kv[stage][1][0][0];
    for (int i = static_cast<int>(threadIdx.x); i < kTile16; i += kThreads) {
      ZeroNotFinite(values + Chunk::Offset(i / Chunk::kRunPieces, i % Chunk::kRunPieces));
    }
  }

  __device__ __forceinline__ void RunTile(int stage, const uint32_t (&q)[kHeadDim / 16][4],
                                          const Visible (&visible)[2]) {
    const uint32_t keys = SharedAddress(shared_->kv[stage][0]);
    const uint32_t values = SharedAddress(shared_->kv[stage][1]);
    float s[16][4];
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      ScoreChunk<kHeadDim>(s[2 * i], s[2 * i + 1], q, keys + i * KvChunk<kHeadDim>::kBytes);
    }
    float rescale[2];
    state_.Softmax(s, visible, p_.scale, rescale);
    uint32_t probabilities[kTileChunks][4];
    RoundTile(s, probabilities);
    state_.Multiply(rescale);
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      ValueChunk<kHeadDim>(state_.o, probabilities[i], values + i * KvChunk<kHeadDim>::kBytes);
    }
  }

  // The fold so far waits in shared memory; after the last segment it is in state_.o. visible: from
  // the segment's start.
  __device__ __forceinline__ void FoldSegment(bool first, bool last, const Visible& visible0,
                                              const Visible& visible1, RowSum (&fold)[2]) {
    const FoldScales row0 =
        FoldRow(state_.sum[0], visible0.SeesAny(0, kAttentionSegment), &fold[0]);
    const FoldScales row1 =
        FoldRow(state_.sum[1], visible1.SeesAny(0, kAttentionSegment), &fold[1]);
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      auto* parked = reinterpret_cast<float4*>(shared_->fold[j][threadIdx.x]);
      if (!first) {
        const float4 before = *parked;
        state_.o[j][0] = FoldValue(before.x, state_.o[j][0], row0);
        state_.o[j][1] = FoldValue(before.y, state_.o[j][1], row0);
        state_.o[j][2] = FoldValue(before.z, state_.o[j][2], row1);
        state_.o[j][3] = FoldValue(before.w, state_.o[j][3], row1);
      }
      if (!last) *parked = {state_.o[j][0], state_.o[j][1], state_.o[j][2], state_.o[j][3]};
    }
  }

  static constexpr int kThreads = kAttentionWarps * 32;
  static constexpr int kTileBytes = kTileChunks * KvChunk<kHeadDim>::kBytes;
  static constexpr int kTile16 = kTileBytes / 16;

  const AttentionParameters& p_;
  Shared* shared_;
  SegmentState<kHeadDim> state_;
  StepSequence s_;
  int32_t kv_head_ = 0;
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_NARROW_SM90_CUH_
