// budget: one harness runs every rule of the sampler on every backend
#include "sampler/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "numerics/words.h"
#include "support/backends.h"
#include "support/oracle.h"
#include "support/sampler_run.h"

namespace vexact {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> RandomLogits(std::mt19937& random, int64_t count, float spread = 3.0f) {
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> z(count);
  for (float& value : z) value = normal(random);
  return z;
}

StartedSequence Started(int32_t slot, const SamplingParams& params,
                        std::vector<int32_t> prompt = {1, 2}, std::vector<int32_t> output = {}) {
  StartedSequence started;
  started.id = slot;
  started.slot = slot;
  started.params = std::make_shared<const SamplingParams>(params);
  started.seed = 100 + slot;
  started.prompt_ids = std::make_shared<const std::vector<int32_t>>(std::move(prompt));
  started.output_ids = std::move(output);
  return started;
}

LogitRow DrawRow(int32_t slot, int32_t output_len) {
  return {.sequence = slot,
          .slot = slot,
          .position = 2 + output_len,
          .output_len = output_len,
          .draws = true};
}

LogitRow TargetRow(int32_t slot, int32_t output_len, int32_t target) {
  LogitRow row = DrawRow(slot, output_len);
  row.draws = false;
  row.target_id = target;
  return row;
}

struct Engine {  // a sampler and its device
  Engine(const Backend& backend, int64_t vocab)
      : backend(backend),
        vocab(vocab),
        owned(Sampler::Create(backend, {.max_num_seqs = 64,
                                        .max_model_len = 1024,
                                        .vocab_size = vocab,
                                        .max_step_rows = 512,
                                        .max_chunk_rows = 512})
                  .value()),
        sampler(*owned) {}

  // One step of the rows with these logits; every sequence's result.
  std::vector<SequenceResult> Run(std::vector<float> logits, const std::vector<LogitRow>& rows) {
    StepResult result;
    for (const LogitRow& row : rows) {
      result.sequences.resize(std::max<size_t>(result.sequences.size(), row.sequence + 1));
    }
    RunSampler(backend, &sampler, {logits.data(), static_cast<int64_t>(rows.size()), vocab}, rows,
               &result);
    return result.sequences;
  }
  int32_t NewestToken(int32_t slot) const { return vexact::NewestToken(backend, sampler, slot); }

  const Backend& backend;
  int64_t vocab;
  std::unique_ptr<Sampler> owned;
  Sampler& sampler;
};

class SamplerTest : public testing::TestWithParam<NamedBackend> {
 protected:
  const Backend& backend() const { return *GetParam().backend; }
};

INSTANTIATE_TEST_SUITE_P(Backends, SamplerTest, testing::ValuesIn(AllDevices()),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

bool SameBits(const TokenLogprob& a, const TokenLogprob& b) {
  if (a.token_id != b.token_id || a.rank != b.rank || a.top.size() != b.top.size()) return false;
  for (size_t n = 0; n < a.top.size(); ++n) {
    if (a.top[n].token_id != b.top[n].token_id) return false;
    if (WordFromFloat(a.top[n].logprob) != WordFromFloat(b.top[n].logprob)) return false;
  }
  return WordFromFloat(a.logprob) == WordFromFloat(b.logprob);
}

TEST_P(SamplerTest, EqualsTheOracle) {
  std::ifstream file(TestDataPath("oracle/oracle_sampling.json"));
  const auto json = nlohmann::json::parse(file);
  for (const nlohmann::json& c : json.at("cases")) {
    const std::string name = "sampling." + std::to_string(c.at("case").get<int>()) + ".logits";
    const auto z = OperatorOracle().Get(name).As<float>();
    SamplingParams params;
    const nlohmann::json& p = c.at("params");
    params.temperature = p.at("temperature");
    params.top_p = p.value("top_p", 1.0);
    params.top_k = p.value("top_k", 0);
    params.min_p = p.value("min_p", 0.0);
    for (const auto& [id, bias] : c.at("logit_bias").items()) {
      params.logit_bias.emplace_back(std::stoi(id), bias);
    }
    const nlohmann::json& penalties = c.at("penalties");
    params.repetition_penalty = penalties.value("repetition", 1.0);
    params.frequency_penalty = penalties.value("frequency", 0.0);
    params.presence_penalty = penalties.value("presence", 0.0);
    StartedSequence started =
        Started(3, params, penalties.value("prompt_ids", std::vector<int32_t>{0}),
                penalties.value("output_ids", std::vector<int32_t>{}));
    started.seed = p.at("seed");
    started.sample_index = p.at("sample_index");
    Engine engine(backend(), static_cast<int64_t>(z.size()));
    engine.sampler.Start(started);
    LogitRow row = DrawRow(3, static_cast<int32_t>(started.output_ids.size()));
    row.position = p.at("position");
    const auto results = engine.Run(std::vector<float>(z.begin(), z.end()), {row});
    EXPECT_EQ(results[3].fault.message, "");
    EXPECT_EQ(results[3].drawn.token_id, c.at("token").get<int32_t>()) << name;
    EXPECT_EQ(engine.NewestToken(3), results[3].drawn.token_id);
  }
}

TEST_P(SamplerTest, TheNewestTokenIsTheLastOneDrawnWhateverIsScored) {
  Engine engine(backend(), 4);
  SamplingParams params;
  params.temperature = 0.0;
  engine.sampler.Start(Started(5, params));
  engine.Run({0.0f, 1.0f, 0.0f, 3.0f}, {DrawRow(5, 0)});
  EXPECT_EQ(engine.NewestToken(5), 3);
  engine.Run({0.0f, 1.0f, 0.0f, 0.0f}, {DrawRow(5, 1)});
  EXPECT_EQ(engine.NewestToken(5), 1);
  engine.Run({0.0f, 1.0f, 2.0f, 0.0f}, {TargetRow(5, 1, 2)});
  EXPECT_EQ(engine.NewestToken(5), 1);
}

TEST_P(SamplerTest, WhatIsDrawnAgainGoesNowhere) {
  SamplingParams params;
  params.temperature = 0.0;
  params.frequency_penalty = 1.0;
  Engine engine(backend(), 2);
  engine.sampler.Start(Started(2, params, {1, 1}, {0, 0, 0}));
  // Token 1 is next after one 0 and after two; after a 0 and a 1 it would be 0.
  for (const int32_t output_len : {1, 2}) {
    LogitRow row = TargetRow(2, output_len, 0);
    row.redraws = true;
    EXPECT_THAT(engine.Run({4.0f, 3.5f}, {row})[2].redrawn, ElementsAre(1)) << output_len;
  }
  EXPECT_EQ(engine.NewestToken(2), 0) << "no token was drawn";
}

TEST_P(SamplerTest, ReportsWhatWasAskedFor) {
  const std::vector<float> z = {1.0f, 4.0f, 3.0f, 2.0f, 0.0f};
  SamplingParams params;
  params.temperature = 0.0;
  Engine engine(backend(), 5);
  engine.sampler.Start(Started(0, params));
  const TokenLogprob quiet = engine.Run(z, {DrawRow(0, 0)})[0].drawn;
  EXPECT_EQ(quiet.token_id, 1);
  EXPECT_EQ(quiet.rank, 0);
  EXPECT_TRUE(quiet.top.empty());
  EXPECT_LT(quiet.logprob, 0.0f);

  params.logprobs = 2;
  engine.sampler.Start(Started(1, params));
  const TokenLogprob two = engine.Run(z, {DrawRow(1, 0)})[1].drawn;
  EXPECT_EQ(two.rank, 1);
  ASSERT_EQ(two.top.size(), 2u);
  EXPECT_EQ(two.top[0].token_id, 1);
  EXPECT_EQ(two.top[1].token_id, 2);
  EXPECT_EQ(WordFromFloat(two.logprob), WordFromFloat(quiet.logprob));

  params.logprobs = 0;
  engine.sampler.Start(Started(2, params));
  EXPECT_EQ(engine.Run(z, {DrawRow(2, 0)})[2].drawn.rank, 1);
  EXPECT_TRUE(engine.Run(z, {DrawRow(2, 1)})[2].drawn.top.empty());
}

TEST_P(SamplerTest, RawLogprobsIgnoreProcessingAndProcessedOnesDoNot) {
  const std::vector<float> z = {1.0f, 4.0f, 3.0f, 2.0f, 0.0f};
  SamplingParams params;
  params.top_k = 2;
  params.temperature = 0.5;
  params.logprobs = 5;
  params.prompt_logprobs = 5;
  Engine engine(backend(), 5);
  engine.sampler.Start(Started(0, params, {1, 2}, {0, 1}));
  params.logprobs_mode = LogprobsMode::kProcessed;
  engine.sampler.Start(Started(1, params, {1, 2}, {0, 1}));
  LogitRow prompt_row = TargetRow(1, 0, 0);
  prompt_row.in_prompt = true;
  std::vector<float> logits;
  for (int i = 0; i < 4; ++i) logits.insert(logits.end(), z.begin(), z.end());
  const auto results =
      engine.Run(logits, {TargetRow(0, 0, 0), TargetRow(1, 0, 0), TargetRow(1, 1, 1), prompt_row});
  ASSERT_EQ(results[0].targets.size(), 1u);
  ASSERT_EQ(results[1].targets.size(), 3u);
  const TokenLogprob& raw = results[0].targets[0];
  EXPECT_EQ(raw.top.size(), 5u);
  EXPECT_EQ(raw.rank, 4);
  EXPECT_NEAR(raw.logprob,
              1.0 - std::log(1 + std::exp(1) + std::exp(2) + std::exp(3) + std::exp(4)), 1e-5);
  EXPECT_TRUE(SameBits(results[1].targets[2], raw)) << "prompt rows are raw in either mode";
  const TokenLogprob& dropped = results[1].targets[0];
  EXPECT_EQ(dropped.logprob, -kInfinity);
  EXPECT_EQ(dropped.rank, 3) << "two are kept; the dropped go by id";
  const TokenLogprob& kept = results[1].targets[1];
  ASSERT_EQ(kept.top.size(), 2u) << "finite ones only";
  EXPECT_NEAR(kept.logprob, -std::log(1.0 + std::exp(-2.0)), 1e-6);
}

TEST_P(SamplerTest, GreedyProcessedLogprobsAreOfPenalisedLogitsWithoutTemperature) {
  SamplingParams params;
  params.temperature = 0.0;
  params.top_k = 1;  // filters are not for greedy
  params.logit_bias = {{2, 10.0}};
  params.logprobs = 3;
  params.logprobs_mode = LogprobsMode::kProcessed;
  Engine engine(backend(), 3);
  engine.sampler.Start(Started(0, params));
  const TokenLogprob drawn = engine.Run({1.0f, 2.0f, -8.0f}, {DrawRow(0, 0)})[0].drawn;
  EXPECT_EQ(drawn.token_id, 1) << "a tie goes to the lowest id";
  EXPECT_EQ(drawn.top.size(), 3u);
  EXPECT_NEAR(drawn.logprob, -std::log(2.0 + std::exp(-1.0)), 1e-6);
}

TEST_P(SamplerTest, AScoredAnswerHasTheLogprobsItWasDrawnWith) {
  constexpr int64_t kVocab = 300;
  constexpr int32_t kTokens = 40;
  std::mt19937 random(8);
  const std::vector<float> logits = RandomLogits(random, kTokens * kVocab);
  SamplingParams params;
  params.temperature = 1.5;
  params.top_p = 0.9;
  params.repetition_penalty = 1.3;
  params.frequency_penalty = 0.4;
  params.presence_penalty = -0.3;
  params.bad_word_ids = {{5}, {7, 8}};
  params.min_tokens = 20;
  params.logprobs = 3;
  params.logprobs_mode = LogprobsMode::kProcessed;
  Engine engine(backend(), kVocab);
  StartedSequence drawing = Started(0, params, {1, 2, 1, 9});
  drawing.stop_ids = {11, 12};
  engine.sampler.Start(drawing);
  std::vector<TokenLogprob> drawn;
  std::vector<int32_t> output;
  for (int32_t t = 0; t < kTokens; ++t) {
    const std::vector<float> z(logits.begin() + t * kVocab, logits.begin() + (t + 1) * kVocab);
    drawn.push_back(engine.Run(z, {DrawRow(0, t)})[0].drawn);
    output.push_back(drawn.back().token_id);
  }
  // All rows of the completion in one call, then backwards one by one.
  StartedSequence scoring = drawing;
  scoring.output_ids = output;
  engine.sampler.Start(scoring);
  std::vector<LogitRow> rows;
  for (int32_t t = 0; t < kTokens; ++t) rows.push_back(TargetRow(0, t, output[t]));
  const auto scored = engine.Run(logits, rows)[0].targets;
  ASSERT_EQ(scored.size(), drawn.size());
  for (int32_t t = 0; t < kTokens; ++t) EXPECT_TRUE(SameBits(scored[t], drawn[t])) << t;
  for (int32_t t = kTokens - 1; t >= 0; --t) {
    const std::vector<float> z(logits.begin() + t * kVocab, logits.begin() + (t + 1) * kVocab);
    EXPECT_TRUE(SameBits(engine.Run(z, {rows[t]})[0].targets[0], drawn[t])) << t;
  }
}

// top_p counts in units of 2^-32, and half a unit counts as one: with two equal tokens that is the
// difference between one of them and both.
TEST_P(SamplerTest, HalfAUnitOfTopPIsRoundedUp) {
  SamplingParams params;
  params.logprobs = 2;
  params.logprobs_mode = LogprobsMode::kProcessed;
  for (const auto& [top_p, num_kept] :
       std::vector<std::pair<double, size_t>>{{0.5, 1}, {0.5 + 0x1p-34, 1}, {0.5 + 0x1p-33, 2}}) {
    params.top_p = top_p;
    Engine engine(backend(), 2);
    engine.sampler.Start(Started(0, params));
    EXPECT_EQ(engine.Run({1.0f, 1.0f}, {DrawRow(0, 0)})[0].drawn.top.size(), num_kept) << top_p;
  }
}

TEST_P(SamplerTest, PenaltiesReadTheHistoryUpToTheRow) {
  SamplingParams params;
  params.frequency_penalty = 1.0;
  params.temperature = 0.0;
  Engine engine(backend(), 4);
  engine.sampler.Start(Started(0, params, {3}));
  // Token 1 leads by 1.5: after two of it, token 2 is next; the prompt's token 3 is not penalised.
  const std::vector<float> z = {0.0f, 4.5f, 3.0f, 2.75f};
  std::vector<int32_t> tokens;
  for (int32_t t = 0; t < 5; ++t)
    tokens.push_back(engine.Run(z, {DrawRow(0, t)})[0].drawn.token_id);
  EXPECT_THAT(tokens, ElementsAre(1, 1, 2, 3, 1));

  params.frequency_penalty = 0.0;
  params.repetition_penalty = 2.0;
  engine.sampler.Start(Started(0, params, {1}));
  EXPECT_EQ(engine.Run(z, {DrawRow(0, 0)})[0].drawn.token_id, 2) << "repetition reads the prompt";
}

TEST_P(SamplerTest, StopIdsAreForbiddenBeforeMinTokens) {
  SamplingParams params;
  params.temperature = 0.0;
  params.min_tokens = 2;
  Engine engine(backend(), 3);
  StartedSequence started = Started(0, params);
  started.stop_ids = {0, 2};
  engine.sampler.Start(started);
  const std::vector<float> z = {5.0f, 1.0f, 4.0f};
  std::vector<int32_t> tokens;
  for (int32_t t = 0; t < 3; ++t)
    tokens.push_back(engine.Run(z, {DrawRow(0, t)})[0].drawn.token_id);
  EXPECT_THAT(tokens, ElementsAre(1, 1, 0));
}

TEST_P(SamplerTest, BadWordsEndOnlyAfterTheirBeginningInTheOutput) {
  SamplingParams params;
  params.temperature = 0.0;
  params.bad_word_ids = {{0}, {1, 2}, {2, 1, 3}};
  Engine engine(backend(), 5);
  engine.sampler.Start(Started(0, params, {2, 1}));  // a beginning in the prompt does not count
  const auto draw = [&](int32_t output_len, std::vector<float> z) {
    return engine.Run(std::move(z), {DrawRow(0, output_len)})[0].drawn.token_id;
  };
  EXPECT_EQ(draw(0, {9.0f, 1.0f, 8.0f, 2.0f, 0.0f}), 2);  // 0 never; 2 may start
  EXPECT_EQ(draw(1, {0.0f, 9.0f, 8.0f, 2.0f, 0.0f}), 1);
  EXPECT_EQ(draw(2, {0.0f, 1.0f, 8.0f, 9.0f, 2.0f}), 4);  // after 2, 1: neither 2 nor 3
  EXPECT_EQ(draw(3, {0.0f, 1.0f, 8.0f, 9.0f, 2.0f}), 3);
}

TEST_P(SamplerTest, OnlyAllowedIdsAreDrawn) {
  SamplingParams params;
  params.allowed_token_ids = {{2, 33}};
  params.temperature = 5.0;
  Engine engine(backend(), 40);
  engine.sampler.Start(Started(0, params));
  std::mt19937 random(1);
  for (int32_t t = 0; t < 50; ++t) {
    const int32_t token = engine.Run(RandomLogits(random, 40), {DrawRow(0, t)})[0].drawn.token_id;
    EXPECT_TRUE(token == 2 || token == 33) << token;
  }
}

TEST_P(SamplerTest, NothingAllowedIsAFault) {
  SamplingParams params;
  params.allowed_token_ids = {{1}};
  params.bad_word_ids = {{1}};
  Engine engine(backend(), 3);
  engine.sampler.Start(Started(0, params));
  const SequenceFault fault = engine.Run({0.0f, 1.0f, 2.0f}, {DrawRow(0, 0)})[0].fault;
  EXPECT_THAT(fault.message, HasSubstr("allowed_token_ids: position 2: expected at least one token "
                                       "id to choose from, found none"));
  EXPECT_EQ(fault.cause, FaultCause::kRequest);
}

TEST_P(SamplerTest, ABiasThatOverflowsIsAFault) {
  SamplingParams params;
  params.logit_bias = {{1, -3e38}};
  params.temperature = 0.5;
  Engine engine(backend(), 3);
  engine.sampler.Start(Started(0, params));
  const SequenceFault fault = engine.Run({0.0f, 1.0f, 2.0f}, {DrawRow(0, 0)})[0].fault;
  EXPECT_THAT(fault.message, StartsWith("logit_bias: position 2: "));
  EXPECT_THAT(fault.message, HasSubstr("below 4194304 in magnitude, found -inf at token id 1"));
  EXPECT_EQ(fault.cause, FaultCause::kRequest);
}

TEST_P(SamplerTest, AFaultyRowNamesItsTokenAndKeepsItsNeighboursBits) {
  constexpr int64_t kVocab = 500;
  constexpr int32_t kRows = 64;
  std::mt19937 random(6);
  std::vector<float> logits = RandomLogits(random, kRows * kVocab);
  std::vector<LogitRow> rows;
  std::vector<StartedSequence> started;
  for (int32_t r = 0; r < kRows; ++r) {
    SamplingParams params;
    params.temperature = r % 2 == 0 ? 0.0 : 0.5 + 0.1 * r;
    if (r % 3 == 0) params.top_k = 10 + r;
    if (r % 5 == 0) params.top_p = 0.8;
    if (r % 6 == 1) params.repetition_penalty = 1.5;
    if (r % 11 == 3) params.bad_word_ids = {{r}};
    params.logprobs = r % 4;
    if (r % 7 == 0) params.logprobs_mode = LogprobsMode::kProcessed;
    started.push_back(Started(r, params));
    rows.push_back(DrawRow(r, 0));
  }
  Engine healthy(backend(), kVocab);
  Engine faulty(backend(), kVocab);
  for (const StartedSequence& sequence : started) {
    healthy.sampler.Start(sequence);
    faulty.sampler.Start(sequence);
  }
  const auto expected = healthy.Run(logits, rows);
  logits[17 * kVocab + 123] = kNan;
  logits[17 * kVocab + 400] = kInfinity;
  const auto found = faulty.Run(logits, rows);
  for (int32_t r = 0; r < kRows; ++r) {
    if (r == 17) continue;
    EXPECT_EQ(found[r].fault.message, "");
    EXPECT_TRUE(SameBits(found[r].drawn, expected[r].drawn)) << r;
    // Alone, in a sampler of its own.
    Engine alone(backend(), kVocab);
    alone.sampler.Start(started[r]);
    const std::vector<float> z(logits.begin() + r * kVocab, logits.begin() + (r + 1) * kVocab);
    EXPECT_TRUE(SameBits(alone.Run(z, {rows[r]})[r].drawn, expected[r].drawn)) << r;
  }
  EXPECT_EQ(found[17].fault.message,
            "position 2: logits: expected finite values below 4194304 in magnitude, found NaN at "
            "token id 123");
  EXPECT_EQ(found[17].fault.cause, FaultCause::kWeights);
  EXPECT_EQ(faulty.NewestToken(17), 0) << "no token was drawn";

  // A step that was launched before the fault was known keeps the fault.
  const std::vector<float> z(logits.begin(), logits.begin() + kVocab);
  EXPECT_EQ(faulty.Run(z, {DrawRow(17, 1)})[17].fault.message, found[17].fault.message);
  faulty.sampler.Start(started[17]);
  EXPECT_EQ(faulty.Run(z, {DrawRow(17, 0)})[17].fault.message, "");
}

// A slot's rows of neighbouring steps, the second queued before the first has been read.
std::vector<SequenceResult> RunTwoSteps(Engine& engine, const std::vector<std::vector<float>>& z,
                                        const std::vector<LogitRow>& rows) {
  ThreadPool pool = ThreadPool::Create(2).value();
  OwnedStream owned = engine.backend.MakeStream(&pool).value();
  std::vector<Buffer> logits;
  std::vector<int> steps;
  for (size_t i = 0; i < 2; ++i) {
    const size_t bytes = z[i].size() * sizeof(float);
    logits.push_back(engine.backend.Allocate(bytes).value());
    engine.backend.Upload(logits[i].data(), z[i].data(), bytes, owned.stream);
    steps.push_back(engine.sampler.BeginStep());
    EXPECT_TRUE(
        engine.sampler
            .Queue({logits[i].as<float>(), 1, engine.vocab}, std::span(&rows[i], 1), owned.stream)
            .ok());
    engine.sampler.QueueDownload(owned.stream);
  }
  EXPECT_TRUE(engine.backend.Synchronize(owned.stream).ok());
  std::vector<SequenceResult> results;
  for (size_t i = 0; i < 2; ++i) {
    StepResult result;
    result.sequences.resize(rows[i].sequence + 1);
    const std::vector<int32_t> no_faults(result.sequences.size(), 1);
    engine.sampler.Finish(steps[i], std::span(&rows[i], 1), no_faults, &result);
    results.push_back(result.sequences.back());
  }
  return results;
}

TEST_P(SamplerTest, AStepBehindAnotherReadsWhatThatDrawsBeforeTheHostDoes) {
  constexpr int64_t kVocab = 40;  // few, so that tokens come again
  constexpr int32_t kTokens = 30;
  std::mt19937 random(9);
  SamplingParams params;
  params.repetition_penalty = 1.5;
  params.frequency_penalty = 0.7;
  params.bad_word_ids = {{3, 4}, {5}};
  for (int32_t id = 0; id < 20; ++id) params.bad_word_ids.push_back({id, id});
  params.min_tokens = 7;
  params.logprobs = 4;
  params.logprobs_mode = LogprobsMode::kProcessed;
  StartedSequence started = Started(2, params, {1, 2, 30}, {3, 17});
  started.stop_ids = {8, 9, 10};
  Engine alone(backend(), kVocab);
  Engine ahead(backend(), kVocab);
  alone.sampler.Start(started);
  ahead.sampler.Start(started);
  for (int32_t t = 2; t < kTokens; t += 2) {
    const std::vector<std::vector<float>> z = {RandomLogits(random, kVocab),
                                               RandomLogits(random, kVocab)};
    const std::vector<LogitRow> rows = {DrawRow(2, t), DrawRow(2, t + 1)};
    const auto both = RunTwoSteps(ahead, z, rows);
    for (size_t i = 0; i < 2; ++i) {
      const SequenceResult one = alone.Run(z[i], {rows[i]})[2];
      EXPECT_EQ(one.fault.message, "");
      EXPECT_TRUE(SameBits(both[i].drawn, one.drawn)) << t + i;
    }
    EXPECT_EQ(ahead.NewestToken(2), both[1].drawn.token_id);
  }
}

TEST_P(SamplerTest, ARowBehindAFaultThatNobodyHasReadDrawsNothing) {
  Engine engine(backend(), 3);
  SamplingParams params;
  params.temperature = 0.0;
  for (const bool biased : {false, true}) {  // through every kernel, or the plain one
    if (biased) params.logit_bias = {{0, 0.5}};
    engine.sampler.Start(Started(4, params));
    EXPECT_EQ(engine.Run({0.0f, 1.0f, 5.0f}, {DrawRow(4, 0)})[4].drawn.token_id, 2);
    const auto results = RunTwoSteps(engine, {{0.0f, kNan, 1.0f}, {0.0f, 3.0f, 1.0f}},
                                     {DrawRow(4, 1), DrawRow(4, 2)});
    EXPECT_THAT(results[0].fault.message, HasSubstr("position 3: logits: expected finite values"));
    EXPECT_EQ(results[1].fault.message, results[0].fault.message);
    EXPECT_EQ(engine.NewestToken(4), 2) << "the second row would have drawn 1";
  }
  // The slot's next sequence is another one.
  engine.sampler.Start(Started(4, params));
  EXPECT_EQ(engine.Run({0.0f, 3.0f, 1.0f}, {DrawRow(4, 0)})[4].drawn.token_id, 1);
}

TEST_P(SamplerTest, ASlotForgetsTheTokensAndParametersOfItsLastSequence) {
  const std::vector<float> z = {4.0f, 3.0f, 2.0f, 1.0f};
  SamplingParams strict;
  strict.temperature = 0.0;
  strict.bad_word_ids = {{0}, {1}};
  strict.repetition_penalty = 3.0;
  strict.logit_bias = {{3, 0.5}};
  strict.allowed_token_ids = {{0, 2, 3}};
  SamplingParams penalised;
  penalised.temperature = 0.0;
  penalised.repetition_penalty = 3.0;
  Engine engine(backend(), 4);
  for (int round = 0; round < 2; ++round) {
    engine.sampler.Start(Started(1, strict, {2, 2, 1}));
    EXPECT_EQ(engine.Run(z, {DrawRow(1, 0)})[1].drawn.token_id, 3);
    EXPECT_EQ(engine.Run(z, {DrawRow(1, 1)})[1].drawn.token_id, 2);
    engine.sampler.Start(Started(1, penalised, {3}));
    EXPECT_EQ(engine.Run(z, {DrawRow(1, 0)})[1].drawn.token_id, 0);
    EXPECT_EQ(engine.Run(z, {DrawRow(1, 1)})[1].drawn.token_id, 1);
  }
}

TEST_P(SamplerTest, ASequenceThatComesWithAFaultDrawsNothing) {
  Engine engine(backend(), 3);
  engine.sampler.Start(Started(0, {}));
  StepResult result;
  result.sequences.resize(1);
  result.sequences[0].fault.message = "layer 3: a value is not finite";
  std::vector<float> z = {0.0f, 1.0f, kNan};
  const std::vector<LogitRow> rows = {DrawRow(0, 0)};
  RunSampler(backend(), &engine.sampler, {z.data(), 1, 3}, rows, &result);
  EXPECT_EQ(result.sequences[0].fault.message, "layer 3: a value is not finite");
  EXPECT_EQ(result.sequences[0].drawn.token_id, 0);
}

TEST_P(SamplerTest, LowTemperaturesCountAsAHundredthAndTheLowestAsGreedy) {
  // With T = 0.01 a gap of 0.02 is 2 in y: the second token is drawn about one time in eight.
  const std::vector<float> z = {0.02f, 0.0f};
  const auto second_tokens = [&](double temperature) {
    SamplingParams params;
    params.temperature = temperature;
    Engine engine(backend(), 2);
    engine.sampler.Start(Started(0, params));
    int count = 0;
    for (int32_t t = 0; t < 400; ++t) count += engine.Run(z, {DrawRow(0, t)})[0].drawn.token_id;
    return count;
  };
  const int at_a_hundredth = second_tokens(0.01);
  EXPECT_GT(at_a_hundredth, 20);
  EXPECT_EQ(second_tokens(0.001), at_a_hundredth);
  EXPECT_EQ(second_tokens(1e-5), at_a_hundredth);
  EXPECT_EQ(second_tokens(0.999e-5), 0);
}

// (On the CPU: a death test's child process has no device.)
TEST(SamplerDeathTest, RefusesRowsOfASlotThatNoSequenceHasTaken) {
  const auto backend = MakeCpuBackend();
  Engine engine(*backend, 300);
  engine.sampler.Start(Started(1, SamplingParams{}));
  engine.Run(std::vector<float>(300), {DrawRow(1, 0)});
  EXPECT_DEATH(engine.Run(std::vector<float>(300), {DrawRow(2, 0)}), "a sequence has taken");
}

TEST(SamplerDeathTest, RefusesLimitsWithoutRoom) {
  const auto backend = MakeCpuBackend();
  const SamplerLimits limits = {.max_num_seqs = 1,
                                .max_model_len = 8,
                                .vocab_size = 300,
                                .max_step_rows = 4,
                                .max_chunk_rows = 4};
  SamplerLimits no_chunk = limits;
  no_chunk.max_chunk_rows = 0;
  SamplerLimits no_sequence = limits;
  no_sequence.max_num_seqs = 0;
  ASSERT_TRUE(Sampler::Create(*backend, limits).ok());
  EXPECT_DEATH(static_cast<void>(Sampler::Create(*backend, no_chunk)), "a chunk of rows");
  EXPECT_DEATH(static_cast<void>(Sampler::Create(*backend, no_sequence)), "a sequence");
}

}  // namespace
}  // namespace vexact
