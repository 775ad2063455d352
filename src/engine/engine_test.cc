#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/stopwatch.h"
#include "engine/prepare.h"
#include "support/engine_fixture.h"
#include "support/engine_runs.h"
#include "support/random_model.h"
#include "support/straight_line.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

using EngineTest = EngineFixture;

TEST_F(EngineTest, AnswersWhatAStraightLineAnswers) {
  const StraightLine straight_line(checkpoint_, MakeCpuBackend());
  const auto engine = Make(Config());
  Request request = Sampled(Prompt(150), 12);
  request.sampling.prompt_logprobs = 1;
  const Answer answer = RunAlone(engine.get(), request);
  ASSERT_EQ(answer.token_ids.size(), 12u);
  const StraightLineAnswer expected = straight_line.Answer({.prompt = *request.prompt_token_ids,
                                                            .output = answer.token_ids,
                                                            .params = request.sampling});
  Answer reference = answer;
  reference.logprobs = expected.output;
  reference.prompt_logprobs = expected.prompt;
  EXPECT_EQ(Difference(answer, reference), "");
  for (size_t i = 0; i < answer.token_ids.size(); ++i) {
    EXPECT_EQ(answer.token_ids[i], answer.logprobs[i].token_id);
  }
}

TEST_F(EngineTest, TheScoreOfAnAnswerIsItsOwnLogProbabilities) {
  for (const LogprobsMode mode : {LogprobsMode::kRaw, LogprobsMode::kProcessed}) {
    EngineConfig config = Config();
    config.max_num_batched_tokens = 16;
    const auto engine = Make(config);
    Request request = Sampled(Prompt(40), 20);
    request.sampling.logprobs_mode = mode;
    request.sampling.temperature = 0.8;
    request.sampling.top_k = 40;
    request.sampling.repetition_penalty = 1.2;
    request.sampling.frequency_penalty = 0.3;
    request.sampling.min_tokens = 5;
    request.sampling.ignore_eos = false;
    const Answer answer = RunAlone(engine.get(), request);
    Request score = request;
    score.completion_token_ids = answer.token_ids;
    const Answer scored = RunAlone(engine.get(), score);
    EXPECT_EQ(scored.finish_reason, FinishReason::kLength);
    Answer expected = answer;
    expected.finish_reason = scored.finish_reason;
    expected.stop_reason = scored.stop_reason;
    EXPECT_EQ(Difference(scored, expected), "");
  }
}

TEST_F(EngineTest, ARequestWithoutPromptLogprobsScoresItsCompletionAlone) {
  const auto engine = Make(Config());
  Request score;
  score.prompt_token_ids = Prompt(1);
  score.completion_token_ids = Prompt(5, 3);
  const Answer answer = RunAlone(engine.get(), score);
  EXPECT_EQ(answer.token_ids, *score.completion_token_ids);
  EXPECT_EQ(answer.logprobs.size(), 5u);
  EXPECT_TRUE(answer.prompt_logprobs.empty());
  EXPECT_LT(answer.cumulative_logprob, 0.0);
}

TEST_F(EngineTest, OneRowOfNanIn64FailsAloneAndTheOthersKeepTheirBits) {
  const auto engine = Make(Config());
  std::vector<Request> requests;
  for (int32_t i = 0; i < 64; ++i) requests.push_back(Sampled(Prompt(20 + i, i), 6));
  std::vector<Answer> alone;
  for (const Request& request : requests) alone.push_back(RunAlone(engine.get(), request));
  requests[13].prompt_token_ids->at(9) = kNanToken;
  for (const int32_t depth : {0, 1}) {
    EngineConfig config = Config();
    config.pipeline_depth = depth;
    const auto batch = Make(config);
    const auto answers = RunAll(batch.get(), requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      if (i == 13) continue;
      EXPECT_EQ(Difference(answers[i][0], alone[i]), "") << i;
    }
    EXPECT_EQ(answers[13][0].finish_reason, FinishReason::kError);
    EXPECT_EQ(answers[13][0].error,
              "position 9: keys and values: expected finite values, found others");
    EXPECT_TRUE(answers[13][0].token_ids.empty());
    // Its first blocks were computed without a fault, but they are of a failed request.
    Request prefix = Sampled(Prompt(33, 13), 1);
    EXPECT_EQ(RunAlone(batch.get(), prefix).num_cached_tokens, 0);
  }
}

TEST_F(EngineTest, AStopFoundLateIsInNoOutput) {
  Request request = Sampled(Prompt(10), 30);
  const auto reference = Make(Config());
  const Answer whole = RunAlone(reference.get(), request);
  request.sampling.stop_token_ids = {whole.token_ids[8]};
  const auto first = std::ranges::find(whole.token_ids, whole.token_ids[8]);
  std::vector<Answer> answers;
  for (const int32_t depth : {0, 1}) {
    EngineConfig config = Config();
    config.pipeline_depth = depth;
    const auto engine = Make(config);
    answers.push_back(RunAlone(engine.get(), request));
    const auto length = static_cast<size_t>(first - whole.token_ids.begin()) + 1;
    EXPECT_EQ(answers.back().token_ids.size(), length);
    EXPECT_EQ(answers.back().logprobs.size(), length);
    EXPECT_EQ(answers.back().num_output_tokens, static_cast<int32_t>(length));
    EXPECT_EQ(std::get<int32_t>(answers.back().stop_reason), whole.token_ids[8]);
    // The late token was computed one step ahead.
    EXPECT_EQ(engine->Stats().num_steps, static_cast<int64_t>(length) + depth);
  }
  EXPECT_EQ(Difference(answers[0], answers[1]), "");
}

TEST_F(EngineTest, TimeoutsFollowTheClockAndFreeEverything) {
  EngineConfig config = Config();
  double now = 100.0;
  config.clock = [&now] { return now; };
  config.max_num_seqs = 1;
  const auto engine = Make(config);
  Request runs = Sampled(Prompt(20), 100);
  runs.timeout_s = 10.0;
  Request waits = Sampled(Prompt(20, 1), 4);
  waits.timeout_s = 5.0;
  const RequestId running = engine->Add(runs).value();
  const RequestId waiting = engine->Add(waits).value();
  const RequestId waiting_too = engine->Add(waits).value();
  std::vector<Output> ended;
  for (int step = 0; step < 40 && engine->HasWork(); ++step) {
    for (const Output& output : engine->Step()) {
      if (output.finished()) ended.push_back(output);
    }
    now += 0.5;
  }
  EXPECT_FALSE(engine->HasWork());
  ASSERT_EQ(ended.size(), 3u);
  EXPECT_EQ(ended[0].request_id, waiting);
  EXPECT_EQ(ended[1].request_id, waiting_too);
  for (const int i : {0, 1}) {
    EXPECT_EQ(ended[i].finish_reason, FinishReason::kTimeout);
    EXPECT_EQ(ended[i].num_output_tokens, 0);
    EXPECT_LT(ended[i].timings.queued_s, 0.0);
    EXPECT_EQ(ended[i].timings.total_s, 5.0);
  }
  EXPECT_EQ(ended[2].request_id, running);
  EXPECT_EQ(ended[2].timings.total_s, 10.0);
  EXPECT_EQ(ended[2].timings.queued_s, 0.0);
  EXPECT_GT(ended[2].num_output_tokens, 10);
  EXPECT_EQ(engine->Stats().kv_blocks_used, 0);
}

TEST_F(EngineTest, APreemptedRequestWasQueuedUntilItFirstRan) {
  EngineConfig config = Config();
  double now = 100.0;
  config.clock = [&now] { return now; };
  config.kv_cache_memory_bytes = 8 * 16 * model_->KvBytesPerToken();  // 8 blocks: one of the two
  const auto engine = Make(config);
  engine->Add(Sampled(Prompt(40), 60)).value();
  engine->Add(Sampled(Prompt(40, 1), 60)).value();
  int num_ended = 0;
  while (engine->HasWork()) {
    for (const Output& output : engine->Step()) {
      EXPECT_EQ(output.timings.queued_s, 0.0);
      num_ended += output.finished() ? 1 : 0;
    }
    now += 1.0;
  }
  EXPECT_EQ(num_ended, 2);
  EXPECT_GT(engine->Stats().num_preempted, 0);
}

TEST_F(EngineTest, AnAbortEndsEverySampleOnceAndUnknownIdsAreIgnored) {
  const auto engine = Make(Config());
  Request request = Sampled(Prompt(20), 50);
  request.sampling.n = 3;
  const RequestId id = engine->Add(request).value();
  engine->Step();
  engine->Abort(id + 1000);
  engine->Abort(id);
  engine->Abort(id);
  std::set<int32_t> ended;
  while (engine->HasWork()) {
    for (const Output& output : engine->Step()) {
      EXPECT_EQ(output.finish_reason, FinishReason::kAbort);
      EXPECT_TRUE(ended.insert(output.sample_index).second);
    }
  }
  EXPECT_EQ(ended.size(), 3u);
  EXPECT_EQ(engine->Stats().kv_blocks_used, 0);
  ASSERT_TRUE(engine->CheckInvariants().ok());
}

TEST_F(EngineTest, APrefixCacheColdWarmOrEvictedChangesNoBit) {
  EngineConfig off = Config();
  off.enable_prefix_caching = false;
  const Request request = Sampled(Prompt(70), 8);
  const auto uncached = Make(off);
  const Answer expected = RunAlone(uncached.get(), request);
  EXPECT_EQ(expected.num_cached_tokens, 0);

  EngineConfig config = Config();
  config.kv_cache_memory_bytes = 8 * 16 * model_->KvBytesPerToken();  // 8 blocks
  const auto engine = Make(config);
  const Answer cold = RunAlone(engine.get(), request);
  const Answer warm = RunAlone(engine.get(), request);
  EXPECT_EQ(cold.num_cached_tokens, 0);
  EXPECT_EQ(warm.num_cached_tokens, 64);
  RunAlone(engine.get(), Sampled(Prompt(100, 5), 8));  // evicts
  const Answer evicted = RunAlone(engine.get(), request);
  EXPECT_LT(evicted.num_cached_tokens, 64);
  engine->ResetPrefixCache();
  const Answer reset = RunAlone(engine.get(), request);
  EXPECT_EQ(reset.num_cached_tokens, 0);
  for (const Answer* answer : {&cold, &warm, &evicted, &reset}) {
    EXPECT_EQ(Difference(*answer, expected), "");
  }
  EXPECT_GT(engine->Stats().prefix_cache_hits, 0);
}

TEST_F(EngineTest, AFullHitComputesItsLastTokenAndSaltsShareNothing) {
  const auto engine = Make(Config());
  Request request = Sampled(Prompt(64), 4);
  request.cache_salt = "a";
  const Answer cold = RunAlone(engine.get(), request);
  const Answer warm = RunAlone(engine.get(), request);
  EXPECT_EQ(warm.num_cached_tokens, 48);
  EXPECT_EQ(Difference(cold, warm), "");
  request.cache_salt = "b";
  EXPECT_EQ(RunAlone(engine.get(), request).num_cached_tokens, 0);
  Request prompt_logprobs = Sampled(Prompt(64), 4);
  prompt_logprobs.cache_salt = "a";
  prompt_logprobs.sampling.prompt_logprobs = 0;
  EXPECT_EQ(RunAlone(engine.get(), prompt_logprobs).num_cached_tokens, 0);
}

TEST_F(EngineTest, NewWeightsEmptyTheCacheAndWaitForAnIdleEngine) {
  RandomModelSpec spec = ModelSpec();
  spec.seed = 2;
  const Checkpoint other_checkpoint = MakeRandomCheckpoint(spec);
  const auto other = LoadModelOf(other_checkpoint, backend_);
  spec.num_layers = 1;
  const Checkpoint smaller_checkpoint = MakeRandomCheckpoint(spec);
  const auto smaller = LoadModelOf(smaller_checkpoint, backend_);

  const auto engine = Make(Config());
  const Request request = Sampled(Prompt(40), 6);
  const Answer before = RunAlone(engine.get(), request);
  engine->Add(request).value();
  engine->Step();
  EXPECT_FALSE(engine->UpdateWeights(other).ok());
  while (engine->HasWork()) engine->Step();
  EXPECT_FALSE(engine->UpdateWeights(smaller).ok());
  ASSERT_TRUE(engine->UpdateWeights(other).ok());
  const Answer after = RunAlone(engine.get(), request);
  EXPECT_EQ(after.num_cached_tokens, 0);
  EXPECT_NE(Difference(after, before), "");
  const auto fresh = Engine::Create(Config(), other, nullptr).value();
  EXPECT_EQ(Difference(after, RunAlone(fresh.get(), request)), "");
}

TEST_F(EngineTest, EverySampleOfARequestIsItsOwnAndReadsTheFirstOnesPrompt) {
  const auto engine = Make(Config());
  Request request = Sampled(Prompt(40), 8);
  request.sampling.n = 4;
  const auto answers = RunAll(engine.get(), {request}).at(0);
  std::set<std::vector<int32_t>> distinct;
  const StraightLine straight_line(checkpoint_, MakeCpuBackend());
  for (int32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(answers[i].num_cached_tokens, i == 0 ? 0 : 32);
    EXPECT_EQ(answers[i].seed, kSeed);
    distinct.insert(answers[i].token_ids);
    const StraightLineAnswer expected = straight_line.Answer({.prompt = *request.prompt_token_ids,
                                                              .output = answers[i].token_ids,
                                                              .params = request.sampling,
                                                              .sample_index = i});
    Answer reference = answers[i];
    reference.logprobs = expected.output;
    EXPECT_EQ(Difference(answers[i], reference), "");
  }
  EXPECT_EQ(distinct.size(), 4u);
}

TEST_F(EngineTest, SeedsComeFromTheEnginesSeedAndTheIndexAndRepeatAnAnswer) {
  EngineConfig config = Config();
  config.seed = 5;
  const auto engine = Make(config);
  Request request = Sampled(Prompt(10), 8);
  request.sampling.seed.reset();
  request.index = 3;
  const Answer drawn = RunAlone(engine.get(), request);
  EXPECT_EQ(drawn.seed, DeriveSeed(5, 3));
  EXPECT_EQ(Difference(RunAlone(engine.get(), request), drawn), "");
  request.index.reset();
  const Answer other = RunAlone(engine.get(), request);
  EXPECT_EQ(other.seed, DeriveSeed(5, 2));  // the third request
  EXPECT_NE(other.token_ids, drawn.token_ids);
  request.sampling.seed = drawn.seed;
  EXPECT_EQ(Difference(RunAlone(engine.get(), request), drawn), "");
}

TEST_F(EngineTest, TwoEnginesInOneProcessDoNotMeet) {
  EngineConfig config = Config();
  config.block_size = 32;
  const auto a = Make(Config());
  const auto b = Make(config);
  const Request request = Sampled(Prompt(50), 10);
  a->Add(request).value();
  b->Add(request).value();
  Answer from_a;
  Answer from_b;
  while (a->HasWork() || b->HasWork()) {
    for (const Output& output : a->Step()) from_a.Append(output);
    for (const Output& output : b->Step()) from_b.Append(output);
  }
  EXPECT_EQ(Difference(from_a, from_b), "");
}

TEST_F(EngineTest, StepStatsAddUpToTheWork) {
  EngineConfig config = Config();
  config.max_num_batched_tokens = 32;
  std::vector<StepStats> steps;
  config.on_step = [&steps](const StepStats& stats) { steps.push_back(stats); };
  const auto engine = Make(config);
  std::vector<Request> requests;
  for (int32_t i = 0; i < 4; ++i) requests.push_back(Sampled(Prompt(30, i), 5));
  const Stopwatch stopwatch;
  RunAll(engine.get(), requests);
  const double elapsed_ms = stopwatch.milliseconds();
  int64_t prefill = 0;
  int64_t decode = 0;
  double host_ms = 0.0;
  double idle_ms = 0.0;
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].step, static_cast<int64_t>(i));
    EXPECT_LE(steps[i].num_prefill_tokens + steps[i].num_decode_tokens, 32);
    EXPECT_GT(steps[i].milliseconds, 0.0);
    EXPECT_GT(steps[i].host_ms, 0.0);
    EXPECT_GE(steps[i].idle_ms, 0.0);
    host_ms += steps[i].host_ms;
    idle_ms += steps[i].idle_ms;
    prefill += steps[i].num_prefill_tokens;
    decode += steps[i].num_decode_tokens;
  }
  EXPECT_EQ(prefill, 4 * 30);
  EXPECT_EQ(decode, 4 * 4);
  EXPECT_EQ(steps[0].num_waiting, 2);
  EXPECT_EQ(steps[0].idle_ms, 0.0);
  EXPECT_EQ(engine->Stats().host_ms, host_ms);
  EXPECT_EQ(engine->Stats().idle_ms, idle_ms);
  EXPECT_GE(engine->Stats().busy_ms,
            std::ranges::max(steps, {}, &StepStats::milliseconds).milliseconds);
  EXPECT_LE(engine->Stats().busy_ms, elapsed_ms);
}

TEST_F(EngineTest, HundredThousandQueuedRequestsCostNothingAStep) {
  EngineConfig config = Config();
  config.max_num_seqs = 4;
  const auto engine = Make(config);
  const int count = ScaledCases(100000);
  std::vector<RequestId> ids;
  for (int i = 0; i < count; ++i) {
    Request request = Sampled(Prompt(4, i % 50), 40);
    request.timeout_s = 1e9;
    ids.push_back(engine->Add(std::move(request)).value());
  }
  const double start = engine->config().clock();
  for (int step = 0; step < 100; ++step) engine->Step();
  EXPECT_LT(engine->config().clock() - start, kSanitized ? 60.0 : 5.0);
  EXPECT_GT(engine->Stats().num_waiting, count - 100);
  for (const RequestId id : ids) engine->Abort(id);
  size_t ended = 0;
  while (engine->HasWork()) {
    for (const Output& output : engine->Step()) ended += output.finished() ? 1 : 0;
  }
  EXPECT_GE(ended, static_cast<size_t>(count - 100));
  EXPECT_EQ(engine->Stats().kv_blocks_used, 0);
}

}  // namespace
}  // namespace vexact
