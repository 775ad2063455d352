// Matrices for operator tests: poisoned around, filled with chosen kinds of values, compared by
// canonical words.
#ifndef VEXACT_SUPPORT_MATRIX_H_
#define VEXACT_SUPPORT_MATRIX_H_

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "numerics/bf16.h"
#include "numerics/words.h"
#include "support/oracle.h"
#include "tensor/rows.h"

namespace vexact {

// What stands where a test expects that nobody reads or writes.
template <typename T>
T Poison() {
  if constexpr (std::is_same_v<T, bf16>) {
    return bf16{0x7fa5};  // a NaN with a payload
  } else if constexpr (std::is_same_v<T, float>) {
    return FloatFromWord(0x7fa5a5a5u);
  } else {
    return std::numeric_limits<T>::min();
  }
}

// rows x cols, with poisoned columns after each row and a poisoned row before and after.
template <typename T>
class Matrix {
 public:
  Matrix(int64_t rows, int64_t cols, int64_t padding = 5)
      : rows_(rows), cols_(cols), stride_(cols + padding) {
    data_.assign(static_cast<size_t>((rows + 2) * stride_), Poison<T>());
    Fill(T{});
  }

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  Rows<T> view() { return {data_.data() + stride_, rows_, cols_, stride_}; }
  Rows<const T> view() const { return {data_.data() + stride_, rows_, cols_, stride_}; }
  T* operator[](int64_t r) { return view()[r]; }
  const T* operator[](int64_t r) const { return view()[r]; }

  void Fill(T value) {
    for (int64_t r = 0; r < rows_; ++r) std::fill_n(view()[r], cols_, value);
  }

  // True if nothing around the matrix was written.
  bool PoisonIsIntact() const {
    const T poison = Poison<T>();
    for (int64_t r = -1; r <= rows_; ++r) {
      const bool inside = r >= 0 && r < rows_;
      for (int64_t c = inside ? cols_ : 0; c < stride_; ++c) {
        if (std::memcmp(&view()[r][c], &poison, sizeof(T)) != 0) return false;
      }
    }
    return true;
  }

 private:
  int64_t rows_;
  int64_t cols_;
  int64_t stride_;
  std::vector<T> data_;
};

// Rows [begin, end) as a matrix of their own.
template <typename T>
Matrix<T> RowsOf(const Matrix<T>& matrix, int64_t begin, int64_t end) {
  Matrix<T> rows(end - begin, matrix.cols());
  for (int64_t r = begin; r < end; ++r) std::copy_n(matrix[r], matrix.cols(), rows[r - begin]);
  return rows;
}

// The rows and columns of an oracle tensor: its last axis, or `cols` when given, is a row.
template <typename T>
Matrix<T> OracleMatrix(const std::string& name, int64_t cols = 0) {
  const OracleTensor& tensor = OperatorOracle().Get(name);
  const std::span<const T> values = tensor.As<T>();
  if (cols == 0) cols = tensor.shape.back();
  Matrix<T> matrix(static_cast<int64_t>(values.size()) / cols, cols);
  for (int64_t r = 0; r < matrix.rows(); ++r) {
    std::copy_n(values.data() + r * cols, cols, matrix[r]);
  }
  return matrix;
}

template <typename T>
auto ComparedWord(T x) {
  if constexpr (std::is_integral_v<T>) {
    return x;
  } else {
    return CanonicalWord(x);
  }
}

// Equal shapes and equal canonical words; names the first difference and counts them.
template <typename T>
testing::AssertionResult SameBits(Rows<const T> actual, Rows<const T> expected) {
  if (actual.rows != expected.rows || actual.cols != expected.cols) {
    return testing::AssertionFailure() << "shapes differ";
  }
  int64_t differences = 0;
  testing::AssertionResult result = testing::AssertionFailure();
  for (int64_t r = 0; r < actual.rows; ++r) {
    for (int64_t c = 0; c < actual.cols; ++c) {
      const auto found = ComparedWord(actual[r][c]);
      const auto wanted = ComparedWord(expected[r][c]);
      if (found == wanted) continue;
      if (differences++ == 0) {
        result << fmt::format("[{}, {}]: found word {:#x}, expected {:#x}", r, c, found, wanted);
      }
    }
  }
  if (differences == 0) return testing::AssertionSuccess();
  return result << "; " << differences << " of " << actual.rows * actual.cols << " differ";
}
template <typename T>
testing::AssertionResult SameBits(const Matrix<T>& actual, const Matrix<T>& expected) {
  if (!actual.PoisonIsIntact()) return testing::AssertionFailure() << "wrote outside its rows";
  return SameBits(actual.view(), expected.view());
}

// What a test fills its inputs with.
enum class Values {
  kNormal,     // standard normal
  kWide,       // magnitudes 2^-40 to 2^40
  kSubnormal,  // zeros, subnormals and the smallest normals
  kLarge,      // magnitudes 2^50 to 2^127: sums overflow
  kSpecial,    // normal, with a few infinities, NaN and zeros of both signs among them
  kAnyWord,    // any 16 bits
};
inline constexpr Values kAllValues[] = {Values::kNormal, Values::kWide,    Values::kSubnormal,
                                        Values::kLarge,  Values::kSpecial, Values::kAnyWord};
inline constexpr Values kFiniteValues[] = {Values::kNormal, Values::kWide, Values::kSubnormal,
                                           Values::kLarge};

// One of `choices`.
int64_t Pick(std::mt19937& random, std::span<const int64_t> choices);

bf16 RandomBf16(std::mt19937& random, Values values);
Matrix<bf16> RandomMatrix(std::mt19937& random, Values values, int64_t rows, int64_t cols);

}  // namespace vexact

#endif  // VEXACT_SUPPORT_MATRIX_H_
