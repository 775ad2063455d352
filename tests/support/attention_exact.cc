#include "support/attention_exact.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace vexact {
namespace {

// Softmax attention of one row and head, and the weighted sum of |v|.
struct Exact {
  std::vector<double> y;
  std::vector<double> magnitude;
  double exponent_error;  // largest error of an exponent of two, see below
};

Exact ExactRow(const AttentionSequence& s, const AttentionShape& shape, int64_t row, int64_t head,
               const AttentionMask& mask) {
  const int64_t d = shape.head_dim;
  const int64_t position = s.k.rows() - s.q.rows() + row;
  const int64_t kv = head / (shape.num_heads / shape.num_kv_heads) * d;
  const double scale = 1.4426950408889634 / std::sqrt(static_cast<double>(d));
  Exact exact{std::vector<double>(d), std::vector<double>(d), 0};
  double sum = 0;
  for (int64_t j = 0; j < s.k.rows(); ++j) {
    if (!Sees(mask, s, position, j)) continue;
    double score = 0;
    double size = 0;
    for (int64_t i = 0; i < d; ++i) {
      const double product = static_cast<double>(FloatFromBf16(s.q[row][head * d + i])) *
                             FloatFromBf16(s.k[j][kv + i]);
      score += product;
      size += std::abs(product);
    }
    // The score: 21 * 2^-25 of its magnitude a dot16 step (linear_test.cc); c: u of the exponent;
    // the fma, a difference of at most |exponent| + |Mn| + 1 <= 2 * size * scale + 2: u of that.
    const double steps = std::ceil(static_cast<double>(d) / 16);
    exact.exponent_error = std::max(exact.exponent_error,
                                    scale * size * (steps * 21 * 0x1p-25 + 3 * 0x1p-24) + 0x1p-23);
    const double p = std::exp2(score * scale);
    sum += p;
    for (int64_t i = 0; i < d; ++i) {
      exact.y[i] += p * FloatFromBf16(s.v[j][kv + i]);
      exact.magnitude[i] += p * std::abs(FloatFromBf16(s.v[j][kv + i]));
    }
  }
  for (int64_t i = 0; i < d; ++i) {
    exact.y[i] /= sum;
    exact.magnitude[i] /= sum;
  }
  return exact;
}

}  // namespace

bool Sees(const AttentionMask& mask, const AttentionSequence& sequence, int64_t position,
          int64_t key) {
  switch (mask.kind) {
    case MaskKind::kCausal:
      return key <= position;
    case MaskKind::kSlidingWindow:
      return key <= position && key > position - mask.window;
    case MaskKind::kPrefixLm:
      return key <= position || (key < sequence.prefix_len && position < sequence.prefix_len);
    case MaskKind::kDocument:
      return key <= position && sequence.documents[key] == sequence.documents[position];
  }
  return false;
}

// With W = sum of w |v|: each power is off by ln 2 times its exponent's error and 2.5 u of ex2; the
// sum l by as much, and both O and l round in at most 8 dot16 steps (21 * 2^-25 each), 8 additions,
// and 2 scalings a tile: for 6 tiles under 6 * 190 * 2^-25 < 2^-14. P is rounded to bf16, l is not:
// 2^-8 W, and y itself once more: 2^-8 |y|.
void ExpectWithinError(const Matrix<bf16>& y, const AttentionSequence& sequence,
                       const AttentionShape& shape, int64_t row, const AttentionMask& mask) {
  for (int64_t head = 0; head < shape.num_heads; ++head) {
    const Exact exact = ExactRow(sequence, shape, row, head, mask);
    for (int64_t i = 0; i < shape.head_dim; ++i) {
      const double bound = exact.magnitude[i] * (0x1p-8 + 2 * exact.exponent_error + 0x1p-14) +
                           std::abs(exact.y[i]) * 0x1p-8;
      EXPECT_NEAR(FloatFromBf16(y[row][head * shape.head_dim + i]), exact.y[i], bound)
          << "head " << head << ", element " << i;
    }
  }
}

}  // namespace vexact
