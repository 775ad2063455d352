// budget: every rule of one operator, on every backend
#include "kernels/sampling/sampling.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/philox.h"
#include "kernels/logprob/logprob_value.h"
#include "numerics/words.h"
#include "support/oracle.h"
#include "support/property.h"
#include "support/sample_rows.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

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
  EXPECT_EQ(a.drawn, b.drawn);
  EXPECT_EQ(a.newest_tokens, b.newest_tokens);
  EXPECT_EQ(a.failed_owners, b.failed_owners);
}

// The arrays that a SampleRow points into.
struct OwnedRow {
  SampleRow row;
  std::vector<uint32_t> allowed;
  std::vector<int32_t> banned;
  std::vector<BadWord> bad_words;
  std::vector<int32_t> bad_word_ids;
  std::vector<TokenBias> bias;
  std::vector<int32_t> prompt;
  std::vector<int32_t> output;
  std::vector<int32_t> tokens;  // the last View's

  void AddBadWord(const std::vector<int32_t>& ids) {
    bad_words.push_back(
        {static_cast<int32_t>(bad_word_ids.size()), static_cast<int32_t>(ids.size())});
    bad_word_ids.insert(bad_word_ids.end(), ids.begin(), ids.end());
  }

  SampleRow View() {
    SampleRow view = row;
    tokens = prompt;
    tokens.insert(tokens.end(), output.begin(), output.end());
    tokens.push_back(kNotWritten);
    view.tokens = tokens.data();
    view.num_prompt = static_cast<int32_t>(prompt.size());
    view.num_output = static_cast<int32_t>(output.size());
    view.bad_words = bad_words.data();
    view.num_bad_words = static_cast<int32_t>(bad_words.size());
    view.bad_word_ids = bad_word_ids.data();
    view.allowed = allowed.empty() ? nullptr : allowed.data();
    view.banned = banned.data();
    view.num_banned = static_cast<int32_t>(banned.size());
    view.bias = bias.data();
    view.num_bias = static_cast<int32_t>(bias.size());
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
    owned.prompt = penalties.at("prompt_ids").get<std::vector<int32_t>>();
    owned.output = penalties.at("output_ids").get<std::vector<int32_t>>();
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
    OwnedRow row = OracleRow(c);
    for (const SampleImplementation& implementation : SampleImplementations()) {
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
  // Of few ids where there are many tokens, so that some come often.
  const int num_tokens = *element(0, 0, 10, 300, 1500);
  for (int n = 0; n < num_tokens; ++n) {
    const int32_t id = *element(random_id(), n % static_cast<int32_t>(vocab), 0);
    (*element(false, true) ? owned.prompt : owned.output).push_back(id);
  }
  const int num_bad_words = *element(0, 0, 1, 8);
  for (int n = 0; n < num_bad_words; ++n) {
    // The output's end, whole or with a flaw, and a last id.
    const int length = *rc::gen::inRange(0, 5);
    std::vector<int32_t> word(owned.output.end() - std::min<size_t>(length, owned.output.size()),
                              owned.output.end());
    if (*element(false, false, true)) word.insert(word.begin(), random_id());
    if (!word.empty() && *element(false, false, true)) word[0] = random_id();
    word.push_back(random_id());
    owned.AddBadWord(word);
  }
  return owned;
}

TEST(Sampling, EveryTargetEqualsTheReferenceOnRandomRows) {
  const std::vector<SampleImplementation> all = SampleImplementations();
  EXPECT_TRUE(Holds(ScaledCases(100), [&] {
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
    for (int32_t r = 0; r < num_rows; ++r) {
      owned[r] = RandomSampleRow(vocab);
      owned[r].row.row = r;
      owned[r].row.slot = 7 - r;
      owned[r].row.owner = 100 + r;
    }
    SampleOptions options{.threads = 3};
    if (*rc::gen::arbitrary<bool>()) {
      const auto others = std::stable_partition(owned.begin(), owned.end(),
                                                [](OwnedRow& row) { return IsEdited(row.View()); });
      options.num_edited = others - owned.begin();
    }
    std::vector<SampleRow> rows;
    for (OwnedRow& row : owned) rows.push_back(row.View());
    Sampled expected = Sample(all[0], z, vocab, rows);
    for (size_t i = 1; i < all.size(); ++i) {
      SCOPED_TRACE(all[i].name);
      for (int32_t r = 0; r < num_rows; ++r) rows[r] = owned[r].View();
      ExpectSame(expected, Sample(all[i], z, vocab, rows, options));
      for (int32_t r = 0; r < num_rows; ++r) {
        const int32_t token = expected.outcomes[r].token;
        EXPECT_EQ(owned[r].tokens.back(), token < 0 ? kNotWritten : token);
      }
      RC_ASSERT(!testing::Test::HasFailure());
    }
  }));
}

TEST(Sampling, EveryTargetEqualsTheReferenceOnALargeVocabulary) {
  std::mt19937 random(77);
  const std::vector<SampleImplementation> all = SampleImplementations();
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

TEST(Sampling, ARowAloneHasTheBitsItHasAmongOthers) {
  constexpr int64_t kVocab = 700;
  constexpr int32_t kRows = 12;
  std::mt19937 random(31);
  const std::vector<float> z = RandomRow(random, kRows * kVocab, 4.0f);
  std::vector<SampleRow> rows(kRows);
  for (int32_t r = 0; r < kRows; ++r) {
    rows[r].row = r;
    rows[r].slot = r;
    rows[r].inverse_temperature = 0.5f + 0.25f * static_cast<float>(r);
    rows[r].top_k = r % 3 == 0 ? 0 : 10 * r;
    if (r % 2 == 0) rows[r].top_p = 0xd0000000;
    rows[r].keeps_processed = r % 4 == 1;
    rows[r].seed = random();
  }
  for (const SampleImplementation& implementation : SampleImplementations()) {
    SCOPED_TRACE(implementation.name);
    std::vector<SampleRow> backwards(rows.rbegin(), rows.rend());
    const Sampled together = Sample(implementation, z, kVocab, rows, {.threads = 3});
    const Sampled reversed = Sample(implementation, z, kVocab, backwards, {.threads = 2});
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

TEST(Sampling, PlainRowsDrawTheSameWhenTheyArePromisedToBePlain) {
  std::mt19937 random(32);
  constexpr int32_t kRows = 6;
  for (const int64_t vocab : {int64_t{1}, int64_t{129}, int64_t{5000}}) {
    const std::vector<float> z = RandomRow(random, kRows * vocab, 4.0f);
    std::vector<SampleRow> rows(kRows);
    for (int32_t r = 0; r < kRows; ++r) {
      rows[r].row = kRows - 1 - r;
      rows[r].slot = r;
      rows[r].greedy = r % 3 == 0;
      rows[r].draws = r != 4;
      rows[r].position = random();
      rows[r].seed = random();
    }
    const Sampled expected = Sample(SampleImplementations()[0], z, vocab, rows);
    for (const SampleImplementation& implementation : SampleImplementations()) {
      SCOPED_TRACE(implementation.name);
      ExpectSame(Sample(implementation, z, vocab, rows, {.threads = 2, .all_plain = true}),
                 expected);
    }
  }
}

TEST(SamplingDeathTest, PromisesAreChecked) {
  std::vector<SampleRow> rows(2);
  rows[0].row = 1;
  rows[0].inverse_temperature = 2.0f;  // changed, not edited
  const std::vector<float> z(2 * 5, 1.0f);
  const int32_t banned = 3;
  SampleRow edited = rows[1];
  edited.banned = &banned;
  edited.num_banned = 1;
  SampleRow kept = rows[1];
  kept.keeps_processed = true;
  for (const SampleImplementation& implementation :
       {SampleImplementations()[0], FastestOnTheCpu()}) {
    SCOPED_TRACE(implementation.name);
    const auto sample = [&](const std::vector<SampleRow>& some, const SampleOptions& options) {
      return Sample(implementation, z, 5, some, options);
    };
    sample({rows[0], rows[1]}, {.num_edited = 0});
    sample({edited, rows[0]}, {.num_edited = 1});
    EXPECT_DEATH(sample({rows[0], edited}, {.num_edited = 1}), "edited rows before all others");
    EXPECT_DEATH(sample({rows[1], rows[0]}, {.all_plain = true}), "plain rows alone");
    EXPECT_DEATH(sample({kept}, {.all_plain = true}), "plain rows alone");
  }
}

TEST(Sampling, DrawnTokensGoToTheirRowsAndSlotsAndFaultyRowsToNone) {
  std::vector<float> z = {1.0f, 9.0f, 0.0f,
                          2.0f, 1.0f,  // drawn: 1
                          1.0f, 9.0f, -std::numeric_limits<float>::infinity(),
                          1.0f, 1.0f, 1.0f,
                          1.0f, 1.0f, 1.0f,
                          9.0f,  // does not draw
                          1.0f, 1.0f, 1.0f,
                          1.0f, 1.0f,  // nothing allowed
                          9.0f, 9.0f, 1.0f,
                          1.0f, 1.0f};  // no row of Sample's
  const uint32_t nothing = 0;
  std::vector<SampleRow> rows(4);
  for (int32_t n = 0; n < 4; ++n) {
    rows[n].row = n;
    rows[n].slot = 2 * n + 1;
    rows[n].owner = 5;
    rows[n].greedy = true;
  }
  rows[2].draws = false;
  rows[3].allowed = &nothing;
  for (const SampleImplementation& implementation : SampleImplementations()) {
    SCOPED_TRACE(implementation.name);
    const Sampled sampled = Sample(implementation, z, 5, rows);
    EXPECT_EQ(sampled.drawn, (std::vector<int32_t>{1, -1, -1, -1, kNotWritten}));
    std::vector<int32_t> newest(kSamplerSlots, kNotWritten);
    newest[1] = 1;
    EXPECT_EQ(sampled.newest_tokens, newest);
    std::vector<int64_t> failed(kSamplerSlots);
    failed[3] = failed[7] = 5;
    EXPECT_EQ(sampled.failed_owners, failed);
    std::vector<SampleRow> elsewhere = rows;
    elsewhere[0].slot = -1;
    EXPECT_EQ(Sample(implementation, z, 5, elsewhere).newest_tokens,
              std::vector<int32_t>(kSamplerSlots, kNotWritten));
    EXPECT_EQ(sampled.outcomes[0].token, 1);
    EXPECT_EQ(sampled.outcomes[1].fault, SampleFault::kLogits);
    EXPECT_EQ(sampled.outcomes[1].fault_id, 2);
    EXPECT_EQ(sampled.outcomes[1].fault_value, -std::numeric_limits<float>::infinity());
    EXPECT_EQ(sampled.outcomes[2].fault, SampleFault::kNone);
    EXPECT_EQ(sampled.outcomes[3].fault, SampleFault::kNothingAllowed);
  }
}

TEST(Sampling, ASlotsFailedOwnerDrawsNothingMoreAndTheNextOneDoes) {
  const std::vector<float> z = {1.0f, 9.0f, 9.0f, 1.0f, 1.0f, 9.0f};
  OwnedRow owned[3];  // one of the failed owner, changed and plain, and one of another
  std::vector<SampleRow> rows;
  for (int32_t n = 0; n < 3; ++n) {
    owned[n].row = {.row = n, .slot = n, .owner = 41, .greedy = n > 0};
    if (n == 0) owned[n].row.top_k = 1;
    if (n == 2) owned[n].row.owner = 42;
    rows.push_back(owned[n].View());
  }
  for (const SampleImplementation& implementation : SampleImplementations()) {
    SCOPED_TRACE(implementation.name);
    for (int32_t n = 0; n < 3; ++n) rows[n] = owned[n].View();
    const std::vector<int64_t> failed(kSamplerSlots, 41);
    const Sampled sampled = Sample(implementation, z, 2, rows, {.failed_owners = failed});
    EXPECT_EQ(sampled.drawn, (std::vector<int32_t>{-1, -1, 1}));
    EXPECT_EQ(sampled.outcomes[0].fault, SampleFault::kEarlier);
    EXPECT_EQ(sampled.outcomes[1].fault, SampleFault::kEarlier);
    EXPECT_EQ(sampled.outcomes[2].fault, SampleFault::kNone);
    EXPECT_EQ(sampled.newest_tokens[0], kNotWritten);
    EXPECT_EQ(owned[0].tokens.back(), kNotWritten);
    EXPECT_EQ(owned[2].tokens.back(), 1);
    EXPECT_EQ(sampled.failed_owners, failed);
  }
}

TEST(Sampling, PenaltiesCountWhatTheyReadAndNothingElse) {
  // Ids 0 and 1 in the prompt, 1 and, twice, 2 in the output. All logits are 8.
  const std::vector<float> z(4, 8.0f);
  OwnedRow owned;
  owned.prompt = {0, 1, 0};
  owned.output = {2, 1, 2};
  owned.row.draws = false;
  owned.row.greedy = true;
  owned.row.keeps_processed = true;
  for (const SampleImplementation& implementation : SampleImplementations()) {
    SCOPED_TRACE(implementation.name);
    const auto processed = [&](float repetition, float frequency, float presence) {
      owned.row.repetition = repetition;
      owned.row.frequency = frequency;
      owned.row.presence = presence;
      return Sample(implementation, z, 4, {owned.View()}).logits;
    };
    EXPECT_EQ(processed(2.0f, 0.0f, 0.0f), (std::vector<float>{4.0f, 4.0f, 4.0f, 8.0f}));
    EXPECT_EQ(processed(1.0f, 0.5f, 0.0f), (std::vector<float>{8.0f, 7.5f, 7.0f, 8.0f}));
    EXPECT_EQ(processed(1.0f, 0.0f, 3.0f), (std::vector<float>{8.0f, 5.0f, 5.0f, 8.0f}));
    EXPECT_EQ(processed(2.0f, 0.5f, 1.0f), (std::vector<float>{4.0f, 2.5f, 2.0f, 8.0f}));
    EXPECT_EQ(processed(1.0f, 0.0f, 0.0f), z);
  }
}

TEST(Sampling, PenaltiesAreSubtractedOneAfterTheOther) {
  constexpr float kLarge = 0x1p20f;  // added to it first, the presence would be rounded
  OwnedRow owned;
  owned.output = {0, 1, 1};
  owned.row.frequency = kLarge;
  owned.row.presence = 0.1875f;
  owned.row.draws = false;
  owned.row.greedy = true;
  owned.row.keeps_processed = true;
  for (const SampleImplementation& implementation : SampleImplementations()) {
    EXPECT_EQ(Sample(implementation, {kLarge, 2 * kLarge, 0.0f}, 3, {owned.View()}).logits,
              (std::vector<float>{-0.1875f, -0.1875f, 0.0f}))
        << implementation.name;
  }
}

TEST(Sampling, BadWordsLookAtTheOutputsEndAlone) {
  const std::vector<float> z(6, 0.0f);
  OwnedRow owned;
  owned.prompt = {3, 1};
  owned.output = {2, 1};
  owned.AddBadWord({0});           // always
  owned.AddBadWord({2, 1, 3});     // the output's end
  owned.AddBadWord({1, 2, 1, 4});  // begins in the prompt
  owned.AddBadWord({2, 2});        // another end
  owned.AddBadWord({1, 5});
  owned.row.draws = false;
  owned.row.greedy = true;
  owned.row.keeps_processed = true;
  for (const SampleImplementation& implementation : SampleImplementations()) {
    EXPECT_EQ(Sample(implementation, z, 6, {owned.View()}).logits,
              (std::vector<float>{kDropped, 0.0f, 0.0f, kDropped, 0.0f, kDropped}))
        << implementation.name;
  }
}

TEST(Sampling, TopKKeepsExactlyKOfEqualValues) {
  // Ids 1, 3, 4 tie for the last two places: the lower ids take them.
  const std::vector<float> z = {0.0f, 1.0f, 2.0f, 1.0f, 1.0f};
  SampleRow row;
  row.top_k = 3;
  row.draws = false;
  row.keeps_processed = true;
  for (const SampleImplementation& implementation : SampleImplementations()) {
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
  for (const SampleImplementation& implementation : SampleImplementations()) {
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
  for (const SampleImplementation& implementation : SampleImplementations()) {
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

// Values whose terms under M = 0 are together `sum`, which is below 2^44; largest first.
std::vector<float> ValuesOfSum(uint64_t sum) {
  std::vector<float> values;
  while (sum > 0) {
    float low = -64.0f;  // its term is 0
    float high = 0.0f;   // and of this 2^44
    for (float middle = low / 2; middle != low && middle != high; middle = (low + high) / 2) {
      (SoftmaxTerm(middle, 0) <= sum ? low : high) = middle;
    }
    values.push_back(low);
    sum -= SoftmaxTerm(low, 0);
  }
  return values;
}

// Where the drawn number is the sum of all terms before a block or a token, that one is drawn: the
// sums before it are not above the number. By chance that happens once in 2^44 draws.
TEST(Sampling, ADrawOnABoundaryIsOfWhatFollows) {
  constexpr uint64_t kLast = uint64_t{1} << 44;  // the term of 0.0f
  for (const int word : {0, 2}) {                // of the block's number, of the token's in it
    SampleRow row;
    uint64_t random = 0;
    double share = 0.0;  // random / 2^64
    while (share < 0.35 || share > 0.45) {
      const PhiloxCounter w = Philox4x32({0, row.position, row.sample_index, 0}, ++row.seed);
      random = (static_cast<uint64_t>(w[word + 1]) << 32) | w[word];
      share = static_cast<double>(random) * 0x1p-64;
    }
    const auto number = [random](uint64_t sum) {
      return static_cast<uint64_t>((static_cast<unsigned __int128>(random) * sum) >> 64);
    };
    auto before = static_cast<uint64_t>(share / (1.0 - share) * static_cast<double>(kLast)) - 8;
    while (number(before + kLast) > before) ++before;
    ASSERT_EQ(number(before + kLast), before);
    // The last token is alone in its block, or at the end of the only one.
    std::vector<float> z(static_cast<size_t>((word == 0 ? 2 : 1) * kVocabBlock), -100.0f);
    std::ranges::copy(ValuesOfSum(before), z.begin());
    z.back() = 0.0f;
    for (const SampleImplementation& implementation : SampleImplementations()) {
      EXPECT_EQ(SampleOne(implementation, z, row).token, static_cast<int32_t>(z.size()) - 1)
          << implementation.name << ", word " << word;
    }
  }
}

}  // namespace
}  // namespace vexact
