// The statistics of draws: they follow the exact distribution, and are independent of each other.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/sampling/sampling.h"
#include "support/sample_rows.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

// The exact probabilities of the row's kept tokens, in double, by sorting: written from the
// definition of each filter, not from numerics.md.
std::vector<double> ExactDistribution(const std::vector<float>& z, const SampleRow& row) {
  std::vector<std::pair<double, int32_t>> order;  // (-p, id)
  double total = 0.0;
  for (size_t i = 0; i < z.size(); ++i) {
    const double p = std::exp(static_cast<double>(z[i]) * row.inverse_temperature);
    order.emplace_back(-p, static_cast<int32_t>(i));
    total += p;
  }
  std::sort(order.begin(), order.end());
  const double least = -order[0].first * std::exp(static_cast<double>(row.log_min_p));
  std::erase_if(order, [&](const auto& entry) { return -entry.first < least; });
  if (row.top_k > 0) order.resize(std::min<size_t>(order.size(), row.top_k));
  total = 0.0;
  for (const auto& [p, id] : order) total -= p;
  const double wanted =
      row.top_p == kTopPOff ? 2.0 * total : total * static_cast<double>(row.top_p) * 0x1p-32;
  std::vector<double> kept(z.size(), 0.0);
  double before = 0.0;
  for (const auto& [p, id] : order) {
    if (before >= wanted) break;
    kept[id] = -p;
    before -= p;
  }
  for (double& p : kept) p /= before;
  return kept;
}

// The value that a chi-square variable of `freedom` degrees exceeds with a probability of about
// 1e-6: Wilson and Hilferty's approximation with the normal quantile 4.7534.
double ChiSquareLimit(int freedom) {
  const double v = 2.0 / (9.0 * freedom);
  return freedom * std::pow(1.0 - v + 4.7534 * std::sqrt(v), 3.0);
}

// Chi-square of counts against probabilities that sum to 1. A token of probability 0 must not
// occur; those expected fewer than 10 times share one cell.
void ExpectFits(const std::vector<int64_t>& counts, const std::vector<double>& probabilities) {
  int64_t draws = 0;
  for (const int64_t count : counts) draws += count;
  double statistic = 0.0;
  double rare_expected = 0.0;
  double rare_count = 0.0;
  int cells = 0;
  const auto add = [&](double count, double expected) {
    statistic += (count - expected) * (count - expected) / expected;
    ++cells;
  };
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * static_cast<double>(draws);
    if (expected == 0.0) {
      EXPECT_EQ(counts[i], 0) << "token " << i;
    } else if (expected < 10.0) {
      rare_expected += expected;
      rare_count += static_cast<double>(counts[i]);
    } else {
      add(static_cast<double>(counts[i]), expected);
    }
  }
  if (rare_expected >= 10.0) add(rare_count, rare_expected);
  ASSERT_GE(cells, 2);
  EXPECT_LT(statistic, ChiSquareLimit(cells - 1)) << "of " << cells << " cells";
}

TEST(Sampling, DrawsFollowTheExactDistributionOfEachFilter) {
  const int draws = ScaledCases(100000);
  std::mt19937 random(4);
  const std::vector<float> z = RandomRow(random, 300, 2.0f);
  std::map<std::string, SampleRow> cases;
  cases["temperature 1"] = {};
  cases["temperature 0.5"].inverse_temperature = 2.0f;
  cases["temperature 2"].inverse_temperature = 0.5f;
  cases["top-k"].top_k = 20;
  cases["top-p"].top_p = 0xc0000000;
  cases["min-p"].log_min_p = -3.0f;
  cases["all"] = {
      .inverse_temperature = 0.7f, .log_min_p = -4.0f, .top_k = 40, .top_p = 0xe0000000};
  const SampleImplementation fastest = FastestOnTheCpu();
  for (auto& [name, row] : cases) {
    SCOPED_TRACE(name);
    std::vector<int64_t> counts(z.size());
    for (int n = 0; n < draws; ++n) {
      row.seed = static_cast<uint64_t>(n / 1000);
      row.position = static_cast<uint32_t>(n % 1000);
      ++counts[SampleOne(fastest, z, row).token];
    }
    ExpectFits(counts, ExactDistribution(z, row));
  }
}

// A row of eight equal values: each token has a probability of 1/8 exactly.
int32_t DrawOfEight(uint64_t seed, uint32_t position, uint32_t sample_index) {
  static const SampleImplementation kFastest = FastestOnTheCpu();
  SampleRow row;
  row.seed = seed;
  row.position = position;
  row.sample_index = sample_index;
  return SampleOne(kFastest, std::vector<float>(8, 1.0f), row).token;
}

// Pairs of draws whose coordinates differ in one place only, as a table of 8 x 8 equal cells.
TEST(Sampling, DrawsOfNeighbouringSeedsPositionsAndSamplesAreIndependent) {
  const int draws = ScaledCases(40000);
  struct Step {
    uint64_t seed;
    uint32_t position;
    uint32_t sample_index;
  };
  const std::map<std::string, Step> steps = {{"next seed", {1, 0, 0}},
                                             {"high half of the seed", {uint64_t{1} << 32, 0, 0}},
                                             {"sign of the seed", {uint64_t{1} << 63, 0, 0}},
                                             {"next position", {0, 1, 0}},
                                             {"next sample", {0, 0, 1}}};
  const std::vector<double> even(64, 1.0 / 64.0);
  for (const auto& [name, step] : steps) {
    SCOPED_TRACE(name);
    std::vector<int64_t> pairs(64);
    for (int n = 0; n < draws; ++n) {
      // Seeds go up in twos, so that no draw is in two pairs.
      const auto seed = static_cast<uint64_t>(2 * (n % 200));
      const auto position = static_cast<uint32_t>(2 * (n / 200));
      const int32_t first = DrawOfEight(seed, position, 0);
      const int32_t second =
          DrawOfEight(seed ^ step.seed, position + step.position, step.sample_index);
      ++pairs[8 * first + second];
    }
    ExpectFits(pairs, even);
  }
}

// The generator's words choose the block and the token apart: with many blocks, both must be even.
TEST(Sampling, DrawsAreEvenOverManyBlocks) {
  const int draws = ScaledCases(100000);
  const SampleImplementation fastest = FastestOnTheCpu();
  const std::vector<float> z(1000, -2.5f);
  std::vector<int64_t> counts(z.size());
  SampleRow row;
  for (int n = 0; n < draws; ++n) {
    row.position = static_cast<uint32_t>(n);
    ++counts[SampleOne(fastest, z, row).token];
  }
  if (draws >= 10000) ExpectFits(counts, std::vector<double>(z.size(), 1.0 / 1000.0));
}

}  // namespace
}  // namespace vexact
