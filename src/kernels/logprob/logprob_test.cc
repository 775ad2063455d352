#include "kernels/logprob/logprob.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/logprob/logprob_value.h"
#include "numerics/words.h"
#include "support/backends.h"
#include "support/oracle.h"
#include "support/property.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Implementation {
  std::string name;
  std::function<void(const SumLogitsArgs&, Stream&)> sum;
  std::function<void(const LogprobArgs&, Stream&)> logprob;
};

std::vector<Implementation> Implementations() {
  std::vector<Implementation> all;  // the reference first
  for (const auto& [name, backend] : AllBackends()) {
    all.push_back({name, [backend](const SumLogitsArgs& a, Stream& s) { backend->SumLogits(a, s); },
                   [backend](const LogprobArgs& a, Stream& s) { backend->Logprob(a, s); }});
  }
  return all;
}

struct Summed {
  std::vector<LogitSums> sums;
  std::vector<float> block_max;
  std::vector<uint64_t> block_sums;
};

Summed Sum(const Implementation& implementation, Rows<const float> logits, bool has_dropped,
           int threads = 1) {
  ThreadPool pool = ThreadPool::Create(threads).value();
  Stream stream{&pool};
  const int64_t blocks = NumVocabBlocks(logits.cols);
  Summed out{std::vector<LogitSums>(logits.rows), std::vector<float>(logits.rows * blocks),
             std::vector<uint64_t>(logits.rows * blocks)};
  implementation.sum({.logits = logits,
                      .has_dropped = has_dropped,
                      .sums = out.sums.data(),
                      .block_max = {out.block_max.data(), logits.rows, blocks},
                      .block_sums = {out.block_sums.data(), logits.rows, blocks}},
                     stream);
  return out;
}

Summed SumOne(const Implementation& implementation, const std::vector<float>& z,
              bool has_dropped = false) {
  return Sum(implementation, {z.data(), 1, static_cast<int64_t>(z.size())}, has_dropped);
}

void ExpectSameSums(const LogitSums& a, const LogitSums& b) {
  EXPECT_EQ(a.sum, b.sum);
  EXPECT_EQ(a.exponent, b.exponent);
  EXPECT_EQ(a.argmax, b.argmax);
  EXPECT_EQ(a.fault_id, b.fault_id);
  EXPECT_EQ(CanonicalWord(a.fault_value), CanonicalWord(b.fault_value));
  EXPECT_EQ(CanonicalWord(a.max), CanonicalWord(b.max));
}

void ExpectSame(const Summed& a, const Summed& b) {
  ASSERT_EQ(a.sums.size(), b.sums.size());
  for (size_t r = 0; r < a.sums.size(); ++r) {
    SCOPED_TRACE(r);
    ExpectSameSums(a.sums[r], b.sums[r]);
    if (a.sums[r].fault_id >= 0) continue;
    const size_t blocks = a.block_max.size() / a.sums.size();
    for (size_t b_index = r * blocks; b_index < (r + 1) * blocks; ++b_index) {
      ASSERT_EQ(CanonicalWord(a.block_max[b_index]), CanonicalWord(b.block_max[b_index]));
      ASSERT_EQ(a.block_sums[b_index], b.block_sums[b_index]) << "block " << b_index;
    }
  }
}

struct Answers {
  std::vector<LogprobAnswer> answers;
  std::vector<int32_t> top_ids;
  std::vector<float> top_logprobs;
};

Answers Ask(const Implementation& implementation, Rows<const float> logits, const Summed& summed,
            const std::vector<LogprobQuery>& queries, const int32_t* drawn = nullptr) {
  ThreadPool pool = ThreadPool::Create(1).value();
  Stream stream{&pool};
  size_t num_top = 0;
  for (const LogprobQuery& query : queries) {
    num_top = std::max(num_top, static_cast<size_t>(query.top_offset + std::max(query.num_top, 0)));
  }
  Answers out{std::vector<LogprobAnswer>(queries.size()), std::vector<int32_t>(num_top, -7),
              std::vector<float>(num_top, 7.0f)};
  implementation.logprob(
      {.logits = logits,
       .sums = summed.sums.data(),
       .block_max = {summed.block_max.data(), logits.rows, NumVocabBlocks(logits.cols)},
       .num_queries = static_cast<int64_t>(queries.size()),
       .queries = queries.data(),
       .drawn = drawn,
       .answers = out.answers.data(),
       .top_ids = out.top_ids.data(),
       .top_logprobs = out.top_logprobs.data()},
      stream);
  return out;
}

void ExpectSame(const Answers& a, const Answers& b) {
  ASSERT_EQ(a.answers.size(), b.answers.size());
  for (size_t q = 0; q < a.answers.size(); ++q) {
    EXPECT_EQ(WordFromFloat(a.answers[q].logprob), WordFromFloat(b.answers[q].logprob)) << q;
    EXPECT_EQ(a.answers[q].rank, b.answers[q].rank) << q;
    EXPECT_EQ(a.answers[q].num_top, b.answers[q].num_top) << q;
  }
  EXPECT_EQ(a.top_ids, b.top_ids);
  ASSERT_EQ(a.top_logprobs.size(), b.top_logprobs.size());
  for (size_t n = 0; n < a.top_logprobs.size(); ++n) {
    EXPECT_EQ(WordFromFloat(a.top_logprobs[n]), WordFromFloat(b.top_logprobs[n])) << n;
  }
}

std::vector<float> RandomRow(std::mt19937& random, int64_t vocab, float spread) {
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> z(vocab);
  for (float& value : z) value = normal(random);
  return z;
}

TEST(Logprob, EqualsTheOracle) {
  const Oracle& oracle = OperatorOracle();
  for (const Implementation& implementation : Implementations()) {
    SCOPED_TRACE(implementation.name);
    for (int c = 0; oracle.Has("logprob." + std::to_string(c) + ".logits"); ++c) {
      const std::string name = "logprob." + std::to_string(c);
      const OracleTensor& z = oracle.Get(name + ".logits");
      const Rows<const float> logits(z.As<float>().data(), z.shape[0], z.shape[1]);
      const Summed summed = Sum(implementation, logits, false);
      const auto exponents = oracle.Get(name + ".M").As<float>();
      const auto sums = oracle.Get(name + ".S").As<uint64_t>();
      const auto ids = oracle.Get(name + ".ids").As<int32_t>();  // [8, rows]
      const auto y = oracle.Get(name + ".y").As<float>();        // [8, rows]
      std::vector<LogprobQuery> queries;
      for (size_t n = 0; n < ids.size(); ++n) {
        const auto row = static_cast<int32_t>(n % logits.rows);
        queries.push_back({.row = row, .id = ids[n]});
      }
      for (int64_t r = 0; r < logits.rows; ++r) {
        EXPECT_EQ(static_cast<float>(summed.sums[r].exponent), exponents[r]);
        EXPECT_EQ(summed.sums[r].sum, sums[r]);
      }
      const Answers answers = Ask(implementation, logits, summed, queries);
      for (size_t n = 0; n < ids.size(); ++n) {
        EXPECT_EQ(CanonicalWord(answers.answers[n].logprob), CanonicalWord(y[n])) << name << n;
      }
    }
  }
}

TEST(Logprob, EveryTargetEqualsTheReferenceOnRandomRows) {
  const std::vector<Implementation> all = Implementations();
  EXPECT_TRUE(Holds(ScaledCases(100), [&] {
    const auto vocab =
        *rc::gen::element<int64_t>(1, 2, 7, 8, 9, 127, 128, 129, 255, 256, 1000, 4099);
    const auto rows = *rc::gen::inRange<int64_t>(1, 4);
    const auto seed = *rc::gen::arbitrary<uint32_t>();
    const auto spread = *rc::gen::element(0.0f, 1e-3f, 1.0f, 8.0f, 100.0f, 1e5f);
    const auto levels = *rc::gen::element(0, 1, 3, 40);  // 0: no ties on purpose
    const auto dropped_percent = *rc::gen::element(0, 50, 99);
    std::mt19937 random(seed);
    std::vector<float> z = RandomRow(random, rows * vocab, spread);
    for (float& value : z) {
      if (levels > 0) value = std::round(value * static_cast<float>(levels) / (spread + 1.0f));
      if (static_cast<int>(random() % 100) < dropped_percent) value = kDropped;
    }
    for (int64_t r = 0; r < rows; ++r) z[r * vocab + random() % vocab] = 0.5f;
    const Rows<const float> logits(z.data(), rows, vocab);
    std::vector<LogprobQuery> queries;
    int64_t offset = 0;
    for (int64_t r = 0; r < rows; ++r) {
      for (const int64_t num_top : {int64_t{-1}, int64_t{0}, std::min<int64_t>(vocab, 5), vocab}) {
        queries.push_back({static_cast<int32_t>(r), static_cast<int32_t>(random() % vocab),
                           static_cast<int32_t>(num_top), offset});
        offset += std::max<int64_t>(num_top, 0);
      }
    }
    const Summed summed = Sum(all[0], logits, true);
    const Answers answers = Ask(all[0], logits, summed, queries);
    for (size_t i = 1; i < all.size(); ++i) {
      SCOPED_TRACE(all[i].name);
      const Summed other = Sum(all[i], logits, true, 3);
      ExpectSame(summed, other);
      ExpectSame(answers, Ask(all[i], logits, other, queries));
      RC_ASSERT(!testing::Test::HasFailure());
    }
  }));
}

TEST(Logprob, EveryTargetEqualsTheReferenceOnALargeVocabulary) {
  std::mt19937 random(11);
  const std::vector<Implementation> all = Implementations();
  for (const int64_t vocab : {int64_t{49152}, int64_t{151936}, kMaxVocab}) {
    const std::vector<float> z = RandomRow(random, vocab, 4.0f);
    const Rows<const float> logits(z.data(), 1, vocab);
    const Summed summed = SumOne(all[0], z);
    const std::vector<LogprobQuery> queries = {{0, static_cast<int32_t>(vocab - 1), 20, 0}};
    const Answers answers = Ask(all[0], logits, summed, queries);
    for (size_t i = 1; i < all.size(); ++i) {
      ExpectSame(summed, SumOne(all[i], z));
      ExpectSame(answers, Ask(all[i], logits, summed, queries));
    }
  }
}

TEST(Logprob, SumsDoNotOverflowAtTheLargestVocabulary) {
  // Equal values just under their exponent are the largest sum there is.
  const std::vector<float> z(kMaxVocab, 0.0f);
  for (const Implementation& implementation : Implementations()) {
    const Summed summed = SumOne(implementation, z);
    EXPECT_EQ(summed.sums[0].sum, uint64_t{1} << 62) << implementation.name;
    const Answers answers =
        Ask(implementation, {z.data(), 1, kMaxVocab}, summed, {{.row = 0, .id = 5}});
    EXPECT_FLOAT_EQ(answers.answers[0].logprob, -18.0f * kLn2);
  }
}

TEST(Logprob, LogprobsAreThoseOfSoftmaxInDouble) {
  // t and log2 S are within 2^-23 of values up to 64, twice, then two roundings of the product.
  constexpr double kTolerance = 4.0 * 64.0 * 0x1p-23;
  std::mt19937 random(3);
  for (const float spread : {0.1f, 3.0f, 15.0f}) {
    const std::vector<float> z = RandomRow(random, 3001, spread);
    double sum = 0.0;
    for (const float value : z) sum += std::exp(static_cast<double>(value));
    for (const Implementation& implementation : Implementations()) {
      const Summed summed = SumOne(implementation, z);
      std::vector<LogprobQuery> queries;
      for (int32_t id = 0; id < 3001; ++id) queries.push_back({.row = 0, .id = id});
      const Answers answers = Ask(implementation, {z.data(), 1, 3001}, summed, queries);
      for (int32_t id = 0; id < 3001; ++id) {
        const double expected = static_cast<double>(z[id]) - std::log(sum);
        ASSERT_NEAR(answers.answers[id].logprob, expected, kTolerance) << id;
      }
    }
  }
}

TEST(Logprob, TheOnlyTokenIsCertain) {
  for (const Implementation& implementation : Implementations()) {
    for (const float value : {0.0f, -0.0f, 17.3f, -4e6f}) {
      const std::vector<float> z = {value};
      const Answers answers = Ask(implementation, {z.data(), 1, 1}, SumOne(implementation, z),
                                  {{.row = 0, .id = 0, .num_top = 1}});
      EXPECT_EQ(WordFromFloat(answers.answers[0].logprob), 0u) << "+0, not -0: " << value;
      EXPECT_EQ(answers.answers[0].rank, 1);
      EXPECT_EQ(answers.top_ids, std::vector<int32_t>{0});
    }
  }
}

TEST(Logprob, TopAndRankGoByValueThenId) {
  const std::vector<float> z = {1.0f, 3.0f, -0.0f, 3.0f, 0.0f, kDropped, kDropped};
  for (const Implementation& implementation : Implementations()) {
    const Summed summed = SumOne(implementation, z, true);
    EXPECT_EQ(summed.sums[0].argmax, 1);
    std::vector<LogprobQuery> queries;
    for (int32_t id = 0; id < 7; ++id) queries.push_back({.row = 0, .id = id, .num_top = 0});
    queries.push_back({.row = 0, .id = 0, .num_top = 7});
    const Answers answers = Ask(implementation, {z.data(), 1, 7}, summed, queries);
    std::vector<int32_t> ranks;
    for (int32_t id = 0; id < 7; ++id) ranks.push_back(answers.answers[id].rank);
    EXPECT_EQ(ranks, (std::vector<int32_t>{3, 1, 4, 2, 5, 6, 7})) << implementation.name;
    EXPECT_EQ(answers.answers[7].num_top, 5) << "finite ones only";
    EXPECT_EQ(std::vector<int32_t>(answers.top_ids.begin(), answers.top_ids.begin() + 5),
              (std::vector<int32_t>{1, 3, 0, 2, 4}));
    EXPECT_EQ(answers.answers[5].logprob, -kInfinity);
  }
}

TEST(Logprob, TheLowestFaultIsNamed) {
  std::mt19937 random(9);
  for (const Implementation& implementation : Implementations()) {
    for (const float bad : {kNan, kInfinity, -kInfinity, kLogitLimit, -kLogitLimit, 1e38f}) {
      for (const int32_t id : {0, 127, 128, 200, 256}) {
        std::vector<float> z = RandomRow(random, 257, 2.0f);
        z[id] = bad;
        z[256] = bad;
        const Summed summed = SumOne(implementation, z);
        ExpectSameSums(summed.sums[0], {.fault_id = id, .fault_value = bad});
        const bool is_dropped = bad == -kInfinity;
        EXPECT_EQ(SumOne(implementation, z, true).sums[0].fault_id, is_dropped ? -1 : id);
      }
    }
    std::vector<float> z(300, std::nextafter(kLogitLimit, 0.0f));
    EXPECT_EQ(SumOne(implementation, z).sums[0].fault_id, -1);
  }
}

TEST(Logprob, ARowOfNothingHasNoSum) {
  for (const Implementation& implementation : Implementations()) {
    const Summed summed = SumOne(implementation, std::vector<float>(300, kDropped), true);
    ExpectSameSums(summed.sums[0], LogitSums{});
    EXPECT_EQ(summed.block_sums, std::vector<uint64_t>(3, 0));
  }
}

TEST(Logprob, AQueryWithoutAnIdIsThatOfTheDrawnToken) {
  std::mt19937 random(14);
  const std::vector<float> z = RandomRow(random, 2 * 300, 3.0f);
  const Rows<const float> logits(z.data(), 2, 300);
  const std::vector<int32_t> drawn = {17, 299};
  for (const Implementation& implementation : Implementations()) {
    SCOPED_TRACE(implementation.name);
    const Summed summed = Sum(implementation, logits, false);
    ExpectSame(
        Ask(implementation, logits, summed, {{1, -1, 3, 0}, {0, -1, 0, 3}, {0, -1, -1, 3}},
            drawn.data()),
        Ask(implementation, logits, summed, {{1, 299, 3, 0}, {0, 17, 0, 3}, {0, 17, -1, 3}}));
  }
}

TEST(Logprob, RowsThatDrewNothingOrHaveAFaultKeepDefaultAnswers) {
  std::mt19937 random(15);
  std::vector<float> z = RandomRow(random, 3 * 200, 3.0f);
  z[150] = kNan;
  std::fill(z.begin() + 200, z.begin() + 400, kDropped);
  const Rows<const float> logits(z.data(), 3, 200);
  const std::vector<int32_t> drawn = {-1, -1, -1};
  for (const Implementation& implementation : Implementations()) {
    SCOPED_TRACE(implementation.name);
    const Summed summed = Sum(implementation, logits, true);
    const Answers answers = Ask(implementation, logits, summed,
                                {{0, 3, 2, 0}, {1, 3, 2, 2}, {2, -1, 2, 4}}, drawn.data());
    for (const LogprobAnswer& answer : answers.answers) {
      EXPECT_EQ(answer.logprob, 0.0f);
      EXPECT_EQ(answer.rank, 0);
      EXPECT_EQ(answer.num_top, 0);
    }
    EXPECT_EQ(answers.top_ids, std::vector<int32_t>(6, -7));
  }
}

TEST(Logprob, ARowAloneHasTheBitsItHasAmongOthers) {
  std::mt19937 random(21);
  constexpr int64_t kVocab = 1000;
  constexpr int64_t kRows = 9;
  std::vector<float> z = RandomRow(random, kRows * kVocab, 5.0f);
  std::fill(z.begin(), z.begin() + kVocab, kNan);
  std::fill(z.begin() + 4 * kVocab, z.begin() + 5 * kVocab, kNan);
  const Rows<const float> logits(z.data(), kRows, kVocab);
  for (const Implementation& implementation : Implementations()) {
    SCOPED_TRACE(implementation.name);
    for (const int threads : {1, 2, 5}) {
      const Summed together = Sum(implementation, logits, false, threads);
      for (const int64_t r : {int64_t{1}, int64_t{3}, int64_t{5}, int64_t{8}}) {
        const Summed alone = Sum(implementation, logits.Slice(r, r + 1), false);
        ExpectSameSums(alone.sums[0], together.sums[r]);
        for (size_t b = 0; b < alone.block_sums.size(); ++b) {
          EXPECT_EQ(alone.block_sums[b],
                    together.block_sums[r * static_cast<int64_t>(alone.block_sums.size()) + b]);
        }
      }
      EXPECT_EQ(together.sums[0].fault_id, 0);
      EXPECT_EQ(together.sums[4].fault_id, 0);
    }
  }
}

}  // namespace
}  // namespace vexact
