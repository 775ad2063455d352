// Products of rows with a panel of bf16 words, summed in fp32 in a free order: what variant mode
// computes linears and attention with. Half the work of dot16 and none of its watching, but the
// order depends on how many rows share the words.
#if defined(VEXACT_KERNELS_SIMD_PANEL_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VEXACT_KERNELS_SIMD_PANEL_PRODUCTS_INL_H_
#undef VEXACT_KERNELS_SIMD_PANEL_PRODUCTS_INL_H_
#else
#define VEXACT_KERNELS_SIMD_PANEL_PRODUCTS_INL_H_
#endif

#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {

inline constexpr int kHalfPanel = 2 * kLanes;  // words of one load: an even and an odd vector
// Rows that share one load of words. Their sums fill the registers: 6 x 2 vectors of the 16 that
// AVX2 has, 6 x 4 of AVX-512's 32.
inline constexpr int kMaxProductRows = 6;

// How a number of rows is summed. Few rows leave too few sums to keep both multipliers busy (4
// cycles each): then they take more outputs at once, and a lone row every second input apart.
template <int kRows>
struct ProductShape {
  static constexpr int kHalves = HWY_TARGET == HWY_AVX3 || kRows <= 2 ? 2 : 1;
  static constexpr int kParts = kRows == 1 || (kRows == 3 && kHalves == 1) ? 2 : 1;
};

// Sums of kRows rows and kHalves half panels: [row][even, odd of each half].
template <int kRows, int kHalves>
struct ProductSums {
  VF v[kRows][2 * kHalves];

  HWY_INLINE void Clear() {
    HWY_UNROLL(16)
    for (auto& row : v) {
      HWY_UNROLL(16)
      for (VF& sum : row) sum = hn::Zero(DF());
    }
  }
};

// sums += one input of the rows, x[r * x_stride], times its words.
template <int kRows, int kHalves>
HWY_INLINE void AddInput(const bf16* words, const float* x, int64_t x_stride,
                         ProductSums<kRows, kHalves>& sums) {
  VF w[2 * kHalves];
  HWY_UNROLL(16)
  for (int half = 0; half < kHalves; ++half) {
    const VU pair = LoadBf16(words + half * kHalfPanel);
    w[2 * half] = EvenBf16(pair);
    w[2 * half + 1] = OddBf16(pair);
  }
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    const VF value = hn::Set(DF(), x[r * x_stride]);
    HWY_UNROLL(16)
    for (int i = 0; i < 2 * kHalves; ++i) sums.v[r][i] = FusedMulAdd(w[i], value, sums.v[r][i]);
  }
}

// `count` inputs: their words are `words_stride` apart, input i of row r is x[r * x_stride + i].
struct ProductInputs {
  const bf16* words;
  int64_t words_stride;
  const float* x;
  int64_t x_stride;
  int64_t count;
};

// result += x * words.
template <int kParts, int kRows, int kHalves>
HWY_INLINE void AddProducts(const ProductInputs& inputs, ProductSums<kRows, kHalves>& result) {
  const bf16* words = inputs.words;
  const float* x = inputs.x;
  int64_t left = inputs.count;
  ProductSums<kRows, kHalves> sums = result;
  if constexpr (kParts == 2) {
    ProductSums<kRows, kHalves> others;
    others.Clear();
    for (; left >= 2; left -= 2, words += 2 * inputs.words_stride, x += 2) {
      AddInput(words, x, inputs.x_stride, sums);
      AddInput(words + inputs.words_stride, x + 1, inputs.x_stride, others);
    }
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (int i = 0; i < 2 * kHalves; ++i) sums.v[r][i] = hn::Add(sums.v[r][i], others.v[r][i]);
    }
  }
  for (; left > 0; --left, words += inputs.words_stride, ++x) {
    AddInput(words, x, inputs.x_stride, sums);
  }
  result = sums;
}

// The stride of `count` fp32 values a row: rows of a power of two would share their places in the
// first cache.
inline int64_t ProductStride(int64_t count) { return count + 16; }

// Rows cut into blocks of at most kMaxProductRows that differ by at most one row: a block with one
// row costs nearly what a full one does.
struct RowBlocks {
  explicit RowBlocks(int64_t rows)
      : count((rows + kMaxProductRows - 1) / kMaxProductRows), num_rows(rows) {}
  int64_t First(int64_t block) const { return block * num_rows / count; }
  int64_t Rows(int64_t block) const { return First(block + 1) - First(block); }

  int64_t count;
  int64_t num_rows;
};

// Calls `run` with a number of rows as a constant: run.template operator()<rows>().
template <typename Run>
HWY_INLINE void WithProductRows(int64_t rows, const Run& run) {
  switch (rows) {
    case 1:
      return run.template operator()<1>();
    case 2:
      return run.template operator()<2>();
    case 3:
      return run.template operator()<3>();
    case 4:
      return run.template operator()<4>();
    case 5:
      return run.template operator()<5>();
    default:
      return run.template operator()<kMaxProductRows>();
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#endif  // VEXACT_KERNELS_SIMD_PANEL_PRODUCTS_INL_H_
