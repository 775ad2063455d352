// Sequences with few query rows: half of a block, a team, takes a run of decode work.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_DECODE_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_DECODE_CUH_

#include <cstdint>

#include "kernels/attention/attention_cute_stream.cuh"
#include "kernels/attention/attention_cute_team.cuh"

namespace vexact::portable {

inline constexpr int kDecodeGroups = kAttentionCuteRunsPerSm;  // of a block

template <int kHeadDim, bool kCanonical>
class DecodeGroup {
 public:
  static_assert(kTeamRows == sm90::kDecodeRows);
  // Of the block's two groups together 192 KB at head_dim 128 and below that half as much.
  using Stream = KvStream<DecodeTiles, kHeadDim, kTeamThreads, kHeadDim == 128 ? 3 : 6>;

  struct Shared {
    typename Stream::Shared stream;
    TeamShared<kHeadDim> team;
    bool is_last;
  };

  __device__ DecodeGroup(const sm90::AttentionParameters& p, Shared* shared, int group)
      : p_(p),
        shared_(shared),
        barrier_(1 + group),
        warp_(&shared->team, sm90::WarpIndex() % kTeamWarps, barrier_) {}

  static __device__ __forceinline__ int Thread() {
    return static_cast<int>(threadIdx.x) % kTeamThreads;
  }
  __device__ __forceinline__ void Meet() const { MeetAt(barrier_, kTeamThreads); }

  // The whole group.
  __device__ __forceinline__ void Run(const sm90::DecodeRun& run) {
    sm90::DecodeCursor<CausalMask> cursor(p_, run);
    Stream stream(p_, &shared_->stream, Thread(), barrier_, DecodeTiles(p_, run));
    while (!cursor.done()) {
      head_.s = cursor.sequence();
      head_.kv_head = cursor.kv_head();
      head_.rows = head_.s.tokens * p_.group;
      head_.tiles = (head_.s.context + kAttentionTile - 1) / kAttentionTile;
      head_.slot = cursor.tile() > 0 ? run.begin.slot : run.end.slot;
      const int32_t own_tiles = cursor.tile_end() - cursor.tile();
      RunHead(own_tiles == head_.tiles, &cursor, &stream);
      if (own_tiles != head_.tiles) FoldIfLast(own_tiles);
    }
  }

 private:
  using Warp = TeamWarp<kHeadDim, kCanonical>;
  using State = typename Warp::State;

  // A KV head of a sequence. If several groups have parts of it, the partial result of its
  // (segment, row) lies at slot + segment * rows + row.
  struct Head {
    sm90::StepSequence s;
    int32_t kv_head;
    int32_t rows;
    int32_t tiles;
    int32_t slot;
  };

  __device__ __forceinline__ int32_t PositionOfRow(int32_t r) const {
    return head_.s.context - head_.s.tokens + min(r, head_.rows - 1) / p_.group;
  }
  // Element offset of row r in rows of heads * head_dim of the given stride.
  __device__ __forceinline__ int64_t OffsetOfRow(int32_t r, int64_t stride) const {
    const int32_t head = head_.kv_head * p_.group + r % p_.group;
    return (head_.s.first_row + r / p_.group) * stride + head * kHeadDim;
  }

  // The run's part of the head, all of it if `whole`. The free form knows no segments in a whole
  // head.
  __device__ __forceinline__ void RunHead(bool whole, sm90::DecodeCursor<CausalMask>* cursor,
                                          Stream* stream) {
    const int32_t tile_end = cursor->tile_end();
    CopyQueries();
    const int32_t last[2] = {PositionOfRow(Warp::Row(0)), PositionOfRow(Warp::Row(1))};
    State state;
    State fold;
    state.Clear();
    fold.Clear();
    for (int32_t tile = cursor->tile(); tile < tile_end; ++tile) {
      RunTile(tile, last, stream, &state);
      cursor->Advance();
      const bool ends = tile + 1 == tile_end;
      if (!ends && ((!kCanonical && whole) || (tile + 1) % sm90::kSegmentTiles != 0)) continue;
      if (whole) {
        Fold(tile / sm90::kSegmentTiles, last, state, &fold);
      } else {
        StorePartial(tile / sm90::kSegmentTiles, state);
      }
      state.Clear();
    }
    if (whole) Store(fold);
  }

  __device__ __forceinline__ void RunTile(int32_t tile, const int32_t (&last)[2], Stream* stream,
                                          State* state) {
    const int32_t start = tile * kAttentionTile;
    const int present = min(kAttentionTile, head_.s.context - start);
    const int visible[2] = {last[0] + 1 - start, last[1] + 1 - start};
    const uint32_t keys = stream->Await();  // with the queries
    stream->CopyNext();
    warp_.ScoresToP(keys, visible, present, p_.scale, state);
    const uint32_t values = stream->Await();  // with P
    stream->CopyNext();
    const int seen_by_all = head_.s.context - head_.s.tokens + 1 - start;
    warp_.AddValues(values, present, seen_by_all < present, state);
  }

  // To shared memory, which is not read before the group meets. Rows that do not exist keep what
  // was there: their scores are theirs alone.
  __device__ __forceinline__ void CopyQueries() {
    sm90::WaitForEarlier();
    constexpr int kWords = kHeadDim / 2;  // of a row
    for (int i = Thread(); i < head_.rows * kWords; i += kTeamThreads) {
      const int r = i / kWords;
      const int word = i % kWords;
      using Queries = typename TeamShared<kHeadDim>::Queries;
      const bf16* from = p_.q.data + OffsetOfRow(r, p_.q.stride) + word * 2;
      bf16* piece = shared_->team.q.data + Queries::Offset(r, word / 4) / sizeof(bf16);
      reinterpret_cast<uint32_t*>(piece)[word % 4] = sm90::LoadPair(from, p_.q_words);
    }
  }

  __device__ __forceinline__ void Fold(int32_t segment, const int32_t (&last)[2], const State& next,
                                       State* fold) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const bool sees = last[i] >= segment * kAttentionSegment;
      const sm90::FoldScales scales =
          sm90::FoldRow(next.sum[i], sees || !kCanonical, &fold->sum[i]);
#pragma unroll
      for (int n = 0; n < Warp::kOwnFragments; ++n) {
#pragma unroll
        for (int e = 2 * i; e < 2 * i + 2; ++e) {
          fold->o[n][e] = sm90::FoldValue(fold->o[n][e], next.o[n][e], scales);
        }
      }
    }
  }

  __device__ __forceinline__ void Store(const State& fold) const {
    if (!warp_.HasColumns()) return;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int32_t r = Warp::Row(i);
      if (r >= head_.rows) continue;
      const float reciprocal = __frcp_rn(fold.sum[i].l);
      bf16* y = p_.y.data + OffsetOfRow(r, p_.y.stride);
#pragma unroll
      for (int n = 0; n < Warp::kOwnFragments; ++n) {
        const uint32_t pair = sm90::PackBf16(__fmul_rn(fold.o[n][2 * i], reciprocal),
                                             __fmul_rn(fold.o[n][2 * i + 1], reciprocal));
        sm90::StorePair(y + warp_.Column(n), pair, p_.y_words);
      }
    }
  }

  __device__ __forceinline__ void StorePartial(int32_t segment, const State& state) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int32_t r = Warp::Row(i);
      if (r >= head_.rows) continue;
      const int64_t at = head_.slot + int64_t{segment} * head_.rows + r;
      if (sm90::WarpIndex() % kTeamWarps == 0 && sm90::Lane() % 4 == 0) {
        *reinterpret_cast<float2*>(p_.plan.partial_ml + at * 2) = {state.sum[i].m, state.sum[i].l};
      }
      if (!warp_.HasColumns()) continue;
#pragma unroll
      for (int n = 0; n < Warp::kOwnFragments; ++n) {
        *reinterpret_cast<float2*>(p_.plan.partial_o + at * kHeadDim + warp_.Column(n)) = {
            state.o[n][2 * i], state.o[n][2 * i + 1]};
      }
    }
  }

  // The last of a split head's groups to arrive folds all segments, in their order.
  __device__ __forceinline__ void FoldIfLast(int32_t own_tiles) {
    __threadfence();
    Meet();
    if (Thread() == 0) {
      const int32_t arrived = atomicAdd(p_.plan.arrived + head_.slot, own_tiles) + own_tiles;
      shared_->is_last = arrived == head_.tiles;
      if (shared_->is_last) p_.plan.arrived[head_.slot] = 0;
    }
    Meet();
    if (!shared_->is_last) return;
    __threadfence();
    for (int i = Thread(); i < head_.rows * (kHeadDim / 4); i += kTeamThreads) {
      FoldPartials(i / (kHeadDim / 4), i % (kHeadDim / 4) * 4);
    }
  }

  // y of four columns of a row. The loads of kTogether segments are under way at once.
  __device__ __forceinline__ void FoldPartials(int32_t r, int32_t column) const {
    constexpr int kTogether = 8;
    const int32_t segments = PositionOfRow(r) / kAttentionSegment + 1;  // that the row sees
    sm90::RowSum fold = {-INFINITY, 0.0f};
    float o[4] = {};
    for (int32_t first = 0; first < segments; first += kTogether) {
      float2 ml[kTogether];
      float4 next[kTogether];
#pragma unroll
      for (int a = 0; a < kTogether; ++a) {
        const int32_t segment = min(first + a, segments - 1);
        const int64_t at = head_.slot + int64_t{segment} * head_.rows + r;
        ml[a] = __ldcg(reinterpret_cast<const float2*>(p_.plan.partial_ml + at * 2));
        next[a] =
            __ldcg(reinterpret_cast<const float4*>(p_.plan.partial_o + at * kHeadDim + column));
      }
#pragma unroll
      for (int a = 0; a < kTogether; ++a) {
        const sm90::RowSum sum = {ml[a].x, ml[a].y};
        const sm90::FoldScales scales = sm90::FoldRow(sum, first + a < segments, &fold);
        if (first + a >= segments) continue;
        o[0] = sm90::FoldValue(o[0], next[a].x, scales);
        o[1] = sm90::FoldValue(o[1], next[a].y, scales);
        o[2] = sm90::FoldValue(o[2], next[a].z, scales);
        o[3] = sm90::FoldValue(o[3], next[a].w, scales);
      }
    }
    const float reciprocal = __frcp_rn(fold.l);
    bf16* y = p_.y.data + OffsetOfRow(r, p_.y.stride) + column;
    sm90::StorePair(y, sm90::PackBf16(__fmul_rn(o[0], reciprocal), __fmul_rn(o[1], reciprocal)),
                    p_.y_words);
    sm90::StorePair(y + 2, sm90::PackBf16(__fmul_rn(o[2], reciprocal), __fmul_rn(o[3], reciprocal)),
                    p_.y_words);
  }

  const sm90::AttentionParameters& p_;
  Shared* shared_;
  int barrier_;
  Warp warp_;
  Head head_{};
};

}  // namespace vexact::portable

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_DECODE_CUH_
