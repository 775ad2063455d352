// Sequences with many query rows and heads too narrow for wgmma's 128-byte swizzle (head_dim 16 and
// 32): a block takes 128 rows of one KV head (FlashAttention-2, Dao 2023), 16 a warp; tiles of K
// and V are shared by its warps, the next tile under way while one is computed.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_NARROW_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_NARROW_SM90_CUH_

#include <cstdint>

#include "kernels/attention/attention_parameters_sm90.cuh"

namespace vexact::sm90 {

template <int kHeadDim>
struct NarrowPrefillShared {
  using Tile = unsigned char[kTileChunks][KvChunk<kHeadDim>::kBytes];

  alignas(16) Tile kv[2][2];                          // [stage][K, V]
  float fold[kHeadDim / 8][kAttentionWarps * 32][4];  // each thread's fragments
  int32_t ticket;
};

template <int kHeadDim>
class NarrowPrefillBlock {
 public:
  using Shared = NarrowPrefillShared<kHeadDim>;

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
      RunUnit(p_.plan.prefill[ticket / heads], ticket % heads);
    }
  }

 private:
  __device__ __forceinline__ void RunUnit(const PrefillUnit& unit, int32_t kv_head) {
    s_ = ReadUnitSequence(p_, unit.sequence);
    kv_head_ = kv_head;
    const int32_t row0 = unit.begin + static_cast<int32_t>(threadIdx.x / 32) * kWarpRows;
    first_position_ = s_.Position(unit.begin / p_.group);
    const int32_t tiles = s_.Position((unit.end - 1) / p_.group) / kAttentionTile + 1;
    // Of the warp's last row; -1 of a warp without rows.
    const int32_t warp_position =
        row0 < unit.end ? s_.Position((min(row0 + kWarpRows, unit.end) - 1) / p_.group) : -1;
    const int32_t warp_tiles = warp_position / kAttentionTile + (warp_position >= 0 ? 1 : 0);
    const int32_t row = row0 + static_cast<int32_t>(threadIdx.x % 32) / 4;
    const int32_t position0 = s_.Position(min(row, unit.end - 1) / p_.group);
    const int32_t position1 = s_.Position(min(row + 8, unit.end - 1) / p_.group);

    CopyTile(0, 0);
    uint32_t q[kHeadDim / 16][4] = {};
    if (warp_tiles > 0) LoadQueries<kHeadDim>(p_, s_, {kv_head_, row0, unit.end}, q);
    RowSum fold[2] = {{-INFINITY, 0.0f}, {-INFINITY, 0.0f}};
    state_.Clear();
    for (int32_t tile = 0; tile < tiles; ++tile) {
      const int stage = tile % 2;
      WaitCopies<0>();
      if ((tile + 1) * kAttentionTile > first_position_ + 1) ZeroUnseen(stage);
      __syncthreads();  // this tile is there; the other stage is no longer read
      if (tile + 1 < tiles) CopyTile(tile + 1, 1 - stage);
      if (tile >= warp_tiles) continue;
      RunTile(tile, stage, q, position0, position1);
      if (tile + 1 == warp_tiles || (tile + 1) % kSegmentTiles == 0) {
        const int32_t segment = tile / kSegmentTiles;
        FoldSegment(segment, tile + 1 == warp_tiles, position0, position1, fold);
        if (tile + 1 < warp_tiles) state_.Clear();
      }
    }
    if (warp_tiles > 0) {
      StoreAnswers<kHeadDim>(p_, s_, {kv_head_, row0, unit.end}, state_.o, fold);
    }
  }

  // Positions that the sequence does not have become zeros.
  __device__ __forceinline__ void CopyTile(int32_t tile, int stage) {
    using Chunk = KvChunk<kHeadDim>;
    constexpr int kPieces = Chunk::kRunPieces;
    const auto thread = static_cast<int32_t>(threadIdx.x);
    const uint32_t to = SharedAddress(shared_->kv[stage]);
#pragma unroll
    for (int i = 0; i < kTile16 / kThreads; ++i) {
      const int32_t row = (i * kThreads + thread) / kPieces;
      const int32_t piece = (i * kThreads + thread) % kPieces;
      const int32_t position = tile * kAttentionTile + row;
      const bool there = position < s_.context;
      const int32_t block = there ? s_.blocks[position >> p_.block_shift] : 0;
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

  __device__ __forceinline__ void RunTile(int32_t tile, int stage,
                                          const uint32_t (&q)[kHeadDim / 16][4], int32_t position0,
                                          int32_t position1) {
    const uint32_t keys = SharedAddress(shared_->kv[stage][0]);
    const uint32_t values = SharedAddress(shared_->kv[stage][1]);
    const int32_t start = tile * kAttentionTile;
    float s[16][4];
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      ScoreChunk<kHeadDim>(s[2 * i], s[2 * i + 1], q, keys + i * KvChunk<kHeadDim>::kBytes);
    }
    uint32_t probabilities[kTileChunks][4];
    state_.Softmax(s, position0 + 1 - start, position1 + 1 - start, p_.scale, probabilities);
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      ValueChunk<kHeadDim>(state_.o, probabilities[i], values + i * KvChunk<kHeadDim>::kBytes);
    }
  }

  // The fold so far waits in shared memory; after the last segment it is in state_.o.
  __device__ __forceinline__ void FoldSegment(int32_t segment, bool last, int32_t position0,
                                              int32_t position1, RowSum (&fold)[2]) {
    const int32_t start = segment * kSegmentTiles * kAttentionTile;
    const FoldScales row0 = FoldRow(state_.sum[0], position0 >= start, &fold[0]);
    const FoldScales row1 = FoldRow(state_.sum[1], position1 >= start, &fold[1]);
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      auto* parked = reinterpret_cast<float4*>(shared_->fold[j][threadIdx.x]);
      if (segment > 0) {
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
  UnitSequence s_;
  int32_t kv_head_ = 0;
  int32_t first_position_ = 0;
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_NARROW_SM90_CUH_
