// A team of four warps works on 16 query rows and a tile of 128 positions together. For scores each
// warp has all rows and its own 32 positions; for values all rows, all positions and its own part
// of V's columns. So K and V are read from shared memory once a team rather than once a warp; what
// the warps tell each other there are the rows' maxima, their sums, and P.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_TEAM_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_TEAM_CUH_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention_cute_tile.cuh"

namespace vexact::portable {

inline constexpr int kTeamRows = 16;
inline constexpr int kTeamWarps = 4;
inline constexpr int kTeamThreads = kTeamWarps * sm90::kWarp;
inline constexpr int kOwnPositions = kAttentionTile / kTeamWarps;  // of a warp, for scores

template <int kHeadDim>
struct TeamShared {
  using Queries = SharedRows<kTeamRows, kHeadDim>;
  using P = SharedRows<kTeamRows, kAttentionTile>;

  Queries q;
  P p;
  float largest[kTeamWarps][kTeamRows];
  // tree128 up to the level at which a warp's positions are one value a lane of a quad.
  alignas(16) float sums[kTeamWarps][kTeamRows][4];
};

// One warp of a team. Lane 4 * g + c holds rows g and g + 8; M and l of a row are in all lanes that
// hold it, in every warp. Not kCanonical: the running maximum itself is the reference exponent, not
// the whole number above it.
template <int kHeadDim, bool kCanonical>
class TeamWarp {
 public:
  using Shared = TeamShared<kHeadDim>;
  using Keys = SharedRows<kAttentionTile, kHeadDim>;
  static constexpr int kOwnColumns = std::max(16, kHeadDim / kTeamWarps);  // of V
  static constexpr int kOwnFragments = kOwnColumns / 8;

  // A softmax sum in progress.
  struct State {
    float o[kOwnFragments][4];  // of the warp's columns
    sm90::RowSum sum[2];

    __device__ __forceinline__ void Clear() {
      ClearFragments(o);
      sum[0] = sum[1] = {-INFINITY, 0.0f};
    }
  };

  // warp: index in the team; barrier: its named barrier.
  __device__ TeamWarp(Shared* shared, int warp, int barrier)
      : shared_(shared), at_(sm90::HeldAddress(shared)), warp_(warp), barrier_(barrier) {}

  // The team's row that index i of this lane is.
  static __device__ __forceinline__ int Row(int i) { return i * 8 + sm90::Lane() / 4; }
  __device__ __forceinline__ bool HasColumns() const { return warp_ * kOwnColumns < kHeadDim; }
  // The first of the two columns that element 0 or 2 of fragment n of o is of.
  __device__ __forceinline__ int Column(int n) const {
    return warp_ * kOwnColumns + n * 8 + sm90::Lane() % 4 * 2;
  }

  // Scores of a tile to P and its sums in shared memory, and O rescaled for it. visible: how many
  // of the tile's positions each held row sees; `present` of them are there at all. The whole team;
  // until its next meeting P is not to be read.
  __device__ __forceinline__ void ScoresToP(uint32_t keys, const int (&visible)[2], int present,
                                            float scale, State* state) {
    Scores s;
    ClearFragments(s);
    const int own = warp_ * kOwnPositions;
    if (own < present) ComputeScores(keys, s);
    const bool all_seen =
        __all_sync(sm90::kAllLanes, min(visible[0], visible[1]) >= own + kOwnPositions);
    if (all_seen) {
      StoreMaxima<false>(s, visible);
    } else {
      StoreMaxima<true>(s, visible);
    }
    // The maxima are there; the last tile's P and sums are no longer read. One instruction for all
    // warps: compute-sanitizer does not see that they met if each branch has its own.
    MeetAt(barrier_, kTeamThreads);
    if (all_seen) {
      StoreP<false>(s, visible, scale, state);
    } else {
      StoreP<true>(s, visible, scale, state);
    }
  }

  // O takes the tile's V, and l its sums. zero: not all rows see all that is present, so what is
  // not finite counts as 0 (P is 0 there for some, and 0 times it is NaN).
  __device__ __forceinline__ void AddValues(uint32_t values, int present, bool zero, State* state) {
    AddSums(state);
    if (!HasColumns()) return;
    if (zero) {
      MultiplyValues<true>(values, present, state);
    } else {
      MultiplyValues<false>(values, present, state);
    }
  }

 private:
  static constexpr int kFragments = kOwnPositions / 8;
  using Scores = float[kFragments][4];

  template <int kCount>
  static __device__ __forceinline__ void ClearFragments(float (&x)[kCount][4]) {
#pragma unroll
    for (auto& fragment : x) {
#pragma unroll
      for (float& value : fragment) value = 0.0f;
    }
  }

  __device__ __forceinline__ void ComputeScores(uint32_t keys, Scores& s) {
    const LanePiece of_a = LaneOfA();
    const LanePiece of_b = LaneOfB();
    const uint32_t offset_a = Shared::Queries::Offset(of_a.row, of_a.piece);
    const uint32_t offset_b = Keys::Offset(of_b.row, of_b.piece);
    const uint32_t queries = at_ + offsetof(Shared, q);
    const uint32_t own = keys + warp_ * kOwnPositions * Keys::kRowBytes;
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      Fragment a;
      LoadFragment(a, queries + (offset_a ^ Shared::Queries::Offset(0, 2 * k)));
#pragma unroll
      for (int n = 0; n < kFragments; n += 2) {
        Fragment b;
        LoadFragment(b, own + n * 8 * Keys::kRowBytes + (offset_b ^ Keys::Offset(0, 2 * k)));
        Multiply(&s[n], a, b);
      }
    }
  }

  // Whether row i sees element e of its pair in fragment n.
  template <bool kMasked>
  __device__ __forceinline__ bool Sees(const int (&visible)[2], int i, int n, int e) const {
    return !kMasked || warp_ * kOwnPositions + sm90::Lane() % 4 * 2 + n * 8 + e < visible[i];
  }

  template <bool kMasked>
  __device__ __forceinline__ void StoreMaxima(const Scores& s, const int (&visible)[2]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float largest = -INFINITY;
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (Sees<kMasked>(visible, i, n, e)) largest = fmaxf(largest, s[n][i * 2 + e]);  // no NaN
        }
      }
      largest = sm90::FoldLanes(largest, 1, sm90::MaxOfFloats);
      largest = sm90::FoldLanes(largest, 2, sm90::MaxOfFloats);
      if (sm90::Lane() % 4 == 0) shared_->largest[warp_][Row(i)] = largest;
    }
  }

  template <bool kMasked>
  __device__ __forceinline__ void StoreP(const Scores& s, const int (&visible)[2], float scale,
                                         State* state) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float m = NextMaximum(i, visible[i] > 0, scale, state);
      const uint32_t offset = Shared::P::Offset(Row(i), warp_ * kFragments) + sm90::Lane() % 4 * 4;
      float tree[kFragments];
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
        const auto p_of = [&](int e) {
          if (!Sees<kMasked>(visible, i, n, e)) return 0.0f;
          return sm90::Ex2(__fmaf_rn(s[n][i * 2 + e], scale, -m));
        };
        const float p0 = p_of(0);
        const float p1 = p_of(1);
        auto* const pair =
            reinterpret_cast<unsigned char*>(shared_->p.data) + (offset ^ Shared::P::Offset(0, n));
        *reinterpret_cast<uint32_t*>(pair) = sm90::PackBf16(p0, p1);
        tree[n] = __fadd_rn(p0, p1);
      }
      static_assert(kFragments == 4);
      shared_->sums[warp_][Row(i)][sm90::Lane() % 4] =
          __fadd_rn(__fadd_rn(tree[0], tree[1]), __fadd_rn(tree[2], tree[3]));
    }
  }

  // The row's reference exponent with this tile, and O and l multiplied accordingly. A tile of
  // which the row sees nothing leaves them as they were.
  __device__ __forceinline__ float NextMaximum(int i, bool sees, float scale, State* state) const {
    float largest = -INFINITY;
#pragma unroll
    for (const auto& of_warp : shared_->largest) largest = fmaxf(largest, of_warp[Row(i)]);
    sm90::RowSum& sum = state->sum[i];
    const float product = __fmul_rn(largest, scale);
    const float m = fmaxf(sum.m, kCanonical ? ceilf(product) : product);
    if (!sees || m == sum.m) return sum.m;                 // x * 1 is x
    const float rescale = sm90::Ex2(__fsub_rn(sum.m, m));  // 0 from -inf
    sum.l = __fmul_rn(sum.l, rescale);
    sum.m = m;
#pragma unroll
    for (auto& fragment : state->o) {
#pragma unroll
      for (int e = 2 * i; e < 2 * i + 2; ++e) fragment[e] = __fmul_rn(fragment[e], rescale);
    }
    return m;
  }

  // tree128's last levels: between the warps, then the lanes of a quad.
  __device__ __forceinline__ void AddSums(State* state) const {
    static_assert(kTeamWarps == 4);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const auto of_warp = [&](int w) {
        return *reinterpret_cast<const float4*>(shared_->sums[w][Row(i)]);
      };
      const float4 t = Add(Add(of_warp(0), of_warp(1)), Add(of_warp(2), of_warp(3)));
      state->sum[i].l =
          __fadd_rn(state->sum[i].l, __fadd_rn(__fadd_rn(t.x, t.y), __fadd_rn(t.z, t.w)));
    }
  }
  static __device__ __forceinline__ float4 Add(const float4& a, const float4& b) {
    return {__fadd_rn(a.x, b.x), __fadd_rn(a.y, b.y), __fadd_rn(a.z, b.z), __fadd_rn(a.w, b.w)};
  }

  template <bool kZero>
  __device__ __forceinline__ void MultiplyValues(uint32_t values, int present, State* state) {
    const LanePiece lane = LaneOfA();
    const uint32_t offset_a = Shared::P::Offset(lane.row, lane.piece);
    const uint32_t offset_b = Keys::Offset(lane.row, lane.piece);
    const int first = warp_ * kOwnFragments;  // piece
#pragma unroll
    for (int k = 0; k < sm90::kTileChunks; ++k) {
      if (k * sm90::kChunk >= present) break;
      Fragment a;
      LoadFragment(a, at_ + offsetof(Shared, p) + (offset_a ^ Shared::P::Offset(0, 2 * k)));
#pragma unroll
      for (int n = 0; n < kOwnFragments; n += 2) {
        Fragment b;
        LoadTransposed(b,
                       values + k * 16 * Keys::kRowBytes + (offset_b ^ Keys::Offset(0, first + n)));
        if constexpr (kZero) {
#pragma unroll
          for (uint32_t& pair : b) pair = sm90::ZeroNotFinite(pair);
        }
        Multiply(&state->o[n], a, b);
      }
    }
  }

  Shared* shared_;
  uint32_t at_;  // the same, in the shared window
  int warp_;
  int barrier_;
};

}  // namespace vexact::portable

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_TEAM_CUH_
