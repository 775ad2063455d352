// Sequences with many query rows: a block takes 128 rows of one KV head (FlashAttention-2, Dao
// 2023), 16 a warp; its warps share the stream of keys and values, and nothing else.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_PREFILL_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_PREFILL_CUH_

#include <cstdint>

#include "kernels/attention/attention_cute_stream.cuh"

namespace vexact::portable {

inline constexpr int kBlockThreads = 256;

template <int kHeadDim, bool kCanonical>
class PrefillBlock {
 public:
  static_assert(kBlockThreads / sm90::kWarp * sm90::kWarpRows == sm90::kPrefillRows);
  // 160 KB of keys and values at head_dim 128, beside 64 KB of folds.
  using Ring = KvRing<kHeadDim, kBlockThreads, 5>;

  struct Shared {
    typename Ring::Shared ring;
    // Of each thread, the segments before the one in progress. (Registers have no room for them.)
    float4 fold[kCanonical ? kHeadDim / 8 : 1][kBlockThreads];
  };

  __device__ PrefillBlock(const sm90::AttentionParameters& p, Shared* shared,
                          typename Ring::Barriers* barriers)
      : p_(p), shared_(shared), ring_(&shared->ring, barriers) {}

  // The whole block.
  __device__ __forceinline__ void RunUnit(const sm90::PrefillWork& unit) {
    Copies copies(p_, static_cast<int>(threadIdx.x), PrefillTiles(p_, unit));
#pragma unroll 1
    for (int i = 0; i < Ring::kAhead; ++i) ring_.CopyNext(&copies);
    const int32_t row0 = unit.rows.begin + sm90::WarpIndex() * sm90::kWarpRows;
    const sm90::WarpRows rows = {unit.kv_head, row0, unit.rows.end};
    const bool has_rows = row0 < unit.rows.end;
    Queries q = {};
    if (has_rows) sm90::LoadQueries<kHeadDim>(p_, unit.rows.sequence, rows, q);
    // Positions that a row of the warp, and that all of them see; none of a warp without rows.
    const int32_t last = unit.rows.end - 1;
    const int32_t seen = has_rows ? End(unit, min(row0 + sm90::kWarpRows - 1, last)) : 0;
    const int32_t seen_by_all = End(unit, min(row0, last));
    const int32_t row = row0 + sm90::Lane() / 4;
    const int32_t ends[2] = {End(unit, min(row, last)), End(unit, min(row + 8, last))};
    const int32_t tiles = (seen + kAttentionTile - 1) / kAttentionTile;
    sm90::RowSum fold[2] = {{-INFINITY, 0.0f}, {-INFINITY, 0.0f}};
    Clear();
    for (int32_t tile = 0; tile < unit.tile_end; ++tile) {
      const int32_t start = tile * kAttentionTile;
      RunTile(q, {{ends[0] - start, ends[1] - start}, seen_by_all - start, seen - start}, &copies);
      if (!kCanonical || tile >= tiles) continue;
      const bool is_last = tile + 1 == tiles;
      if (!is_last && (tile + 1) % sm90::kSegmentTiles != 0) continue;
      const int32_t segment = tile / sm90::kSegmentTiles;
      Fold(segment == 0, is_last, ends, segment * kAttentionSegment, fold);
      if (!is_last) Clear();
    }
    if (!has_rows) return;
    sm90::StoreAnswers<kHeadDim>(p_, unit.rows.sequence, rows, o_, kCanonical ? fold : sum_);
  }

 private:
  using Copies = KvCopies<PrefillTiles, kHeadDim, kBlockThreads>;
  using Slot = typename Ring::Slot;
  using Queries = uint32_t[kHeadDim / 16][4];
  using Scores = float[kAttentionTile / 8][4];

  // How many of a tile's positions, or fewer than none: each of the thread's two rows sees, all
  // rows of the warp see, any of them sees.
  struct Visible {
    int32_t rows[2];
    int32_t all;
    int32_t any;

    // Element e of row i's pair in fragment n.
    template <bool kMasked>
    __device__ __forceinline__ bool Sees(int i, int n, int e) const {
      return !kMasked || n * 8 + sm90::Lane() % 4 * 2 + e < rows[i];
    }
  };

  __device__ __forceinline__ int32_t End(const sm90::PrefillWork& unit, int32_t row) const {
    return unit.rows.sequence.Position(sm90::TokenOfRow(p_, row)) + 1;
  }

  // A warp that sees nothing of the tile only takes part in its copies.
  __device__ __forceinline__ void RunTile(const Queries& q, const Visible& visible,
                                          Copies* copies) {
    Scores s;
    const uint32_t keys = ring_.Await();
    if (visible.any > 0) ComputeScores(q, keys, visible.any, s);
    ring_.Release();
    ring_.CopyNext(copies);
    if (visible.any > 0) {
      if (visible.all >= kAttentionTile) {
        NextMaxima<false>(s, visible);
      } else {
        NextMaxima<true>(s, visible);
      }
    }
    const uint32_t values = ring_.Await();
    if (visible.any > 0) {
      if (visible.all >= kAttentionTile) {
        AddValues<false>(s, visible, values);
      } else {
        AddValues<true>(s, visible, values);
      }
    }
    ring_.Release();
    ring_.CopyNext(copies);
  }

  __device__ __forceinline__ void Clear() {
#pragma unroll
    for (auto& fragment : o_) fragment[0] = fragment[1] = fragment[2] = fragment[3] = 0.0f;
    sum_[0] = sum_[1] = {-INFINITY, 0.0f};
  }

  // Of the tile's first `present` positions; the others get zeros, or their scores as well.
  static __device__ __forceinline__ void ComputeScores(const Queries& q, uint32_t keys,
                                                       int32_t present, Scores& s) {
    const LanePiece lane = LaneOfB();
    const uint32_t offset = Slot::Offset(lane.row, lane.piece);
    constexpr int kTogether = 8;  // fragments, whose steps follow one another
#pragma unroll
    for (int first = 0; first < kAttentionTile / 8; first += kTogether) {
#pragma unroll
      for (int n = first; n < first + kTogether; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.0f;
      if (first * 8 >= present) continue;
      constexpr int kPairs = kTogether / 2;
      LoadAhead<kHeadDim / 16 * kPairs, kPairs>(
          [&](int step, Fragment& b) {
            const int n = first + step % kPairs * 2;
            LoadFragment(b, keys + n * 8 * Slot::kRowBytes +
                                (offset ^ Slot::Offset(0, 2 * (step / kPairs))));
          },
          [] {},
          [&](int step, const Fragment& b) {
            Multiply(&s[first + step % kPairs * 2], q[step / kPairs], b);
          });
    }
  }

  // The rows' reference exponents with this tile, and O and l multiplied accordingly. A tile of
  // which a row sees nothing leaves it as it was.
  template <bool kMasked>
  __device__ __forceinline__ void NextMaxima(const Scores& s, const Visible& visible) {
    float rescale[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float largest = -INFINITY;
#pragma unroll
      for (int n = 0; n < kAttentionTile / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (visible.template Sees<kMasked>(i, n, e)) {
            largest = fmaxf(largest, s[n][2 * i + e]);  // ignores NaN
          }
        }
      }
      largest = sm90::FoldLanes(largest, 1, sm90::MaxOfFloats);
      largest = sm90::FoldLanes(largest, 2, sm90::MaxOfFloats);
      const float product = __fmul_rn(largest, p_.scale);
      const float with_tile = fmaxf(sum_[i].m, kCanonical ? ceilf(product) : product);
      const float m = kMasked && visible.rows[i] <= 0 ? sum_[i].m : with_tile;
      rescale[i] = m == sum_[i].m ? 1.0f : sm90::Ex2(__fsub_rn(sum_[i].m, m));  // 0 from -inf
      sum_[i].l = __fmul_rn(sum_[i].l, rescale[i]);
      sum_[i].m = m;
    }
    if (__all_sync(sm90::kAllLanes, rescale[0] == 1.0f && rescale[1] == 1.0f)) return;
#pragma unroll
    for (auto& fragment : o_) {
#pragma unroll
      for (int e = 0; e < 4; ++e) fragment[e] = __fmul_rn(fragment[e], rescale[e / 2]);
    }
  }

  // O takes the tile's V, and l its sums. P of 16 positions comes right before its products: those
  // run while the next P is in the making. kMasked: not all rows see all positions, so V that is
  // not finite counts as 0 (P is 0 there for some, and 0 times it is NaN).
  template <bool kMasked>
  __device__ __forceinline__ void AddValues(const Scores& s, const Visible& visible,
                                            uint32_t values) {
    const LanePiece lane = LaneOfA();
    const uint32_t offset = Slot::Offset(lane.row, lane.piece);
    float tree[2][sm90::kTileChunks];
#pragma unroll
    for (int k = 0; k < sm90::kTileChunks; ++k) {
      tree[0][k] = tree[1][k] = 0.0f;
      if (kMasked && k * sm90::kChunk >= visible.any) continue;
      Fragment p;
      LoadAhead<kHeadDim / 16, 3>(
          [&](int step, Fragment& b) {
            LoadTransposed(
                b, values + k * 16 * Slot::kRowBytes + (offset ^ Slot::Offset(0, 2 * step)));
          },
          [&] {
            tree[0][k] = ChunkOfP<kMasked>(0, k, s, visible, p);
            tree[1][k] = ChunkOfP<kMasked>(1, k, s, visible, p);
          },
          [&](int step, Fragment& b) {
            if constexpr (kMasked) {
#pragma unroll
              for (uint32_t& pair : b) pair = sm90::ZeroNotFinite(pair);
            }
            Multiply(&o_[2 * step], p, b);
          });
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) sum_[i].l = __fadd_rn(sum_[i].l, SumOfTree(tree[i]));
  }

  // Row i's part of P of positions 16 k to 16 k + 15 as A of a product; the sum that is.
  template <bool kMasked>
  __device__ __forceinline__ float ChunkOfP(int i, int k, const Scores& s, const Visible& visible,
                                            Fragment& p) const {
    float pairs[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto p_of = [&](int e) {
        if (!visible.template Sees<kMasked>(i, 2 * k + half, e)) return 0.0f;
        return sm90::Ex2(__fmaf_rn(s[2 * k + half][2 * i + e], p_.scale, -sum_[i].m));
      };
      const float p0 = p_of(0);
      const float p1 = p_of(1);
      p[2 * half + i] = sm90::PackBf16(p0, p1);
      pairs[half] = __fadd_rn(p0, p1);
    }
    return __fadd_rn(pairs[0], pairs[1]);
  }

  // tree128 from the level at which 16 positions are one value a lane of a quad.
  static __device__ __forceinline__ float SumOfTree(float (&tree)[sm90::kTileChunks]) {
#pragma unroll
    for (int stride = 1; stride < sm90::kTileChunks; stride *= 2) {
#pragma unroll
      for (int k = 0; k < sm90::kTileChunks; k += 2 * stride) {
        tree[k] = __fadd_rn(tree[k], tree[k + stride]);
      }
    }
    return sm90::FoldLanes(sm90::FoldLanes(tree[0], 1, sm90::AddFloats), 2, sm90::AddFloats);
  }

  // The segment from `start` joins those before it; o_ is the whole if it was the last. ends: how
  // many positions each row sees.
  __device__ __forceinline__ void Fold(bool first, bool last, const int32_t (&ends)[2],
                                       int32_t start, sm90::RowSum (&fold)[2]) {
    sm90::FoldScales scales[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) scales[i] = sm90::FoldRow(sum_[i], ends[i] > start, &fold[i]);
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n) {
      float4* parked = &shared_->fold[n][threadIdx.x];
      float(&o)[4] = o_[n];
      if (!first) {
        const float4 before = *parked;
        o[0] = sm90::FoldValue(before.x, o[0], scales[0]);
        o[1] = sm90::FoldValue(before.y, o[1], scales[0]);
        o[2] = sm90::FoldValue(before.z, o[2], scales[1]);
        o[3] = sm90::FoldValue(before.w, o[3], scales[1]);
      }
      if (!last) *parked = {o[0], o[1], o[2], o[3]};
    }
  }

  const sm90::AttentionParameters& p_;
  Shared* shared_;
  Ring ring_;
  // Of the warp's 16 rows (g and g + 8 in lanes 4 * g + c), the segment in progress; not
  // kCanonical: all so far.
  float o_[kHeadDim / 8][4];
  sm90::RowSum sum_[2];
};

}  // namespace vexact::portable

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_PREFILL_CUH_
