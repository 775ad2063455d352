// One warp's step of attention over a tile of 128 positions: 16 query rows on the 16-row side of
// mma.sync, positions (then columns of V) on the 8 side. Lane 4 * g + c holds rows g and g + 8.
//
// A score fragment's order is tree128's: position bit 0 is a thread's pair, bits 3 to 6 are the
// fragments of a row, bits 1 and 2 are the lanes of a quad, which come last.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_TILE_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_TILE_SM90_CUH_

#include <cstdint>

#include "kernels/attention/attention.h"
#include "kernels/sm90/arithmetic.cuh"
#include "kernels/sm90/mma.cuh"

namespace vexact::sm90 {

inline constexpr int kChunk = 16;                            // positions: one step of P V
inline constexpr int kTileChunks = kAttentionTile / kChunk;  // 8
inline constexpr int kWarpRows = 16;
inline constexpr int kSegmentTiles = kAttentionSegment / kAttentionTile;

// K or V of 16 positions in shared memory, as a tensor map writes them: runs of up to 64 columns
// one after the other, each [16][columns], the 16-byte pieces of a row permuted so that 8 rows'
// pieces of one column lie in different banks.
template <int kHeadDim>
struct KvChunk {
  static constexpr int kRunColumns = kHeadDim < 64 ? kHeadDim : 64;
  static constexpr int kRuns = kHeadDim / kRunColumns;
  static constexpr int kRunPieces = kRunColumns / 8;  // of a row
  static constexpr int kBytes = kChunk * kHeadDim * 2;

  // Byte offset of a piece; linear (xor) in the bits of row and piece.
  __device__ static uint32_t Offset(int row, int piece) {
    const int permuted = piece % kRunPieces ^ (row / (8 / kRunPieces) % kRunPieces);
    return static_cast<uint32_t>(((piece / kRunPieces * kChunk + row) * kRunPieces + permuted) *
                                 16);
  }
};

// q[k] is the fragment of columns 16 k; s0 and s1 are the scores of positions 0-7 and 8-15.
template <int kHeadDim>
__device__ __forceinline__ void ScoreChunk(float (&s0)[4], float (&s1)[4],
                                           const uint32_t (&q)[kHeadDim / 16][4], uint32_t keys) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int row = lane / 16 * 8 + lane % 8;
  const int half = lane / 8 % 2;
#pragma unroll
  for (int e = 0; e < 4; ++e) s0[e] = s1[e] = 0.0f;
#pragma unroll
  for (int k = 0; k < kHeadDim / 16; ++k) {
    uint32_t b[4];
    LoadMatrices(b, keys + KvChunk<kHeadDim>::Offset(row, 2 * k + half));
    MmaStep(s0, q[k], {b[0], b[1]});
    MmaStep(s1, q[k], {b[2], b[3]});
  }
}

// o[j] (columns 8 j) takes one step with P of 16 positions.
template <int kHeadDim>
__device__ __forceinline__ void ValueChunk(float (&o)[kHeadDim / 8][4], const uint32_t (&p)[4],
                                           uint32_t values) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int row = lane % 16;
  const int half = lane / 16;
#pragma unroll
  for (int j = 0; j < kHeadDim / 16; ++j) {
    uint32_t b[4];
    LoadMatricesTransposed(b, values + KvChunk<kHeadDim>::Offset(row, 2 * j + half));
    MmaStep(o[2 * j], p, {b[0], b[1]});
    MmaStep(o[2 * j + 1], p, {b[2], b[3]});
  }
}

// The reference exponent and the sum of one row, in a segment or folded.
struct RowSum {
  float m;
  float l;
};

// The rest of tree128 for two rows, from the sums of a thread's pairs: to element 0 of each.
__device__ __forceinline__ void SumTrees(float (&tree)[2][16]) {
#pragma unroll
  for (int stride = 1; stride < 16; stride *= 2) {
#pragma unroll
    for (int n = 0; n < 16; n += 2 * stride) {
#pragma unroll
      for (auto& x : tree) x[n] = __fadd_rn(x[n], x[n + stride]);
    }
  }
#pragma unroll
  for (int distance = 1; distance < 4; distance *= 2) {
#pragma unroll
    for (auto& x : tree) x[0] = __fadd_rn(x[0], __shfl_xor_sync(~0u, x[0], distance));
  }
}

// Rows g and g + 8 of the warp in s (elements 0 and 1, 2 and 3 of each fragment) become P before
// its rounding to bf16; of the tile's positions those that a row does not see are 0. rescale: what
// O is multiplied by. A row that sees nothing of the tile keeps everything else as it was. Both
// rows in one go: their instructions fill each other's latencies.
template <bool kMasked, bool kFromStart>
__device__ __forceinline__ void SoftmaxRows(float (&s)[16][4],
                                            const VisibleRun<kFromStart> (&visible)[2], float scale,
                                            RowSum (&sum)[2], float (&rescale)[2]) {
  const int column = static_cast<int>(threadIdx.x % 4) * 2;
  const auto sees = [&](int row, int fragment, int e) {
    return !kMasked || visible[row].Sees(fragment * 8 + column + e);
  };
  float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
  for (int n = 0; n < 16; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        if (sees(row, n, e)) largest[row] = fmaxf(largest[row], s[n][2 * row + e]);  // ignores NaN
      }
    }
  }
#pragma unroll
  for (int distance = 1; distance < 4; distance *= 2) {
#pragma unroll
    for (float& x : largest) x = fmaxf(x, __shfl_xor_sync(~0u, x, distance));
  }
  float m[2];
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    m[row] = sum[row].m;
    rescale[row] = 1.0f;
    if (!kMasked || visible[row].SeesAny(0, kAttentionTile)) {
      m[row] = fmaxf(m[row], ceilf(__fmul_rn(largest[row], scale)));
      rescale[row] = Ex2(__fsub_rn(sum[row].m, m[row]));  // 0 from m = -inf
    }
    sum[row].m = m[row];
  }
  float tree[2][16];
#pragma unroll
  for (int row = 0; row < 2; ++row) {
#pragma unroll
    for (int n = 0; n < 16; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& x = s[n][2 * row + e];
        x = sees(row, n, e) ? Ex2(__fmaf_rn(x, scale, -m[row])) : 0.0f;
      }
      tree[row][n] = __fadd_rn(s[n][2 * row], s[n][2 * row + 1]);
    }
  }
  SumTrees(tree);
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    sum[row].l = __fadd_rn(__fmul_rn(sum[row].l, rescale[row]), tree[row][0]);
  }
}

// P as the operand of 16 positions a step.
__device__ __forceinline__ void RoundTile(const float (&p)[16][4],
                                          uint32_t (&rounded)[kTileChunks][4]) {
#pragma unroll
  for (int n = 0; n < 16; ++n) {
    rounded[n / 2][n % 2 * 2] = PackBf16(p[n][0], p[n][1]);
    rounded[n / 2][n % 2 * 2 + 1] = PackBf16(p[n][2], p[n][3]);
  }
}

// The warp's 16 rows of one segment in progress.
template <int kHeadDim>
struct SegmentState {
  float o[kHeadDim / 8][4];
  RowSum sum[2];  // rows g and g + 8

  __device__ __forceinline__ void ClearSums() { sum[0] = sum[1] = {-INFINITY, 0.0f}; }
  __device__ __forceinline__ void Clear() {
    ClearSums();
#pragma unroll
    for (auto& fragment : o) {
#pragma unroll
      for (float& x : fragment) x = 0.0f;
    }
  }

  __device__ __forceinline__ void Multiply(const float (&rows)[2]) {
    const auto [row0, row1] = rows;
    if (__all_sync(~0u, row0 == 1.0f && row1 == 1.0f)) return;  // x * 1 is x
#pragma unroll
    for (auto& fragment : o) {
      fragment[0] = __fmul_rn(fragment[0], row0);
      fragment[1] = __fmul_rn(fragment[1], row0);
      fragment[2] = __fmul_rn(fragment[2], row1);
      fragment[3] = __fmul_rn(fragment[3], row1);
    }
  }

  // Scores become P. visible: which of the tile's positions rows g and g + 8 see; rescale: what O
  // is to be multiplied by before P V is added.
  template <bool kFromStart>
  __device__ __forceinline__ void Softmax(float (&s)[16][4],
                                          const VisibleRun<kFromStart> (&visible)[2], float scale,
                                          float (&rescale)[2]) {
    if (__all_sync(~0u, visible[0].SeesAll(0, kAttentionTile) &&
                            visible[1].SeesAll(0, kAttentionTile))) [[likely]] {
      SoftmaxRows<false>(s, visible, scale, sum, rescale);
    } else {
      SoftmaxRows<true>(s, visible, scale, sum, rescale);
    }
  }
};

// How the next segment joins the fold so far: (fold, next) are what each is multiplied by. From an
// empty fold (m = -inf, o = l = 0) the result is the segment itself; a segment of which the row
// sees nothing (`sees` false) leaves the fold as it was.
struct FoldScales {
  float fold;
  float next;
};
__device__ __forceinline__ FoldScales FoldMaximum(float next_m, bool sees, float* fold_m) {
  if (!sees) return {1.0f, 0.0f};
  const float m = fmaxf(*fold_m, next_m);
  const FoldScales scales{Ex2(__fsub_rn(*fold_m, m)), Ex2(__fsub_rn(next_m, m))};
  *fold_m = m;
  return scales;
}
__device__ __forceinline__ float FoldValue(float fold, float next, const FoldScales& scales) {
  return __fmaf_rn(next, scales.next, __fmul_rn(fold, scales.fold));
}
__device__ __forceinline__ FoldScales FoldRow(const RowSum& next, bool sees, RowSum* fold) {
  const FoldScales scales = FoldMaximum(next.m, sees, &fold->m);
  fold->l = FoldValue(fold->l, next.l, scales);
  return scales;
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_TILE_SM90_CUH_
