// Sequences with many query rows, head_dim 64 and 128: a block takes 128 rows of one KV head, 64
// for each of two consumer warpgroups (FlashAttention-3, Shah et al. 2024). Scores and values are
// wgmma m64nNk16, whose accumulators have the layout of mma.sync.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_SM90_CUH_

#include <cstdint>

#include "kernels/attention/attention_ring_sm90.cuh"
#include "kernels/sm90/wgmma.cuh"

namespace vexact::sm90 {

template <int kHeadDim>
struct PrefillShared {
  // Of each warpgroup: runs of 64 columns, each [64][64], as wgmma reads an operand.
  alignas(1024) unsigned char q[2][kHeadDim / 64][64 * 128];
};

// The consumer warps on prefill units.
template <int kHeadDim, typename Mask>
class PrefillConsumer {
 public:
  using Shared = PrefillShared<kHeadDim>;
  using Visible = VisibleRun<Mask::kFromStart>;

  __device__ PrefillConsumer(const AttentionParameters& p, Shared* shared,
                             RingReader<kHeadDim>* reader)
      : p_(p), shared_(shared), reader_(reader) {}

  __device__ __forceinline__ void RunUnit(const PrefillWork& unit) {
    const int32_t row0 = unit.rows.begin + Group() * 64;
    // Tiles of the group: none of a group without rows.
    const bool has_rows = row0 < unit.rows.end;
    const int32_t first_tile = has_rows ? FirstTileOfRow<Mask>(p_, unit.s, row0) : 0;
    const int32_t tile_end =
        has_rows ? TileEndOfRow<Mask>(p_, unit.s, min(row0 + 64, unit.rows.end) - 1) : 0;
    const Visible to_all = VisibleToAll<Mask>(p_, unit.s, unit.rows.begin, unit.rows.end);
    const int32_t warp_row = row0 + WarpIndex() % 4 * kWarpRows;
    const int32_t row = min(warp_row + Lane() / 4, unit.rows.end - 1);
    const int32_t row8 = min(warp_row + Lane() / 4 + 8, unit.rows.end - 1);
    const Visible visible0 = VisibleOfRow<Mask>(p_, unit.s, row);
    const Visible visible1 = VisibleOfRow<Mask>(p_, unit.s, row8);
    CopyQueries(unit, row0);
    state_.Clear();
    fold_.Clear();
    bool begins = true;  // the next tile, a segment: its O is set and not added to
    for (int32_t tile = unit.first_tile; tile < unit.tile_end; ++tile) {
      const int32_t start = tile * kAttentionTile;
      const bool seen = (Mask::kFromStart || tile >= first_tile) && tile < tile_end;
      RunTile(seen, !to_all.SeesAll(start, start + kAttentionTile), begins, visible0.From(start),
              visible1.From(start));
      if (!seen) continue;
      begins = tile + 1 == tile_end || (tile + 1) % kSegmentTiles == 0;
      if (begins) {
        FoldSegment(tile / kSegmentTiles, visible0, visible1);
        state_.ClearSums();
      }
    }
    if (warp_row < unit.rows.end) {
      StoreAnswers<kHeadDim>(p_, unit.s, {unit.kv_head, warp_row, unit.rows.end}, fold_.o,
                             fold_.sum);
    }
  }

 private:
  static constexpr int kHalfBytes = kAttentionTile * 128;  // 64 columns of a tile

  static __device__ __forceinline__ int Group() { return WarpIndex() / 4; }
  static __device__ __forceinline__ void MeetGroup() {
    asm volatile("bar.sync %0, 128;" ::"r"(2 + Group()) : "memory");
  }
  // The group's 64 rows to shared memory; rows that are not there become zeros.
  __device__ __forceinline__ void CopyQueries(const PrefillWork& unit, int32_t row0) const {
    const bool aligned =
        (reinterpret_cast<uintptr_t>(p_.q.data) | static_cast<uintptr_t>(p_.q.stride * 2)) % 16 ==
        0;
    MeetGroup();                                // the last unit's queries are no longer read
    constexpr int kPieces = kHeadDim / 8;       // of a row
    constexpr int kRows = 4 * kWarp / kPieces;  // at a time
#pragma unroll
    for (int i = 0; i < 64 / kRows; ++i) {
      const int row = i * kRows + static_cast<int>(threadIdx.x) % (4 * kWarp) / kPieces;
      const int piece = static_cast<int>(threadIdx.x) % kPieces;
      const int32_t r = min(row0 + row, unit.rows.end - 1);
      const bf16* from = p_.q.data + piece * 8 +
                         PackedRowOffset(p_, unit.s, unit.kv_head, r, kHeadDim, p_.q.stride);
      uint4 value = {};
      if (row0 + row < unit.rows.end) {
        value = aligned ? *reinterpret_cast<const uint4*>(from)
                        : uint4{LoadPair(from, p_.q_words), LoadPair(from + 2, p_.q_words),
                                LoadPair(from + 4, p_.q_words), LoadPair(from + 6, p_.q_words)};
      }
      const int at = row * 128 + (piece % 8 ^ row % 8) * 16;
      *reinterpret_cast<uint4*>(&shared_->q[Group()][piece / 8][at]) = value;
    }
    FenceAsyncProxy();
    MeetGroup();
  }

  // seen: by a row of the group; unseen: not all rows of the block see all of the tile; begins: a
  // segment.
  __device__ __forceinline__ void RunTile(bool seen, bool unseen, bool begins,
                                          const Visible& visible0, const Visible& visible1) {
    uint32_t probabilities[kTileChunks][4];
    const unsigned char* keys = reader_->Await();
    if (seen) {
      float s[16][4] = {};
      ComputeScores(keys, s);
      reader_->Release();
      float rescale[2];
      state_.Softmax(s, visible0, visible1, p_.scale, probabilities, rescale);
      if (!begins) state_.Multiply(rescale);
    } else {
      reader_->Release();
    }
    unsigned char* values = reader_->Await();
    if (unseen) ZeroUnseen(values);
    if (seen) AddValues(values, probabilities, !begins);
    reader_->Release();
  }

  __device__ __forceinline__ void ComputeScores(const unsigned char* keys,
                                                float (&s)[16][4]) const {
    const WgmmaOperands q(SharedAddress(shared_->q[Group()]), 16, 1024);
    const WgmmaOperands k_rows(SharedAddress(keys), 16, 1024);
    HoldRegisters(s);
    WgmmaFence();
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      const uint32_t column = k % 4 * 32;  // bytes
      WgmmaStep(s, q.At(k / 4 * 64 * 128 + column), k_rows.At(k / 4 * kHalfBytes + column), k > 0);
    }
    WgmmaCommit();
    WgmmaWait();
    HoldRegisters(s);
  }

  __device__ __forceinline__ void AddValues(const unsigned char* values,
                                            uint32_t (&probabilities)[kTileChunks][4],
                                            bool accumulate) {
    const WgmmaOperands v_rows(SharedAddress(values), kHalfBytes, 1024);
    HoldRegisters(state_.o);
    HoldRegisters(probabilities);
    WgmmaFence();
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      WgmmaStep(state_.o, probabilities[i], v_rows.At(i * kChunk * 128), accumulate || i > 0);
    }
    WgmmaCommit();
    WgmmaWait();
    HoldRegisters(state_.o);
    HoldRegisters(probabilities);
  }

  // Both groups together, on the values of the tile.
  static __device__ __forceinline__ void ZeroUnseen(unsigned char* values) {
    for (int i = static_cast<int>(threadIdx.x); i < kHeadDim / 64 * kHalfBytes / 16;
         i += kConsumers) {
      ZeroNotFinite(values + i * 16);
    }
    FenceAsyncProxy();
    MeetConsumers();
  }

  __device__ __forceinline__ void FoldSegment(int32_t segment, const Visible& visible0,
                                              const Visible& visible1) {
    const int32_t start = segment * kAttentionSegment;
    const int32_t end = start + kAttentionSegment;
    const FoldScales row0 = FoldRow(state_.sum[0], visible0.SeesAny(start, end), &fold_.sum[0]);
    const FoldScales row1 = FoldRow(state_.sum[1], visible1.SeesAny(start, end), &fold_.sum[1]);
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      fold_.o[j][0] = FoldValue(fold_.o[j][0], state_.o[j][0], row0);
      fold_.o[j][1] = FoldValue(fold_.o[j][1], state_.o[j][1], row0);
      fold_.o[j][2] = FoldValue(fold_.o[j][2], state_.o[j][2], row1);
      fold_.o[j][3] = FoldValue(fold_.o[j][3], state_.o[j][3], row1);
    }
  }

  const AttentionParameters& p_;
  Shared* shared_;
  RingReader<kHeadDim>* reader_;
  SegmentState<kHeadDim> state_;
  SegmentState<kHeadDim> fold_;
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_SM90_CUH_
