// An answer drawn token by token, drawn again in one prefill.
#include <gtest/gtest.h>

#include <vector>

#include "support/engine_fixture.h"
#include "support/engine_runs.h"

namespace vexact {
namespace {

class EngineRedrawTest : public EngineFixture {
 protected:
  using Answers = std::vector<std::vector<Answer>>;  // [request][sample]

  // Greedy and drawn; with everything that reads the history.
  static std::vector<Request> Requests() {
    std::vector<Request> requests;
    for (int32_t i = 0; i < 8; ++i) {
      Request request = Sampled(Prompt(1 + 40 * i, i), 30);
      SamplingParams& params = request.sampling;
      params.seed = 100 + i;
      params.n = 1 + i % 3;
      params.temperature = i == 3 ? 0.0 : 0.8 + 0.1 * i;
      if (i % 2 == 1) params.repetition_penalty = 1.3;
      if (i % 3 == 1) params.frequency_penalty = 0.4;
      if (i % 3 == 2) params.presence_penalty = -0.2;
      if (i == 4) params.top_p = 0.8;
      if (i == 5) params.top_k = 5;
      if (i == 6) params.logprobs_mode = LogprobsMode::kProcessed;
      if (i == 7) {
        params.stop_token_ids = {20, 30, 40, 50};
        params.min_tokens = 25;
        params.max_tokens = 25;
      }
      requests.push_back(std::move(request));
    }
    return requests;
  }

  // One request for each sample of `requests`, whose answers are given.
  static std::vector<Request> Redraws(const std::vector<Request>& requests,
                                      const Answers& answers) {
    std::vector<Request> redraws;
    for (size_t i = 0; i < requests.size(); ++i) {
      for (int32_t sample = 0; sample < requests[i].sampling.n; ++sample) {
        Request redraw = requests[i];
        redraw.completion_token_ids = answers[i][sample].token_ids;
        redraw.redraw_sample_index = sample;
        redraw.sampling.n = 1;
        redraws.push_back(std::move(redraw));
      }
    }
    return redraws;
  }
};

TEST_F(EngineRedrawTest, DrawsTheTokensThatWereGenerated) {
  const auto engine = Make(Config());
  const Answers generated = RunAll(engine.get(), Requests());
  EngineConfig tight = Config();  // chunked prompts, and so few blocks that sequences wait
  tight.max_num_batched_tokens = 48;
  tight.kv_cache_memory_bytes = 24 * 16 * model_->KvBytesPerToken();
  for (const EngineConfig& config : {Config(), tight}) {
    const auto other = Make(config);
    const Answers redrawn = RunAll(other.get(), Redraws(Requests(), generated));
    size_t next = 0;
    for (const std::vector<Answer>& samples : generated) {
      for (const Answer& sample : samples) {
        const Answer& again = redrawn[next++].at(0);
        ASSERT_EQ(again.error, "");
        EXPECT_EQ(again.token_ids, sample.token_ids);
        EXPECT_EQ(again.redrawn_token_ids, sample.token_ids) << next;
        ASSERT_EQ(again.logprobs.size(), sample.logprobs.size());
        for (size_t p = 0; p < sample.logprobs.size(); ++p) {
          EXPECT_EQ(again.logprobs[p].logprob, sample.logprobs[p].logprob);
          EXPECT_EQ(again.logprobs[p].rank, sample.logprobs[p].rank);
        }
      }
    }
    EXPECT_EQ(next, redrawn.size());
  }
}

TEST_F(EngineRedrawTest, SaysWhatWouldHaveComeInPlaceOfAChangedToken) {
  const auto engine = Make(Config());
  const Answers generated = RunAll(engine.get(), Requests());
  std::vector<Request> redraws = Redraws(Requests(), generated);
  constexpr size_t kChanged = 11;
  std::vector<std::vector<int32_t>> originals;
  for (Request& redraw : redraws) {
    originals.push_back(*redraw.completion_token_ids);
    int32_t& token = (*redraw.completion_token_ids)[kChanged];
    token = token == 60 ? 61 : 60;
  }
  const Answers redrawn = RunAll(engine.get(), redraws);
  for (size_t i = 0; i < originals.size(); ++i) {
    const std::vector<int32_t>& tokens = redrawn[i][0].redrawn_token_ids;
    ASSERT_EQ(tokens.size(), originals[i].size());
    for (size_t p = 0; p <= kChanged; ++p) EXPECT_EQ(tokens[p], originals[i][p]) << i << " " << p;
    EXPECT_NE(redrawn[i][0].token_ids[kChanged], originals[i][kChanged]);
  }
}

TEST_F(EngineRedrawTest, AScoreRequestThatDoesNotAskDrawsNothing) {
  Request score = Sampled(Prompt(5), 4);
  score.completion_token_ids = Prompt(4, 1);
  const auto engine = Make(Config());
  EXPECT_TRUE(RunAlone(engine.get(), score).redrawn_token_ids.empty());
}

TEST_F(EngineRedrawTest, NeedsACompletion) {
  const auto engine = Make(Config());
  Request request = Sampled(Prompt(5), 4);
  request.redraw_sample_index = 0;
  EXPECT_EQ(engine->Add(request).error().message,
            "redraw_sample_index: expected at least 0, with a completion, found 0");
  request.completion_token_ids = Prompt(4, 1);
  request.redraw_sample_index = -1;
  EXPECT_FALSE(engine->Add(request).ok());
}

}  // namespace
}  // namespace vexact
