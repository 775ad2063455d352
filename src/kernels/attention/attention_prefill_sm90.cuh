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
template <int kHeadDim>
class PrefillConsumer {
 public:
  using Shared = PrefillShared<kHeadDim>;

  __device__ PrefillConsumer(const AttentionParameters& p, Shared* shared,
                             RingReader<kHeadDim>* reader)
      : p_(p), shared_(shared), reader_(reader) {}

  __device__ __forceinline__ void RunUnit(const PrefillWork& unit) {
    const int32_t row0 = unit.rows.begin + Group() * 64;
    const int32_t last =
        row0 < unit.rows.end ? unit.s.Position((min(row0 + 64, unit.rows.end) - 1) / p_.group) : -1;
    const int32_t tiles = last / kAttentionTile + (last >= 0 ? 1 : 0);  // of the group
    const int32_t first_position = unit.s.Position(unit.rows.begin / p_.group);
    const int32_t warp_row = row0 + WarpIndex() % 4 * kWarpRows;
    const int32_t row = min(warp_row + Lane() / 4, unit.rows.end - 1);
    const int32_t row8 = min(warp_row + Lane() / 4 + 8, unit.rows.end - 1);
    const int32_t position0 = unit.s.Position(row / p_.group);
    const int32_t position1 = unit.s.Position(row8 / p_.group);
    CopyQueries(unit, row0);
    state_.Clear();
    fold_.Clear();
    for (int32_t tile = 0; tile < unit.tiles; ++tile) {
      const bool unseen = (tile + 1) * kAttentionTile > first_position + 1;
      RunTile(tile, tile < tiles, unseen, position0, position1);
      if (tile < tiles && (tile + 1 == tiles || (tile + 1) % kSegmentTiles == 0)) {
        FoldSegment(tile / kSegmentTiles, position0, position1);
        state_.Clear();
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

  // unseen: not all rows of the block see all of the tile.
  __device__ __forceinline__ void RunTile(int32_t tile, bool seen, bool unseen, int32_t position0,
                                          int32_t position1) {
    const int32_t start = tile * kAttentionTile;
    uint32_t probabilities[kTileChunks][4];
    const unsigned char* keys = reader_->Await();
    if (seen) {
      float s[16][4] = {};
      ComputeScores(keys, s);
      reader_->Release();
      state_.Softmax(s, position0 + 1 - start, position1 + 1 - start, p_.scale, probabilities);
    } else {
      reader_->Release();
    }
    unsigned char* values = reader_->Await();
    if (unseen) ZeroUnseen(values);
    if (seen) AddValues(values, probabilities);
    reader_->Release();
  }

  __device__ __forceinline__ void ComputeScores(const unsigned char* keys,
                                                float (&s)[16][4]) const {
    const uint32_t q = SharedAddress(shared_->q[Group()]);
    const uint32_t k_rows = SharedAddress(keys);
    HoldRegisters(s);
    WgmmaFence();
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      const uint32_t column = k % 4 * 32;  // bytes
      WgmmaStep(s, WgmmaOperand(q + k / 4 * 64 * 128 + column, 16, 1024),
                WgmmaOperand(k_rows + k / 4 * kHalfBytes + column, 16, 1024), k > 0);
    }
    WgmmaCommit();
    WgmmaWait();
    HoldRegisters(s);
  }

  __device__ __forceinline__ void AddValues(const unsigned char* values,
                                            uint32_t (&probabilities)[kTileChunks][4]) {
    const uint32_t v_rows = SharedAddress(values);
    HoldRegisters(state_.o);
    HoldRegisters(probabilities);
    WgmmaFence();
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      WgmmaStep(state_.o, probabilities[i],
                WgmmaOperand(v_rows + i * kChunk * 128, kHalfBytes, 1024));
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

  __device__ __forceinline__ void FoldSegment(int32_t segment, int32_t position0,
                                              int32_t position1) {
    const int32_t start = segment * kAttentionSegment;
    const FoldScales row0 = FoldRow(state_.sum[0], position0 >= start, &fold_.sum[0]);
    const FoldScales row1 = FoldRow(state_.sum[1], position1 >= start, &fold_.sum[1]);
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
