// Sequences with many query rows: a block takes 128 rows of one KV head, 32 for each of four teams
// of two warps, which share the stream of keys and values.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_PREFILL_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_PREFILL_CUH_

#include <cstdint>

#include "kernels/attention/attention_cute_stream.cuh"

namespace vexact::portable {

inline constexpr int kBlockThreads = 256;

template <int kHeadDim, bool kCanonical>
class PrefillBlock {
 public:
  using Team = TeamShape<kHeadDim, 2, 2, kCanonical>;
  static constexpr int kTeams = kBlockThreads / Team::kThreads;
  static_assert(kTeams * Team::kRows == sm90::kPrefillRows);
  // 4 slots of 32 KB at head_dim 128, beside 64 KB of queries and P.
  using Stream = KvStream<PrefillTiles, kHeadDim, kBlockThreads, 4>;

  struct Shared {
    typename Stream::Shared stream;
    TeamShared<Team> teams[kTeams];
  };

  __device__ PrefillBlock(const sm90::AttentionParameters& p, Shared* shared)
      : p_(p),
        shared_(shared),
        team_(static_cast<int>(threadIdx.x) / Team::kThreads),
        warp_(&shared->teams[team_], sm90::WarpIndex() % Team::kWarps, 1 + team_) {}

  // The whole block, which has met since it read the last unit's shared memory.
  __device__ __forceinline__ void RunUnit(const sm90::PrefillWork& unit) {
    Stream stream(p_, &shared_->stream, {static_cast<int>(threadIdx.x), 0}, PrefillTiles(unit));
    const int32_t row0 = unit.rows.begin + team_ * Team::kRows;
    CopyQueries(unit, row0);
    int32_t last[Warp::kHeldRows];  // positions of the held rows: they see 0 .. last
#pragma unroll
    for (int i = 0; i < Warp::kHeldRows; ++i) {
      last[i] = unit.s.Position(min(row0 + Warp::Row(i), unit.rows.end - 1) / p_.group);
    }
    // Of the team's rows; a team without rows has no tiles.
    const int32_t team_end = min(row0 + Team::kRows, unit.rows.end);
    const int32_t least = unit.s.Position(min(row0, unit.rows.end - 1) / p_.group);
    const int32_t most = row0 < unit.rows.end ? unit.s.Position((team_end - 1) / p_.group) : -1;
    const int32_t tiles = (most + kAttentionTile) / kAttentionTile;
    state_.Clear();
    if constexpr (kCanonical) fold_.Clear();
    for (int32_t tile = 0; tile < unit.tile_end; ++tile) {
      const int32_t start = tile * kAttentionTile;
      const int present = min(kAttentionTile, most + 1 - start);
      auto* const keys = stream.Await();
      if (tile < tiles) {
        int visible[Warp::kHeldRows];
#pragma unroll
        for (int i = 0; i < Warp::kHeldRows; ++i) visible[i] = last[i] + 1 - start;
        warp_.ScoresToP(keys, visible, present, p_.scale, &state_, [&] { stream.CopyNext(); });
      } else {
        stream.CopyNext();
      }
      auto* const values = stream.Await();  // P is there for the team
      if (tile < tiles) {
        warp_.AddValues(values, present, least + 1 - start < present, &state_);
      }
      stream.CopyNext();
      if (tile >= tiles) continue;
      if (kCanonical && (tile + 1 == tiles || (tile + 1) % sm90::kSegmentTiles == 0)) {
        FoldSegment(tile / sm90::kSegmentTiles, last);
      }
    }
    Store(unit, row0, kCanonical ? fold_ : state_);
  }

 private:
  using Warp = TeamWarp<Team>;
  using State = typename Warp::State;

  // The team's rows to shared memory; those that are not there become zeros.
  __device__ __forceinline__ void CopyQueries(const sm90::PrefillWork& unit, int32_t row0) {
    constexpr int kPieces = kHeadDim / 8;
    const int thread = static_cast<int>(threadIdx.x) % Team::kThreads;
#pragma unroll
    for (int i = thread; i < Team::kRows * kPieces; i += Team::kThreads) {
      const int row = i / kPieces;
      const int piece = i % kPieces;
      uint4 value = {};
      if (row0 + row < unit.rows.end) {
        value = LoadPiece(
            p_.q.data + piece * 8 +
            sm90::PackedRowOffset(p_, unit.s, unit.kv_head, row0 + row, kHeadDim, p_.q.stride));
      }
      *reinterpret_cast<uint4*>(shared_->teams[team_].q.Piece(row, piece)) = value;
    }
  }
  __device__ __forceinline__ uint4 LoadPiece(const bf16* from) const {
    return {sm90::LoadPair(from, p_.q_words), sm90::LoadPair(from + 2, p_.q_words),
            sm90::LoadPair(from + 4, p_.q_words), sm90::LoadPair(from + 6, p_.q_words)};
  }

  __device__ __forceinline__ void FoldSegment(int32_t segment,
                                              const int32_t (&last)[Warp::kHeldRows]) {
#pragma unroll
    for (int i = 0; i < Warp::kHeldRows; ++i) {
      const bool sees = last[i] >= segment * kAttentionSegment;
      const sm90::FoldScales scales = sm90::FoldRow(state_.sum[i], sees, &fold_.sum[i]);
#pragma unroll
      for (int n = 0; n < Team::kOwnColumns / 8; ++n) {
#pragma unroll
        for (int e = i % 2 * 2; e < i % 2 * 2 + 2; ++e) {
          fold_.o[i / 2][n][e] =
              sm90::FoldValue(fold_.o[i / 2][n][e], state_.o[i / 2][n][e], scales);
        }
      }
    }
    state_.Clear();
  }

  __device__ __forceinline__ void Store(const sm90::PrefillWork& unit, int32_t row0,
                                        const State& state) const {
    if (!warp_.HasColumns()) return;
#pragma unroll
    for (int i = 0; i < Warp::kHeldRows; ++i) {
      const int32_t r = row0 + Warp::Row(i);
      if (r >= unit.rows.end) continue;
      const float reciprocal = __frcp_rn(state.sum[i].l);
      bf16* y =
          p_.y.data + sm90::PackedRowOffset(p_, unit.s, unit.kv_head, r, kHeadDim, p_.y.stride);
#pragma unroll
      for (int n = 0; n < Team::kOwnColumns / 8; ++n) {
        const uint32_t pair =
            sm90::PackBf16(__fmul_rn(state.o[i / 2][n][i % 2 * 2], reciprocal),
                           __fmul_rn(state.o[i / 2][n][i % 2 * 2 + 1], reciprocal));
        sm90::StorePair(y + warp_.Column(n), pair, p_.y_words);
      }
    }
  }

  const sm90::AttentionParameters& p_;
  Shared* shared_;
  int team_;
  Warp warp_;
  State state_;  // canonical: of the segment in progress; free: of all so far
  State fold_;   // canonical: of the segments before
};

}  // namespace vexact::portable

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_PREFILL_CUH_
