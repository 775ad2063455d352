// Attention's step over a tile of 128 positions on CuTe, for any card from sm_80 on: a team of
// warps works on its query rows together. For scores each warp has all rows and its own part of the
// positions; for values all rows, all positions and its own part of V's columns. So K and V are
// read from shared memory once a team rather than once a warp; what the warps tell each other there
// are the rows' maxima, their sums, and P.
//
// Each warp's products are mma.sync m16n8k16 on one accumulator, 16 deep at a time and ascending:
// the chain of docs/numerics.md on a card whose tensor cores have the arithmetic of profile sm90.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_TILE_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_TILE_CUH_

#include <algorithm>
#include <cstdint>
#include <cute/arch/copy_sm75.hpp>
#include <cute/arch/copy_sm80.hpp>
#include <cute/arch/mma_sm80.hpp>
#include <cute/swizzle.hpp>

#include "kernels/attention/attention_parameters_sm90.cuh"
#include "kernels/sm90/reduce.cuh"

namespace vexact::portable {

// Rows of bf16 in shared memory, in runs of up to 64 columns one after the other. The 16-byte
// pieces of a row are permuted so that 8 rows' pieces of one column lie in different banks
// (ldmatrix reads those at once).
template <int kRows, int kColumns>
struct SharedRows {
  static constexpr int kRun = std::min(kColumns, 64);
  static constexpr int kRunPieces = kRun / 8;  // of a row
  using Permutation = cute::Swizzle<kRun == 64 ? 3 : kRun == 32 ? 2 : 1, 3>;

  alignas(128) bf16 data[kRows * kColumns];

  // Element offset of a piece; linear (xor) in the bits of row and piece.
  static __device__ __forceinline__ uint32_t Offset(int row, int piece) {
    const auto in_run = static_cast<uint32_t>(row * kRun + piece % kRunPieces * 8);
    return Permutation::apply(in_run) + piece / kRunPieces * (kRows * kRun);
  }
  __device__ __forceinline__ bf16* Piece(int row, int piece) { return data + Offset(row, piece); }
};

// Of 16 rows and 32 bytes of each in shared memory, four matrices of 8 x 8: which piece a lane
// gives for each of the operands of mma.sync m16n8k16.
struct LanePiece {
  int row;
  int piece;
};
__device__ __forceinline__ LanePiece LaneOfA() {  // 16 rows of A; also V's, read transposed
  return {sm90::Lane() % 16, sm90::Lane() / 16};
}
__device__ __forceinline__ LanePiece
LaneOfB() {  // columns 0-7, then 8-15 of B, which are rows here
  return {sm90::Lane() / 16 * 8 + sm90::Lane() % 8, sm90::Lane() / 8 % 2};
}

using Fragment = uint32_t[4];  // of A, or two of B
__device__ __forceinline__ const cute::uint128_t& Words(const bf16* piece) {
  return *reinterpret_cast<const cute::uint128_t*>(piece);
}
__device__ __forceinline__ void LoadFragment(Fragment& r, const bf16* piece) {
  cute::SM75_U32x4_LDSM_N::copy(Words(piece), r[0], r[1], r[2], r[3]);
}
__device__ __forceinline__ void LoadTransposed(Fragment& r, const bf16* piece) {
  cute::SM75_U16x8_LDSM_T::copy(Words(piece), r[0], r[1], r[2], r[3]);
}
// d[0] and d[1] (8 columns each) take one step.
__device__ __forceinline__ void Multiply(float (*d)[4], const Fragment& a, const Fragment& b) {
  using Step = cute::SM80_16x8x16_F32BF16BF16F32_TN;
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    float(&c)[4] = d[n];
    Step::fma(c[0], c[1], c[2], c[3], a[0], a[1], a[2], a[3], b[2 * n], b[2 * n + 1], c[0], c[1],
              c[2], c[3]);
  }
}

// A meeting of `threads` threads of the block; named barrier 0 is __syncthreads's.
__device__ __forceinline__ void MeetAt(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// A team's shape: kRowTiles * 16 query rows, kWarps warps.
template <int kHeadDim_, int kRowTiles_, int kWarps_, bool kCanonical_>
struct TeamShape {
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr int kRowTiles = kRowTiles_;
  static constexpr int kRows = kRowTiles * 16;
  static constexpr int kWarps = kWarps_;
  static constexpr int kThreads = kWarps * sm90::kWarp;
  // false: the running maximum itself is the reference exponent, not the whole number above it.
  static constexpr bool kCanonical = kCanonical_;
  static constexpr int kOwnPositions = kAttentionTile / kWarps;        // of a warp, for scores
  static constexpr int kOwnColumns = std::max(16, kHeadDim / kWarps);  // of a warp, for values
};

template <typename Shape>
struct TeamShared {
  using Queries = SharedRows<Shape::kRows, Shape::kHeadDim>;
  using P = SharedRows<Shape::kRows, kAttentionTile>;

  Queries q;
  P p;
  float largest[Shape::kWarps][Shape::kRows];
  // tree128 up to the level at which a warp's positions are one value a lane of a quad.
  alignas(16) float sums[Shape::kWarps][Shape::kRows][4];
};

// One warp of a team. Lane 4 * g + c holds rows g and g + 8 of each 16 (index 2 * m + half below);
// M and l of a row are in all lanes that hold it, in every warp.
template <typename Shape>
class TeamWarp {
 public:
  using Shared = TeamShared<Shape>;
  using Keys = SharedRows<kAttentionTile, Shape::kHeadDim>;
  static constexpr int kHeldRows = 2 * Shape::kRowTiles;

  // A softmax sum in progress.
  struct State {
    float o[Shape::kRowTiles][Shape::kOwnColumns / 8][4];  // of the warp's columns
    sm90::RowSum sum[kHeldRows];

    __device__ __forceinline__ void Clear() {
      ClearFragments(o);
#pragma unroll
      for (sm90::RowSum& s : sum) s = {-INFINITY, 0.0f};
    }
  };

  // warp: index in the team; barrier: its named barrier.
  __device__ TeamWarp(Shared* shared, int warp, int barrier)
      : shared_(shared), warp_(warp), barrier_(barrier) {}

  __device__ __forceinline__ void Meet() const { MeetAt(barrier_, Shape::kThreads); }
  // The team's row that index i of this lane is.
  static __device__ __forceinline__ int Row(int i) {
    return i / 2 * 16 + i % 2 * 8 + sm90::Lane() / 4;
  }
  __device__ __forceinline__ bool HasColumns() const {
    return warp_ * Shape::kOwnColumns < Shape::kHeadDim;
  }
  // The first of the two columns that element 0 or 2 of fragment n of o is of.
  __device__ __forceinline__ int Column(int n) const {
    return warp_ * Shape::kOwnColumns + n * 8 + sm90::Lane() % 4 * 2;
  }

  // Scores of a tile to P and its sums in shared memory, and O rescaled for it. visible: how many
  // of the tile's positions each held row sees; `present` of them are there at all. The whole team;
  // until its next meeting P is not to be read. meanwhile() runs while the tensor cores finish.
  template <typename Meanwhile>
  __device__ __forceinline__ void ScoresToP(Keys* keys, const int (&visible)[kHeldRows],
                                            int present, float scale, State* state,
                                            Meanwhile meanwhile) {
    Scores s;
    ClearFragments(s);
    const int own = warp_ * Shape::kOwnPositions;
    if (own < present) ComputeScores(keys, s);
    meanwhile();
    int least = kAttentionTile;
#pragma unroll
    for (const int v : visible) least = min(least, v);
    if (__all_sync(sm90::kAllLanes, least >= own + Shape::kOwnPositions)) {
      Softmax<false>(s, visible, scale, state);
    } else {
      Softmax<true>(s, visible, scale, state);
    }
  }

  // O takes the tile's V, and l its sums. zero: not all rows see all that is present, so what is
  // not finite counts as 0 (P is 0 there for some, and 0 times it is NaN).
  __device__ __forceinline__ void AddValues(Keys* values, int present, bool zero, State* state) {
    AddSums(state);
    if (!HasColumns()) return;
    if (zero) {
      MultiplyValues<true>(values, present, state);
    } else {
      MultiplyValues<false>(values, present, state);
    }
  }

 private:
  using Scores = float[Shape::kRowTiles][Shape::kOwnPositions / 8][4];

  template <int kCount>
  static __device__ __forceinline__ void ClearFragments(float (&x)[Shape::kRowTiles][kCount][4]) {
#pragma unroll
    for (auto& row : x) {
#pragma unroll
      for (auto& fragment : row) {
#pragma unroll
        for (float& value : fragment) value = 0.0f;
      }
    }
  }

  __device__ __forceinline__ void ComputeScores(Keys* keys, Scores& s) {
    const LanePiece of_a = LaneOfA();
    const LanePiece of_b = LaneOfB();
    const uint32_t offset_a = Shared::Queries::Offset(of_a.row, of_a.piece);
    const uint32_t offset_b = Keys::Offset(of_b.row, of_b.piece);
    const bf16* own = keys->data + warp_ * Shape::kOwnPositions * Keys::kRun;
#pragma unroll
    for (int k = 0; k < Shape::kHeadDim / 16; ++k) {
      Fragment a[Shape::kRowTiles];
#pragma unroll
      for (int m = 0; m < Shape::kRowTiles; ++m) {
        LoadFragment(a[m], shared_->q.data + m * 16 * Keys::kRun +
                               (offset_a ^ Shared::Queries::Offset(0, 2 * k)));
      }
#pragma unroll
      for (int n = 0; n < Shape::kOwnPositions / 8; n += 2) {
        Fragment b;
        LoadFragment(b, own + n * 8 * Keys::kRun + (offset_b ^ Keys::Offset(0, 2 * k)));
#pragma unroll
        for (int m = 0; m < Shape::kRowTiles; ++m) Multiply(&s[m][n], a[m], b);
      }
    }
  }

  template <bool kMasked>
  __device__ __forceinline__ void Softmax(Scores& s, const int (&visible)[kHeldRows], float scale,
                                          State* state) {
    constexpr int kFragments = Shape::kOwnPositions / 8;
    const int first = warp_ * Shape::kOwnPositions + sm90::Lane() % 4 * 2;
    const auto sees = [&](int i, int n, int e) {
      return !kMasked || first + n * 8 + e < visible[i];
    };
#pragma unroll
    for (int i = 0; i < kHeldRows; ++i) {
      float largest = -INFINITY;
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (sees(i, n, e)) largest = fmaxf(largest, s[i / 2][n][i % 2 * 2 + e]);  // ignores NaN
        }
      }
      largest = sm90::FoldLanes(largest, 1, sm90::MaxOfFloats);
      largest = sm90::FoldLanes(largest, 2, sm90::MaxOfFloats);
      if (sm90::Lane() % 4 == 0) shared_->largest[warp_][Row(i)] = largest;
    }
    Meet();  // the maxima are there; the last tile's P and sums are no longer read
#pragma unroll
    for (int i = 0; i < kHeldRows; ++i) {
      const float m = NextMaximum(i, visible[i] > 0, scale, state);
      const uint32_t offset = Shared::P::Offset(Row(i), warp_ * kFragments) + sm90::Lane() % 4 * 2;
      float tree[kFragments];
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
        const float s0 = s[i / 2][n][i % 2 * 2];
        const float s1 = s[i / 2][n][i % 2 * 2 + 1];
        const float p0 = sees(i, n, 0) ? sm90::Ex2(__fmaf_rn(s0, scale, -m)) : 0.0f;
        const float p1 = sees(i, n, 1) ? sm90::Ex2(__fmaf_rn(s1, scale, -m)) : 0.0f;
        bf16* pair = shared_->p.data + (offset ^ Shared::P::Offset(0, n));
        *reinterpret_cast<uint32_t*>(pair) = sm90::PackBf16(p0, p1);
        tree[n] = __fadd_rn(p0, p1);
      }
#pragma unroll
      for (int stride = 1; stride < kFragments; stride *= 2) {
#pragma unroll
        for (int n = 0; n < kFragments; n += 2 * stride) {
          tree[n] = __fadd_rn(tree[n], tree[n + stride]);
        }
      }
      shared_->sums[warp_][Row(i)][sm90::Lane() % 4] = tree[0];
    }
  }

  // The row's reference exponent with this tile, and O and l multiplied accordingly. A tile of
  // which the row sees nothing leaves them as they were.
  __device__ __forceinline__ float NextMaximum(int i, bool sees, float scale, State* state) const {
    float largest = -INFINITY;
#pragma unroll
    for (int w = 0; w < Shape::kWarps; ++w) {
      largest = fmaxf(largest, shared_->largest[w][Row(i)]);
    }
    sm90::RowSum& sum = state->sum[i];
    const float product = __fmul_rn(largest, scale);
    const float m = fmaxf(sum.m, Shape::kCanonical ? ceilf(product) : product);
    if (!sees || m == sum.m) return sum.m;                 // x * 1 is x
    const float rescale = sm90::Ex2(__fsub_rn(sum.m, m));  // 0 from -inf
    sum.l = __fmul_rn(sum.l, rescale);
    sum.m = m;
#pragma unroll
    for (int n = 0; n < Shape::kOwnColumns / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& o = state->o[i / 2][n][i % 2 * 2 + e];
        o = __fmul_rn(o, rescale);
      }
    }
    return m;
  }

  // tree128's last levels: between the warps, then the lanes of a quad.
  __device__ __forceinline__ void AddSums(State* state) const {
#pragma unroll
    for (int i = 0; i < kHeldRows; ++i) {
      float4 tree[Shape::kWarps];
#pragma unroll
      for (int w = 0; w < Shape::kWarps; ++w) {
        tree[w] = *reinterpret_cast<const float4*>(shared_->sums[w][Row(i)]);
      }
#pragma unroll
      for (int stride = 1; stride < Shape::kWarps; stride *= 2) {
#pragma unroll
        for (int w = 0; w < Shape::kWarps; w += 2 * stride) {
          tree[w] = {
              __fadd_rn(tree[w].x, tree[w + stride].x), __fadd_rn(tree[w].y, tree[w + stride].y),
              __fadd_rn(tree[w].z, tree[w + stride].z), __fadd_rn(tree[w].w, tree[w + stride].w)};
        }
      }
      const float4& t = tree[0];
      state->sum[i].l =
          __fadd_rn(state->sum[i].l, __fadd_rn(__fadd_rn(t.x, t.y), __fadd_rn(t.z, t.w)));
    }
  }

  template <bool kZero>
  __device__ __forceinline__ void MultiplyValues(Keys* values, int present, State* state) {
    const LanePiece lane = LaneOfA();
    const uint32_t offset_a = Shared::P::Offset(lane.row, lane.piece);
    const uint32_t offset_b = Keys::Offset(lane.row, lane.piece);
    const int first = warp_ * (Shape::kOwnColumns / 8);  // piece
#pragma unroll
    for (int k = 0; k < sm90::kTileChunks; ++k) {
      if (k * sm90::kChunk >= present) break;
      Fragment a[Shape::kRowTiles];
#pragma unroll
      for (int m = 0; m < Shape::kRowTiles; ++m) {
        LoadFragment(a[m], shared_->p.data + m * 16 * Shared::P::kRun +
                               (offset_a ^ Shared::P::Offset(0, 2 * k)));
      }
#pragma unroll
      for (int n = 0; n < Shape::kOwnColumns / 8; n += 2) {
        Fragment b;
        LoadTransposed(
            b, values->data + k * 16 * Keys::kRun + (offset_b ^ Keys::Offset(0, first + n)));
        if constexpr (kZero) {
#pragma unroll
          for (uint32_t& pair : b) pair = sm90::ZeroNotFinite(pair);
        }
#pragma unroll
        for (int m = 0; m < Shape::kRowTiles; ++m) Multiply(&state->o[m][n], a[m], b);
      }
    }
  }

  Shared* shared_;
  int warp_;
  int barrier_;
};

}  // namespace vexact::portable

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_TILE_CUH_
