#include "engine/engine_front.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "support/backends.h"
#include "support/engine_runs.h"
#include "support/random_model.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

class EngineFrontTest : public testing::Test {
 protected:
  EngineFrontTest()
      : backend_(BestDevice()),
        checkpoint_(MakeRandomCheckpoint({})),
        model_(LoadModelOf(checkpoint_, backend_)) {}

  std::unique_ptr<Engine> MakeEngine() const {
    EngineConfig config;
    config.num_threads = 2;
    config.max_num_batched_tokens = 64;
    config.kv_cache_memory_bytes = 1 << 20;
    return Engine::Create(config, model_, nullptr).value();
  }
  std::unique_ptr<EngineFront> MakeFront() const {
    return EngineFront::Create(MakeEngine()).value();
  }

  static Request Ask(int32_t salt, int32_t max_tokens) {
    Request request;
    request.prompt_token_ids.emplace();
    for (int32_t i = 0; i < 10 + salt % 20; ++i) {
      request.prompt_token_ids->push_back((i * 7 + salt * 31) % 96);
    }
    request.sampling.max_tokens = max_tokens;
    request.sampling.ignore_eos = true;
    request.sampling.logprobs = 0;
    request.sampling.seed = salt;
    return request;
  }

  std::shared_ptr<const Backend> backend_;
  Checkpoint checkpoint_;
  std::shared_ptr<const Model> model_;
};

TEST_F(EngineFrontTest, AnswersManyThreadsAsTheEngineAnswersEachAlone) {
  const int count = ScaledCases(24, 8);
  std::vector<Answer> expected;
  const auto engine = MakeEngine();
  for (int i = 0; i < count; ++i) expected.push_back(RunAlone(engine.get(), Ask(i, 8)));
  const std::unique_ptr<EngineFront> front = MakeFront();
  std::vector<Answer> answers(count);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t; i < count; i += 4) {
        const auto id = front->Submit(
            Ask(i, 8), [&answers, i](const Output& output) { answers[i].Append(output); });
        EXPECT_TRUE(id.ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  front->Drain();
  for (int i = 0; i < count; ++i) EXPECT_EQ(Difference(answers[i], expected[i]), "") << i;
  EXPECT_EQ(front->Stats().kv_blocks_used, 0);
}

TEST_F(EngineFrontTest, EverySampleOfARequestGoesToItsCallback) {
  const std::unique_ptr<EngineFront> front = MakeFront();
  Request request = Ask(1, 4);
  request.sampling.n = 3;
  std::vector<int32_t> ended;
  const auto id = front->Submit(request, [&ended](const Output& output) {
    if (output.finished()) ended.push_back(output.sample_index);
  });
  ASSERT_TRUE(id.ok());
  front->Drain();
  std::ranges::sort(ended);
  EXPECT_EQ(ended, (std::vector<int32_t>{0, 1, 2}));
}

TEST_F(EngineFrontTest, AbortsFromAnyThreadEndARequestOnce) {
  const std::unique_ptr<EngineFront> front = MakeFront();
  std::atomic<int> ended = 0;
  std::atomic<int> aborted = 0;
  std::vector<std::thread> threads;
  const int each = ScaledCases(20, 4);
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        const auto id = front->Submit(Ask(t * 100 + i, 200), [&](const Output& output) {
          ended += output.finished() ? 1 : 0;
          aborted += output.finish_reason == FinishReason::kAbort ? 1 : 0;
        });
        front->Abort(*id);
        front->Abort(*id);
        front->Abort(1 << 30);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  front->Drain();
  EXPECT_EQ(ended, 3 * each);
  EXPECT_EQ(aborted, 3 * each);
}

TEST_F(EngineFrontTest, ACallbackMaySubmitAndAbort) {
  const std::unique_ptr<EngineFront> front = MakeFront();
  std::atomic<int> ended = 0;
  const auto first = front->Submit(Ask(1, 3), [&](const Output& output) {
    if (!output.finished()) return;
    ++ended;
    const auto second = front->Submit(Ask(2, 300), [&](const Output& inner) {
      if (inner.num_output_tokens == 2) front->Abort(inner.request_id);
      ended += inner.finished() ? 1 : 0;
    });
    EXPECT_TRUE(second.ok());
  });
  ASSERT_TRUE(first.ok());
  front->Drain();
  EXPECT_EQ(ended, 2);
}

TEST_F(EngineFrontTest, ARefusedRequestsCallbackIsNeverCalled) {
  const std::unique_ptr<EngineFront> front = MakeFront();
  Request request = Ask(1, 3);
  request.prompt_token_ids->clear();
  const auto id = front->Submit(request, [](const Output&) { ADD_FAILURE(); });
  EXPECT_FALSE(id.ok());
  front->Drain();
}

TEST_F(EngineFrontTest, NewWeightsComeBetweenTheRequestsBeforeAndAfter) {
  RandomModelSpec spec;
  spec.seed = 9;
  const Checkpoint other_checkpoint = MakeRandomCheckpoint(spec);
  const auto other = LoadModelOf(other_checkpoint, backend_);
  const auto engine = MakeEngine();
  const Answer old_answer = RunAlone(engine.get(), Ask(1, 40));
  ASSERT_TRUE(engine->UpdateWeights(other).ok());
  const Answer new_answer = RunAlone(engine.get(), Ask(1, 40));

  const std::unique_ptr<EngineFront> front = MakeFront();
  Answer before;
  Answer after;
  ASSERT_TRUE(front->Submit(Ask(1, 40), [&](const Output& o) { before.Append(o); }).ok());
  ASSERT_TRUE(front->UpdateWeights(other).ok());
  ASSERT_TRUE(front->Submit(Ask(1, 40), [&](const Output& o) { after.Append(o); }).ok());
  front->ResetPrefixCache();
  front->Drain();
  EXPECT_EQ(Difference(before, old_answer), "");
  EXPECT_EQ(Difference(after, new_answer), "");
  EXPECT_NE(Difference(before, after), "");
}

TEST_F(EngineFrontTest, TheDestructorAbortsWhatIsLeft) {
  std::atomic<int> aborted = 0;
  {
    const std::unique_ptr<EngineFront> front = MakeFront();
    for (int i = 0; i < 10; ++i) {
      const auto id = front->Submit(Ask(i, 900), [&](const Output& output) {
        aborted += output.finish_reason == FinishReason::kAbort ? 1 : 0;
      });
      ASSERT_TRUE(id.ok());
    }
  }
  EXPECT_EQ(aborted, 10);
}

}  // namespace
}  // namespace vexact
