#include "kernels/sampling/sampling.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/philox.h"
#include "numerics/words.h"
#include "support/oracle.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

struct Implementation {
  std::string name;
  std::function<void(const SumLogitsArgs&, Stream&)> sum;
  std::function<void(const SampleArgs&, Stream&)> sample;
};

std::vector<Implementation> Implementations() {
  std::vector<Implementation> all = {{"reference", SumLogitsReference, SampleReference}};
  for (const CpuTarget target : SupportedCpuTargets()) {
    all.push_back({std::string(CpuTargetName(target)),
                   [target](const SumLogitsArgs& a, Stream& s) { SumLogitsCpu(target, a, s); },
                   [target](const SampleArgs& a, Stream& s) { SampleCpu(target, a, s); }});
  }
  return all;
}

// What a call of Sample leaves behind, its rows without a fault in the raw logits.
struct Sampled {
  std::vector<float> logits;
  std::vector<LogitSums> sums;
  std::vector<float> block_max;
  std::vector<uint64_t> block_sums;
  std::vector<SampleOutcome> outcomes;
};

Sampled Sample(const Implementation& implementation, std::vector<float> logits, int64_t vocab,
               const std::vector<SampleRow>& rows, int threads = 1) {
  ThreadPool pool(threads);
  Stream stream{&pool};
  const int64_t num_rows = static_cast<int64_t>(logits.size()) / vocab;
  const int64_t blocks = NumVocabBlocks(vocab);
  Sampled out{std::move(logits), std::vector<LogitSums>(num_rows),
              std::vector<float>(num_rows * blocks), std::vector<uint64_t>(num_rows * blocks),
              std::vector<SampleOutcome>(rows.size())};
  const Rows<float> view(out.logits.data(), num_rows, vocab);
  const Rows<float> block_max(out.block_max.data(), num_rows, blocks);
  const Rows<uint64_t> block_sums(out.block_sums.data(), num_rows, blocks);
  implementation.sum({.logits = view,
                      .has_dropped = false,
                      .sums = out.sums.data(),
                      .block_max = block_max,
                      .block_sums = block_sums},
                     stream);
  implementation.sample({.logits = view,
                         .sums = out.sums.data(),
                         .block_max = block_max,
                         .block_sums = block_sums,
                         .num_rows = static_cast<int64_t>(rows.size()),
                         .rows = rows.data(),
                         .outcomes = out.outcomes.data()},
                        stream);
  return out;
}

SampleOutcome SampleOne(const Implementation& implementation, const std::vector<float>& logits,
                        const SampleRow& row) {
  return Sample(implementation, logits, static_cast<int64_t>(logits.size()), {row}).outcomes[0];
}

void ExpectSame(const Sampled& a, const Sampled& b) {
  for (size_t n = 0; n < a.outcomes.size(); ++n) {
    SCOPED_TRACE(n);
    EXPECT_EQ(a.outcomes[n].token, b.outcomes[n].token);
    EXPECT_EQ(a.outcomes[n].fault, b.outcomes[n].fault);
    EXPECT_EQ(a.outcomes[n].fault_id, b.outcomes[n].fault_id);
    EXPECT_EQ(CanonicalWord(a.outcomes[n].fault_value), CanonicalWord(b.outcomes[n].fault_value));
  }
  for (size_t i = 0; i < a.logits.size(); ++i) {
    ASSERT_EQ(CanonicalWord(a.logits[i]), CanonicalWord(b.logits[i])) << i;
  }
  for (size_t r = 0; r < a.sums.size(); ++r) {
    EXPECT_EQ(a.sums[r].sum, b.sums[r].sum);
    EXPECT_EQ(a.sums[r].exponent, b.sums[r].exponent);
    EXPECT_EQ(a.sums[r].argmax, b.sums[r].argmax);
  }
  EXPECT_EQ(a.block_sums, b.block_sums);
}

std::vector<float> RandomRow(std::mt19937& random, int64_t vocab, float spread) {
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> z(vocab);
  for (float& value : z) value = normal(random);
  return z;
}

// The arrays that a SampleRow points into.
struct OwnedRow {
  SampleRow row;
  std::vector<uint32_t> allowed;
  std::vector<int32_t> banned;
  std::vector<TokenBias> bias;
  std::vector<TokenCount> history;

  SampleRow View() const {
    SampleRow view = row;
    view.allowed = allowed.empty() ? nullptr : allowed.data();
    view.banned = banned.data();
    view.num_banned = static_cast<int32_t>(banned.size());
    view.bias = bias.data();
    view.num_bias = static_cast<int32_t>(bias.size());
    view.history = history.data();
    view.num_history = static_cast<int32_t>(history.size());
    return view;
  }
};

// A case of oracle_sampling.json, its doubles resolved as docs/numerics.md says.
OwnedRow OracleRow(const nlohmann::json& json) {
  const nlohmann::json& params = json.at("params");
  OwnedRow owned;
  SampleRow& row = owned.row;
  const double temperature = params.at("temperature").get<double>();
  row.greedy = temperature < 1e-5;
  if (!row.greedy) row.inverse_temperature = static_cast<float>(1.0 / temperature);
  row.seed = static_cast<uint64_t>(params.at("seed").get<int64_t>());
  row.sample_index = params.at("sample_index").get<uint32_t>();
  row.position = params.at("position").get<uint32_t>();
  if (params.contains("top_p")) {
    row.top_p = static_cast<uint64_t>(std::floor(params["top_p"].get<double>() * 0x1p32 + 0.5));
  }
  if (params.contains("top_k")) row.top_k = params["top_k"].get<int32_t>();
  if (params.contains("min_p")) {
    row.log_min_p = static_cast<float>(std::log(params["min_p"].get<double>()));
  }
  for (const auto& [id, bias] : json.at("logit_bias").items()) {
    owned.bias.push_back({std::stoi(id), static_cast<float>(bias.get<double>())});
  }
  const nlohmann::json& penalties = json.at("penalties");
  if (!penalties.empty()) {
    row.repetition = static_cast<float>(penalties.at("repetition").get<double>());
    row.frequency = static_cast<float>(penalties.at("frequency").get<double>());
    row.presence = static_cast<float>(penalties.at("presence").get<double>());
    std::map<int32_t, int32_t> counts;
    for (const int32_t id : penalties.at("prompt_ids")) counts[id] += 0;
    for (const int32_t id : penalties.at("output_ids")) counts[id] += 1;
    for (const auto& [id, count] : counts) owned.history.push_back({id, count});
  }
  return owned;
}

TEST(Sampling, EqualsTheOracle) {
  std::ifstream file(TestDataPath("oracle/oracle_sampling.json"));
  const auto json = nlohmann::json::parse(file);
  ASSERT_EQ(json.at("cases").size(), 60u);
  for (const nlohmann::json& c : json["cases"]) {
    const std::string name = "sampling." + std::to_string(c.at("case").get<int>()) + ".logits";
    const auto z = OperatorOracle().Get(name).As<float>();
    const OwnedRow row = OracleRow(c);
    for (const Implementation& implementation : Implementations()) {
      const SampleOutcome outcome =
          SampleOne(implementation, std::vector<float>(z.begin(), z.end()), row.View());
      EXPECT_EQ(outcome.token, c.at("token").get<int32_t>()) << name << " " << implementation.name;
    }
  }
  for (const nlohmann::json& c : json.at("philox")) {
    const auto words =
        Philox4x32({0, c.at("position").get<uint32_t>(), c.at("sample_index").get<uint32_t>(), 0},
                   c.at("seed").get<uint64_t>());
    EXPECT_EQ(std::vector<uint32_t>(words.begin(), words.end()),
              c.at("words").get<std::vector<uint32_t>>());
  }
}

OwnedRow RandomSampleRow(int64_t vocab) {
  using rc::gen::element;
  OwnedRow owned;
  SampleRow& row = owned.row;
  const auto random_id = [&] { return *rc::gen::inRange<int32_t>(0, static_cast<int32_t>(vocab)); };
  row.draws = *element(true, true, false);
  row.keeps_processed = *rc::gen::arbitrary<bool>();
  row.greedy = *element(false, false, false, true);
  row.inverse_temperature = *element(1.0f, 1.4285715f, 100.0f, 0.1f, 0.0f);
  row.log_min_p = *element(kDropped, kDropped, -2.3025851f, -0.1f, 0.0f, -40.0f);
  row.top_k = *element(0, 0, 1, 2, 5, 50, 129, 1000, 100000);
  row.top_p = *element(kTopPOff, uint64_t{0}, uint64_t{1}, uint64_t{0x4ccccccd},
                       uint64_t{0xf3333333}, uint64_t{0xffffffff}, uint64_t{1} << 32);
  row.repetition = *element(1.0f, 1.3f, 0.9f, 1e-30f, 1e30f);
  row.frequency = *element(0.0f, 0.2f, -2.0f);
  row.presence = *element(0.0f, 0.5f, -1.0f);
  row.seed = *rc::gen::arbitrary<uint64_t>();
  row.position = *rc::gen::arbitrary<uint16_t>();
  row.sample_index = *rc::gen::inRange<uint32_t>(0, 4);
  if (*element(false, false, true)) {
    owned.allowed.resize((vocab + 31) / 32);
    const int count = *rc::gen::inRange(0, 40);
    for (int n = 0; n < count; ++n) {
      const int32_t id = random_id();
      owned.allowed[id / 32] |= 1u << (id % 32);
    }
  }
  const int num_banned = *element(0, 0, 3, 40);
  for (int n = 0; n < num_banned; ++n) owned.banned.push_back(random_id());
  std::map<int32_t, float> bias;
  const int num_bias = *element(0, 0, 5);
  for (int n = 0; n < num_bias; ++n) {
    bias[random_id()] = *element(2.0f, -1.5f, -100.0f, 100.0f, 3e38f, -3e38f, 5e6f);
  }
  for (const auto& [id, value] : bias) owned.bias.push_back({id, value});
  std::map<int32_t, int32_t> counts;
  const int num_history = *element(0, 0, 10, 300);
  for (int n = 0; n < num_history; ++n) counts[random_id()] += *element(0, 1, 1);
  for (const auto& [id, count] : counts) owned.history.push_back({id, count});
  return owned;
}

TEST(Sampling, EveryTargetEqualsTheReferenceOnRandomRows) {
  const std::vector<Implementation> all = Implementations();
  rc::check("outcomes, processed logits and their sums", [&] {
    const auto vocab = *rc::gen::element<int64_t>(1, 2, 127, 128, 129, 500, 1000, 4099);
    const auto num_rows = *rc::gen::inRange<int32_t>(1, 5);
    const auto spread = *rc::gen::element(0.0f, 1e-3f, 1.0f, 6.0f, 30.0f, 1e4f);
    const auto levels = *rc::gen::element(0, 1, 3, 40);  // 0: no ties on purpose
    std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
    std::vector<float> z = RandomRow(random, num_rows * vocab, spread);
    for (float& value : z) {
      if (levels > 0) value = std::round(value * static_cast<float>(levels) / (spread + 1.0f));
    }
    std::vector<OwnedRow> owned(num_rows);
    std::vector<SampleRow> rows;
    for (int32_t r = 0; r < num_rows; ++r) {
      owned[r] = RandomSampleRow(vocab);
      owned[r].row.row = r;
      rows.push_back(owned[r].View());
    }
    Sampled expected = Sample(all[0], z, vocab, rows);
    for (size_t i = 1; i < all.size(); ++i) {
      SCOPED_TRACE(all[i].name);
      ExpectSame(expected, Sample(all[i], z, vocab, rows, 3));
      RC_ASSERT(!testing::Test::HasFailure());
    }
  });
}

TEST(Sampling, EveryTargetEqualsTheReferenceOnALargeVocabulary) {
  std::mt19937 random(77);
  const std::vector<Implementation> all = Implementations();
  for (const int64_t vocab : {int64_t{49152}, int64_t{151936}}) {
    std::vector<float> z = RandomRow(random, vocab, 3.0f);
    z[777] = 18.0f;
    std::vector<SampleRow> rows(8);
    for (SampleRow& row : rows) {
      row.inverse_temperature = 1.25f;
      row.keeps_processed = true;
      row.position = random();
    }
    rows[1].top_k = 50;
    rows[2].top_p = 0xf3333333;
    rows[3].log_min_p = -3.0f;
    rows[4].top_k = 5000;
    rows[4].top_p = 0xf3333333;
    rows[5].top_p = 0xffffffff;
    rows[6].log_min_p = -9.0f;
    rows[6].top_p = 0xe0000000;
    rows[7].greedy = true;
    for (const SampleRow& row : rows) {
      const Sampled expected = Sample(all[0], z, vocab, {row});
      for (size_t i = 1; i < all.size(); ++i) {
        SCOPED_TRACE(all[i].name);
        ExpectSame(expected, Sample(all[i], z, vocab, {row}));
      }
    }
  }
}

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
  const Implementation fastest = Implementations().back();
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
  static const Implementation kFastest = Implementations().back();
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
  const Implementation fastest = Implementations().back();
  const std::vector<float> z(1000, -2.5f);
  std::vector<int64_t> counts(z.size());
  SampleRow row;
  for (int n = 0; n < draws; ++n) {
    row.position = static_cast<uint32_t>(n);
    ++counts[SampleOne(fastest, z, row).token];
  }
  if (draws >= 10000) ExpectFits(counts, std::vector<double>(z.size(), 1.0 / 1000.0));
}

TEST(Sampling, ARowAloneHasTheBitsItHasAmongOthers) {
  constexpr int64_t kVocab = 700;
  constexpr int32_t kRows = 12;
  std::mt19937 random(31);
  const std::vector<float> z = RandomRow(random, kRows * kVocab, 4.0f);
  std::vector<SampleRow> rows(kRows);
  for (int32_t r = 0; r < kRows; ++r) {
    rows[r].row = r;
    rows[r].inverse_temperature = 0.5f + 0.25f * static_cast<float>(r);
    rows[r].top_k = r % 3 == 0 ? 0 : 10 * r;
    if (r % 2 == 0) rows[r].top_p = 0xd0000000;
    rows[r].keeps_processed = r % 4 == 1;
    rows[r].seed = random();
  }
  for (const Implementation& implementation : Implementations()) {
    SCOPED_TRACE(implementation.name);
    std::vector<SampleRow> backwards(rows.rbegin(), rows.rend());
    const Sampled together = Sample(implementation, z, kVocab, rows, 3);
    const Sampled reversed = Sample(implementation, z, kVocab, backwards, 2);
    for (int32_t r = 0; r < kRows; ++r) {
      SampleRow row = rows[r];
      row.row = 0;
      const std::vector<float> own(z.begin() + r * kVocab, z.begin() + (r + 1) * kVocab);
      const Sampled alone = Sample(implementation, own, kVocab, {row});
      EXPECT_EQ(alone.outcomes[0].token, together.outcomes[r].token);
      EXPECT_EQ(alone.outcomes[0].token, reversed.outcomes[kRows - 1 - r].token);
      for (int64_t i = 0; i < kVocab; ++i) {
        ASSERT_EQ(CanonicalWord(alone.logits[i]), CanonicalWord(together.logits[r * kVocab + i]));
      }
    }
  }
}

TEST(Sampling, TopKKeepsExactlyKOfEqualValues) {
  // Ids 1, 3, 4 tie for the last two places: the lower ids take them.
  const std::vector<float> z = {0.0f, 1.0f, 2.0f, 1.0f, 1.0f};
  SampleRow row;
  row.top_k = 3;
  row.draws = false;
  row.keeps_processed = true;
  for (const Implementation& implementation : Implementations()) {
    const Sampled sampled = Sample(implementation, z, 5, {row});
    EXPECT_EQ(sampled.outcomes[0].token, -1) << "a row that does not draw";
    EXPECT_EQ(sampled.logits, (std::vector<float>{kDropped, 1.0f, 2.0f, 1.0f, kDropped}))
        << implementation.name;
  }
}

TEST(Sampling, FiltersComeInTheOrderMinPTopKTopP) {
  // y = ln of 8, 4, 2, 1, 1 (of 16). min-p 0.2 keeps 8, 4, 2; top-k 2 of those 8, 4 (of 12); top-p
  // 0.6 of those 8 alone, where 0.6 of everything would need 8 and 4.
  const std::vector<float> z = {std::log(2.0f), std::log(8.0f), 0.0f, std::log(4.0f), 0.0f};
  SampleRow row;
  row.keeps_processed = true;
  row.log_min_p = std::log(0.2f);
  row.top_k = 2;
  row.top_p = static_cast<uint64_t>(0.6 * 0x1p32);
  for (const Implementation& implementation : Implementations()) {
    const Sampled sampled = Sample(implementation, z, 5, {row});
    EXPECT_EQ(sampled.outcomes[0].token, 1) << implementation.name;
    EXPECT_EQ(sampled.logits[3], kDropped);
    SampleRow without = row;
    without.top_k = 0;
    without.log_min_p = kDropped;
    EXPECT_EQ(Sample(implementation, z, 5, {without}).logits[3], z[3]);
  }
}

TEST(Sampling, AFaultNamesTheLowestIdAndItsValue) {
  const std::vector<float> z = {1.0f, 50000.0f, -45000.0f, 2.0f};
  SampleRow row;
  row.inverse_temperature = 100.0f;
  for (const Implementation& implementation : Implementations()) {
    SampleOutcome outcome = SampleOne(implementation, z, row);
    EXPECT_EQ(outcome.fault, SampleFault::kValue) << implementation.name;
    EXPECT_EQ(outcome.fault_id, 1);
    EXPECT_EQ(outcome.fault_value, 5e6f);
    EXPECT_EQ(outcome.token, -1);
    // A forbidden id's value does not matter.
    const int32_t banned[] = {1, 2};
    SampleRow forbidding = row;
    forbidding.banned = banned;
    forbidding.num_banned = 2;
    outcome = SampleOne(implementation, z, forbidding);
    EXPECT_EQ(outcome.fault, SampleFault::kNone);
    EXPECT_EQ(outcome.token, 3);
    forbidding.num_banned = 1;
    EXPECT_EQ(SampleOne(implementation, z, forbidding).fault_id, 2);
  }
}

}  // namespace
}  // namespace vexact
