// Inputs of checks: words that are a function of a tag, a row and a column alone, in integers and
// single roundings, so that every machine makes the same ones, and any row without the others.
#ifndef VEXACT_KERNELS_SELF_CHECK_CHECK_INPUTS_H_
#define VEXACT_KERNELS_SELF_CHECK_CHECK_INPUTS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "numerics/bf16.h"

namespace vexact {

enum class CheckValues {
  kUniform,    // (-scale, scale)
  kSpread,     // random sign and significand, magnitude 2^-8 to 2
  kRepeat,     // kSpread, the second half of the columns like the first
  kCancel,     // kSpread, the second half like the first with the other sign
  kWide,       // magnitudes 2^-40 to 2^40
  kTiny,       // magnitudes 2^-70 to 2^-60: products of two are at the floor of dot16
  kSubnormal,  // zeros, subnormals and the smallest normals
  kLarge,      // magnitudes 2^50 to 2^127: sums overflow
  kSpecial,    // kSpread, with a few infinities, NaN and zeros of both signs among them
};

struct CheckInput {
  uint32_t tag = 0;  // inputs with another tag have other words
  CheckValues values = CheckValues::kSpread;
  float scale = 1.0f;  // kUniform
};

// A random word for an element: Philox4x32-10 with counter (index / 4, row, tag, 0).
uint32_t CheckWord(uint32_t tag, int64_t row, int64_t index);

void FillRow(const CheckInput& input, int64_t row, std::span<bf16> to);
void FillRow(const CheckInput& input, int64_t row, std::span<float> to);  // kUniform

// Rows [begin, end) of `cols` columns, one after the other.
template <typename T>
std::vector<T> MakeRows(const CheckInput& input, int64_t begin, int64_t end, int64_t cols,
                        ThreadPool& pool) {
  std::vector<T> rows(static_cast<size_t>((end - begin) * cols));
  pool.ParallelFor(end - begin, [&](int64_t r) {
    FillRow(input, begin + r, std::span<T>(rows.data() + r * cols, static_cast<size_t>(cols)));
  });
  return rows;
}

}  // namespace vexact

#endif  // VEXACT_KERNELS_SELF_CHECK_CHECK_INPUTS_H_
