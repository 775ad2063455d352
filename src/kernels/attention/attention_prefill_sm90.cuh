// Sequences with many query rows, head_dim 64 and 128: a block takes 128 rows of one KV head, 64
// for each of two consumer warpgroups (FlashAttention-3, Shah et al. 2024). Scores and values are
// wgmma m64nNk16, whose accumulators have the layout of mma.sync.
//
// The tensor cores have two products of a warpgroup at once: while P of a tile is multiplied with V
// the scores of the next one are computed, and their softmax runs beside that product. For this the
// registers hold scores, P and the O of one segment; the fold of earlier segments waits in shared
// memory.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_SM90_CUH_

#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention_queries_sm90.cuh"
#include "kernels/attention/attention_ring_sm90.cuh"
#include "kernels/sm90/wgmma.cuh"

namespace vexact::sm90 {

// Of a thread's fragments of O, those whose fold stays in registers: what fits beside the rest (all
// in shared memory, 8192 tokens: 603 us; 4: 595; 6: 583; 8: 593).
template <int kHeadDim>
inline constexpr int kHeldFragments = kHeadDim == 128 ? 6 : 1;

template <int kHeadDim>
struct PrefillShared {
  // Of each warpgroup: runs of 64 columns, each [64][64], as wgmma reads an operand.
  alignas(1024) unsigned char q[2][kHeadDim / 64][kQueryRunBytes];
  // Of each consumer thread: O of the segments before the one in progress, but what it holds.
  float4 fold[kHeadDim / 8 - kHeldFragments<kHeadDim>][kConsumers];
};

// The consumer warps on prefill units.
template <typename Ring, typename Mask>
class PrefillConsumer {
 public:
  static constexpr int kHeadDim = Ring::kHeadDim;
  using Shared = PrefillShared<kHeadDim>;
  using Reader = RingReader<Ring>;
  using Place = typename Reader::Place;
  using Visible = VisibleRun<Mask::kFromStart>;

  __device__ PrefillConsumer(const AttentionParameters& p, Shared* shared,
                             PrefillBarriers* barriers, Reader* reader)
      : p_(p),
        parked_(shared->fold),
        reader_(reader),
        q_(HeldAddress(shared->q[Group()])),
        barriers_(HeldAddress(barriers)) {}

  __device__ __forceinline__ void RunUnit(const PrefillWork& unit) {
    const StepSequence& s = unit.rows.sequence;
    const int32_t row0 = unit.rows.begin + static_cast<int32_t>(Group()) * kGroupRows;
    // Tiles of the group: none of a group without rows.
    const bool has_rows = row0 < unit.rows.end;
    const int32_t last_row = unit.rows.end - 1;
    const int32_t first_tile = has_rows ? FirstTileOfRow<Mask>(p_, s, row0) : unit.tile_end;
    const int32_t tile_end =
        has_rows ? TileEndOfRow<Mask>(p_, s, min(row0 + kGroupRows - 1, last_row)) : unit.tile_end;
    const int32_t warp_row = row0 + WarpIndex() % 4 * kWarpRows;
    to_all_ = VisibleToAll<Mask>(p_, s, unit.rows.begin, unit.rows.end);
    visible0_ = VisibleOfRow<Mask>(p_, s, min(warp_row + Lane() / 4, last_row));
    visible1_ = VisibleOfRow<Mask>(p_, s, min(warp_row + Lane() / 4 + 8, last_row));
    for (int32_t tile = unit.first_tile; tile < first_tile; ++tile) PassTile(tile);
    if (has_rows) RunTiles(first_tile, tile_end);
    for (int32_t tile = tile_end; tile < unit.tile_end; ++tile) PassTile(tile);
    if (warp_row < unit.rows.end) Store(s, {unit.kv_head, warp_row, unit.rows.end});
  }

 private:
  static constexpr int kHalfBytes = kAttentionTile * 128;  // 64 columns of a tile
  static constexpr int kHeld = kHeldFragments<kHeadDim>;

  static __device__ __forceinline__ uint32_t Group() { return threadIdx.x / (4 * kWarp); }

  // The group's tiles; then state_.o and fold_ hold the rows' whole fold.
  __device__ __forceinline__ void RunTiles(int32_t first_tile, int32_t tile_end) {
    float s[16][4];
    uint32_t p[kTileChunks][4];
    float rescale[2];
    FoldScales scales[2];
    fold_[0] = fold_[1] = {-INFINITY, 0.0f};
    state_.ClearSums();
    WaitBarrier(barriers_ + offsetof(PrefillBarriers, full) + 8 * Group(), q_round_);
    q_round_ ^= 1;
    Place keys = reader_->Take();
    IssueScores(reader_->Await(keys), s);
    WgmmaWait();
    HoldRegisters(s);
    reader_->Release(keys);
    if (first_tile + 1 == tile_end) ReleaseQueries();
    Softmax(first_tile, s, rescale);
    RoundTile(s, p);
    bool begins = true;  // `tile` begins a segment
    int ended = 0;       // segments
    for (int32_t tile = first_tile; tile + 1 < tile_end; ++tile) {
      const Place values = reader_->Take();
      keys = reader_->Take();
      const uint32_t values_stage = AwaitValues(values, tile);
      IssueScores(reader_->Await(keys), s);
      PrepareO(begins, ended, rescale, scales);
      IssueValues(values_stage, p, !begins);
      WgmmaWait<1>();
      HoldRegisters(s);
      reader_->Release(keys);
      if (tile + 2 == tile_end) ReleaseQueries();
      begins = (tile + 1) % kSegmentTiles == 0;
      if (begins) {
        EndSegment(tile / kSegmentTiles, scales);
        ++ended;
      }
      Softmax(tile + 1, s, rescale);
      WgmmaWait();
      HoldRegisters(state_.o);
      HoldRegisters(p);
      reader_->Release(values);
      RoundTile(s, p);
    }
    const Place values = reader_->Take();
    PrepareO(begins, ended, rescale, scales);
    IssueValues(AwaitValues(values, tile_end - 1), p, !begins);
    WgmmaWait();
    HoldRegisters(state_.o);
    HoldRegisters(p);
    reader_->Release(values);
    EndSegment((tile_end - 1) / kSegmentTiles, scales);
    if (ended > 0) FoldParked(scales);
  }

  // A tile of which the group sees nothing.
  __device__ __forceinline__ void PassTile(int32_t tile) {
    const Place keys = reader_->Take();
    reader_->Await(keys);
    reader_->Release(keys);
    const Place values = reader_->Take();
    AwaitValues(values, tile);
    reader_->Release(values);
  }

  // The unit's scores are computed: its queries are no longer read.
  __device__ __forceinline__ void ReleaseQueries() const {
    __syncwarp();
    if (Lane() == 0) Arrive(barriers_ + offsetof(PrefillBarriers, empty) + 8 * Group());
  }

  __device__ __forceinline__ void Softmax(int32_t tile, float (&s)[16][4], float (&rescale)[2]) {
    const int32_t start = tile * kAttentionTile;
    state_.Softmax(s, {visible0_.From(start), visible1_.From(start)}, p_.scale, rescale);
  }

  __device__ __forceinline__ void IssueScores(uint32_t keys, float (&s)[16][4]) const {
    const WgmmaOperands q(Uniform(q_), 16, 1024);
    const WgmmaOperands k_rows(Uniform(keys), 16, 1024);
    HoldRegisters(s);
    WgmmaFence();
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      const uint32_t column = k % 4 * 32;  // bytes
      WgmmaStep(s, q.At(k / 4 * kQueryRunBytes + column), k_rows.At(k / 4 * kHalfBytes + column),
                k > 0);
    }
    WgmmaCommit();
  }

  // Before P V of a tile is added. Where the tile begins a segment, what O holds of the one before
  // joins the fold.
  __device__ __forceinline__ void PrepareO(bool begins, int ended, const float (&rescale)[2],
                                           const FoldScales (&scales)[2]) {
    if (!begins) {
      state_.Multiply(rescale);
    } else if (ended > 0) {
      if (ended > 1) FoldParked(scales);
      Park();
    }
  }

  __device__ __forceinline__ void IssueValues(uint32_t values, uint32_t (&p)[kTileChunks][4],
                                              bool accumulate) {
    const WgmmaOperands v_rows(Uniform(values), kHalfBytes, 1024);
    HoldRegisters(state_.o);
    HoldRegisters(p);
    WgmmaFence();
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      WgmmaStep(state_.o, p[i], v_rows.At(i * kChunk * 128), accumulate || i > 0);
    }
    WgmmaCommit();
  }

  // Where not all rows of the block see all of the tile both groups meet, and values that are not
  // finite become zeros.
  __device__ __forceinline__ uint32_t AwaitValues(const Place& place, int32_t tile) {
    const uint32_t values = reader_->Await(place);
    const int32_t start = tile * kAttentionTile;
    if (!to_all_.SeesAll(start, start + kAttentionTile)) [[unlikely]] {
      ZeroUnseen(values);
      FenceAsyncProxy();
      MeetOnValues();
    }
    return values;
  }

  // Not by a named barrier: the groups come from different places of this code, and
  // compute-sanitizer takes one barrier's instructions for as many meetings.
  __device__ __forceinline__ void MeetOnValues() {
    const uint32_t finite = barriers_ + static_cast<uint32_t>(offsetof(PrefillBarriers, finite));
    Arrive(finite);
    WaitBarrier(finite, values_round_);
    values_round_ ^= 1;
  }

  // A thread's pieces of 16 bytes lie 32 rows apart.
  static __device__ __forceinline__ void ZeroUnseen(uint32_t values) {
    constexpr int kPieces = kHeadDim / 64 * kHalfBytes / 16 / kConsumers;
    auto* pieces = static_cast<uint4*>(__cvta_shared_to_generic(values)) + threadIdx.x;
    bool finite = true;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) finite = finite && AllFinite(pieces[i * kConsumers]);
    if (finite) return;
    for (int i = 0; i < kPieces; ++i) {
      ZeroNotFinite(reinterpret_cast<unsigned char*>(pieces + i * kConsumers));
    }
  }

  // y of the warp's rows, by way of its parked O: written as whole rows, not 16 bytes of each.
  __device__ __forceinline__ void Store(const StepSequence& s, const WarpRows& rows) {
    if (!IsWide(p_.y)) return StoreAnswers<kHeadDim>(p_, s, rows, state_.o, fold_);
    constexpr int kPieces = kHeadDim / 8;     // of a row, 16 bytes each
    constexpr int kAtOnce = kWarp / kPieces;  // rows
    const float reciprocals[2] = {__frcp_rn(fold_[0].l), __frcp_rn(fold_[1].l)};
    __syncwarp();  // the parked O has been read
#pragma unroll
    for (int j = 0; j < kPieces; j += 2) {
      uint32_t pairs[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&o)[4] = state_.o[j + i / 2];
        pairs[i] = PackBf16(__fmul_rn(o[i % 2 * 2], reciprocals[i % 2]),
                            __fmul_rn(o[i % 2 * 2 + 1], reciprocals[i % 2]));
      }
      StoreMatrices(AnswerPiece(Lane() % 16, j + Lane() / 16), pairs);
    }
    __syncwarp();
    bf16* own =
        p_.y.data + PackedRowOffset(p_, s, rows.kv_head, min(rows.row0 + Lane() % 16, rows.end - 1),
                                    kHeadDim, p_.y.stride);
    const int piece = Lane() % kPieces;
#pragma unroll
    for (int i = 0; i < kWarpRows / kAtOnce; ++i) {
      const int row = i * kAtOnce + Lane() / kPieces;
      const uint4 x = *static_cast<const uint4*>(__cvta_shared_to_generic(AnswerPiece(row, piece)));
      bf16* to = RowOfLane(own, row) + piece * 8;
      if (rows.row0 + row < rows.end) *reinterpret_cast<uint4*>(to) = x;
    }
    __syncwarp();  // before O is parked there again
  }
  // 16 bytes of a row of the warp's answers. The warp's lanes have 512 bytes of each parked
  // fragment; the pieces of 8 rows lie in different banks.
  __device__ __forceinline__ uint32_t AnswerPiece(int row, int piece) const {
    constexpr int kRowBytes = kHeadDim * 2;
    const int byte = row * kRowBytes + (piece ^ row % 8) * 16;
    return SharedAddress(&parked_[byte / 512][WarpIndex() * kWarp]) +
           static_cast<uint32_t>(byte % 512);
  }

  // The segment's M and l join the fold's; its O is to join by `scales`.
  __device__ __forceinline__ void EndSegment(int32_t segment, FoldScales (&scales)[2]) {
    const int32_t start = segment * kAttentionSegment;
    const int32_t end = start + kAttentionSegment;
    scales[0] = FoldRow(state_.sum[0], visible0_.SeesAny(start, end), &fold_[0]);
    scales[1] = FoldRow(state_.sum[1], visible1_.SeesAny(start, end), &fold_[1]);
    state_.ClearSums();
  }

  __device__ __forceinline__ void FoldParked(const FoldScales (&scales)[2]) {
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      const float4 before = j < kHeld ? held_[j] : parked_[j - kHeld][threadIdx.x];
      state_.o[j][0] = FoldValue(before.x, state_.o[j][0], scales[0]);
      state_.o[j][1] = FoldValue(before.y, state_.o[j][1], scales[0]);
      state_.o[j][2] = FoldValue(before.z, state_.o[j][2], scales[1]);
      state_.o[j][3] = FoldValue(before.w, state_.o[j][3], scales[1]);
    }
  }
  __device__ __forceinline__ void Park() {
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      (j < kHeld ? held_[j] : parked_[j - kHeld][threadIdx.x]) = {state_.o[j][0], state_.o[j][1],
                                                                  state_.o[j][2], state_.o[j][3]};
    }
  }

  // The same in all lanes, which the compiler then knows and computes operands for the warp as a
  // whole (ten prompts of 205 tokens 26 us instead of 24 without; at head_dim 64 it costs 7 %).
  static __device__ __forceinline__ uint32_t Uniform(uint32_t x) {
    return kHeadDim == 128 ? __shfl_sync(kAllLanes, x, 0) : x;
  }

  const AttentionParameters& p_;
  float4 (*parked_)[kConsumers];
  Reader* reader_;
  uint32_t q_;  // the group's queries
  uint32_t barriers_;
  uint32_t q_round_ = 0;
  uint32_t values_round_ = 0;
  Visible to_all_;    // of the unit's rows
  Visible visible0_;  // to rows g and g + 8 of the warp
  Visible visible1_;
  SegmentState<kHeadDim> state_;
  RowSum fold_[2];
  float4 held_[kHeld];
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_SM90_CUH_
