// Attention of mode variant: right within what fp32 allows, however the positions are cut.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "numerics/constants.h"
#include "support/attention_call.h"
#include "support/backends.h"

namespace vexact {
namespace {

constexpr AttentionShape kShapes[] = {{4, 2, 64}, {2, 2, 128}, {9, 3, 64}, {7, 1, 32},
                                      {2, 1, 16}, {3, 3, 80},  {2, 1, 24}, {64, 1, 16}};
constexpr int64_t kContexts[] = {1, 2, 15, 17, 64, 127, 128, 129, 255, 257, 513, 770, 1100};
constexpr int64_t kBlockSizes[] = {16, 32, 64};

// One element of the exact answer, and how far fp32 may be from it.
struct Exact {
  double value;
  double bound;
  double magnitude;  // of the weighted values
};

// A score of d products is off by (d + 1) 2^-24 of its magnitudes, times c and less the maximum by
// one rounding of a number below |s c| + |m|; ln 2 of that error, and the power's own (2^-22), is
// p's relative error. l and O are sums of n such p with n 2^-24 more each, and of up to n / 128
// scalings and a merge of parts (2^-21 for all powers involved). The answer is rounded to bf16.
Exact ExactElement(const AttentionShape& shape, const AttentionSequence& sequence, int64_t row,
                   int64_t head, int64_t element) {
  const int64_t visible = sequence.k.rows() - sequence.q.rows() + row + 1;
  const int64_t kv = head / (shape.num_heads / shape.num_kv_heads) * shape.head_dim;
  const double scale = AttentionScale(shape.head_dim);
  std::vector<double> scores;
  double worst_score = 0;
  double largest = -INFINITY;
  for (int64_t p = 0; p < visible; ++p) {
    double score = 0;
    double magnitude = 0;
    for (int64_t d = 0; d < shape.head_dim; ++d) {
      const double product =
          static_cast<double>(FloatFromBf16(sequence.q[row][head * shape.head_dim + d])) *
          FloatFromBf16(sequence.k[p][kv + d]);
      score += product;
      magnitude += std::abs(product);
    }
    scores.push_back(score * scale);
    largest = std::max(largest, score * scale);
    worst_score = std::max(worst_score, magnitude * scale);
  }
  double sum = 0;
  double value = 0;
  double magnitude = 0;
  for (int64_t p = 0; p < visible; ++p) {
    const double power = std::exp2(scores[p] - largest);
    const double v = FloatFromBf16(sequence.v[p][kv + element]);
    sum += power;
    value += power * v;
    magnitude += power * std::abs(v);
  }
  const double of_scores =
      std::log(2.0) * static_cast<double>(shape.head_dim + 4) * 0x1p-24 * worst_score;
  const double of_sums = static_cast<double>(visible) * 0x1p-24 + 0x1p-20;
  return {value / sum, 2 * (of_scores + of_sums) * magnitude / sum + 0x1p-8 * std::abs(value / sum),
          magnitude / sum};
}

struct FreeBackend {
  std::string name;
  std::shared_ptr<const Backend> backend;
  std::vector<int> threads;
  double p_rounding;  // relative
};

// Eight threads cut the sequences' positions, one does not. A GPU rounds P to bf16; its scores and
// sums, a chain of dot16 (21 * 2^-25 of the magnitudes a step of 16), stay within what is allowed
// above.
std::vector<FreeBackend> FreeBackends() {
  std::vector<FreeBackend> backends;
  for (const CpuTarget target : SupportedCpuTargets()) {
    backends.push_back(
        {std::string(CpuTargetName(target)), MakeCpuBackend(target, Mode::kVariant), {1, 8}, 0.0});
  }
  if (const auto cute = CuteBackend(Mode::kVariant)) {
    backends.push_back({"fa-variant-cute", cute, {1}, 0x1p-9});
  }
  return backends;
}

TEST(AttentionVariant, IsWithinItsDerivedErrorOfFloat64) {
  std::mt19937 random(1);
  const std::vector<FreeBackend> backends = FreeBackends();
  for (const AttentionShape& shape : kShapes) {
    for (const int64_t context : kContexts) {
      std::vector<AttentionSequence> sequences;
      sequences.push_back(RandomSequence(random, shape, Values::kNormal, context, 1));
      const int64_t rows = std::min<int64_t>(context, 1 + random() % 20);
      sequences.push_back(RandomSequence(random, shape, Values::kNormal, context, rows));
      const int64_t block_size = kBlockSizes[random() % 3];
      for (const FreeBackend& free : backends) {
        if (!TakesHeads(*free.backend, shape)) continue;
        for (const int threads : free.threads) {
          const auto y = ApplyAttention(*free.backend, shape, sequences, block_size, threads);
          int64_t r = 0;
          for (const AttentionSequence& sequence : sequences) {
            for (int64_t row = 0; row < sequence.q.rows(); ++row, ++r) {
              for (const int64_t head : {int64_t{0}, shape.num_heads - 1}) {
                for (const int64_t d : {int64_t{0}, shape.head_dim - 1}) {
                  const Exact exact = ExactElement(shape, sequence, row, head, d);
                  EXPECT_NEAR(FloatFromBf16(y[r][head * shape.head_dim + d]), exact.value,
                              exact.bound + free.p_rounding * exact.magnitude)
                      << free.name << ", heads " << shape.num_heads << " / " << shape.num_kv_heads
                      << " of " << shape.head_dim << ", context " << context << ", " << threads
                      << " threads, row " << row << ", head " << head;
                }
              }
            }
          }
        }
      }
    }
  }
}

// What is not finite must reach the logits, where the request fails.
TEST(AttentionVariant, AQueryThatIsNotANumberGivesNoNumber) {
  std::mt19937 random(2);
  const AttentionShape shape{2, 1, 64};
  std::vector<AttentionSequence> sequences;
  sequences.push_back(RandomSequence(random, shape, Values::kNormal, 300, 2));
  sequences[0].q[0][3] = Poison<bf16>();
  for (const FreeBackend& free : FreeBackends()) {
    const auto y = ApplyAttention(*free.backend, shape, sequences, 16);
    EXPECT_TRUE(std::isnan(FloatFromBf16(y[0][0]))) << free.name;
    EXPECT_FALSE(std::isnan(FloatFromBf16(y[1][0]))) << free.name;
  }
}

}  // namespace
}  // namespace vexact
