// How an engine finds the size of its KV pool on a device with memory of its own, and what it does
// where memory is short.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "support/engine_fixture.h"
#include "support/engine_runs.h"
#include "support/faulty_backend.h"

namespace vexact {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class EngineMemoryTest : public EngineFixture {
 protected:
  // Ranges that ask for more than the device has.
  static EngineConfig DeviceConfig() {
    EngineConfig config = Config();
    config.kv_cache_memory_bytes = 0;
    config.max_num_batched_tokens = 256;
    config.max_num_seqs = 128;
    config.gpu_memory_utilization = 0.75;
    return config;
  }

  static std::vector<Request> Requests() {
    std::vector<Request> requests;
    for (int32_t i = 0; i < 12; ++i) {
      // Among them the largest step's prompts: zeros.
      Request request = Sampled(i < 2 ? std::vector<int32_t>(40, 0) : Prompt(30 + 5 * i, i), 12);
      request.sampling.temperature = i % 3 == 0 ? 0.0 : 0.9;
      if (i % 2 == 0) request.sampling.repetition_penalty = 1.3;
      if (i % 4 == 1) request.sampling.frequency_penalty = 0.5;
      if (i == 5) request.sampling.logprobs_mode = LogprobsMode::kProcessed;
      requests.push_back(std::move(request));
    }
    return requests;
  }
};

TEST_F(EngineMemoryTest, ThePoolTakesWhatTheLargestStepLeaves) {
  constexpr int64_t kDeviceBytes = 8 << 20;
  const std::shared_ptr<const Backend> device = MakeHookedBackend({.device_bytes = kDeviceBytes});
  const auto model = LoadModelOf(checkpoint_, device);
  const auto engine = Engine::Create(DeviceConfig(), model, nullptr).value();
  const int64_t used = kDeviceBytes - device->Memory().free_bytes;
  const int64_t block_bytes = 16 * model->KvBytesPerToken();
  EXPECT_LE(used, kDeviceBytes * 3 / 4);
  EXPECT_GT(used, kDeviceBytes * 3 / 4 - block_bytes);
  EXPECT_GT(engine->Stats().kv_blocks_total, 128);
  // Whatever comes, it fits into what was measured, but for lists of the most likely ids.
  RunAll(engine.get(), Requests());
  EXPECT_LE(kDeviceBytes - device->Memory().free_bytes, used + (1 << 13));
}

TEST_F(EngineMemoryTest, TheLargestStepRunsAndLeavesNoTrace) {
  int64_t tokens = 0;
  int64_t drawn = 0;
  OperatorHooks hooks;
  hooks.device_bytes = 8 << 20;
  hooks.embedding = [&tokens](const EmbeddingArgs& args, Stream& stream) {
    tokens = std::max(tokens, args.y.rows);
    EmbeddingCpu(args, stream);
  };
  hooks.sample = [&drawn](const SampleArgs& args, Stream& stream) {
    drawn += args.num_rows;
    SampleCpu(SupportedCpuTargets().back(), args, stream);
  };
  const std::shared_ptr<const Backend> device = MakeHookedBackend(hooks);
  const auto model = LoadModelOf(checkpoint_, device);
  std::vector<StepStats> steps;
  EngineConfig config = DeviceConfig();
  config.on_step = [&steps](const StepStats& stats) { steps.push_back(stats); };
  const auto measured = Engine::Create(config, model, nullptr).value();
  EXPECT_EQ(tokens, config.max_num_batched_tokens);
  EXPECT_EQ(drawn, config.max_num_seqs);
  const EngineStats stats = measured->Stats();
  EXPECT_EQ(stats.num_steps, 0);
  EXPECT_EQ(stats.num_prefill_tokens, 0);
  EXPECT_EQ(stats.kv_blocks_used, 0);
  EXPECT_EQ(stats.prefix_cache_queries, 0);
  EXPECT_EQ(RunAlone(measured.get(), Requests()[0]).num_cached_tokens, 0);
  ASSERT_FALSE(steps.empty());
  EXPECT_EQ(steps[0].step, 0);
  EXPECT_EQ(steps[0].idle_ms, 0.0) << "no step came before";

  const auto plain = Make(Config());
  const auto expected = RunAll(plain.get(), Requests());
  const auto found = RunAll(measured.get(), Requests());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(expected[i][0].error, "");
    EXPECT_EQ(Difference(found[i][0], expected[i][0]), "") << i;
  }
}

TEST_F(EngineMemoryTest, WhereNotEvenAStepFitsTheErrorSaysWhatToLower) {
  for (const int64_t bytes : {1 << 16, 1 << 20, 3 << 18}) {
    const std::shared_ptr<const Backend> device = MakeHookedBackend({.device_bytes = bytes});
    const auto model = LoadModelOf(checkpoint_, device);
    const auto engine = Engine::Create(DeviceConfig(), model, nullptr);
    ASSERT_FALSE(engine.ok()) << bytes;
    EXPECT_EQ(engine.error().code, ErrorCode::kResourceExhausted);
    EXPECT_THAT(engine.error().message,
                AllOf(HasSubstr("device memory: expected"), HasSubstr("max_num_seqs")));
  }
}

TEST_F(EngineMemoryTest, APoolThatDoesNotFitSaysWhatToLower) {
  const std::shared_ptr<const Backend> device = MakeHookedBackend({.device_bytes = 8 << 20});
  const auto model = LoadModelOf(checkpoint_, device);
  EngineConfig config = DeviceConfig();
  config.kv_cache_memory_bytes = 8 << 20;
  EXPECT_THAT(Engine::Create(config, model, nullptr).error().message,
              AllOf(HasSubstr("device memory: expected 8388608 free bytes"),
                    HasSubstr("lower one of kv_cache_memory_bytes")));
}

TEST_F(EngineMemoryTest, WeightsThatCannotBeRecordedLeaveTheOldOnes) {
  int64_t recordings_left = 1000;
  const std::shared_ptr<const Backend> backend = MakeHookedBackend({.capture = [&]() -> Status {
    if (recordings_left-- > 0) return {};
    return MakeError(ErrorCode::kResourceExhausted, "device memory: none for a recording");
  }});
  RandomModelSpec spec = ModelSpec();
  const auto model = LoadModelOf(checkpoint_, backend);
  spec.seed = 2;
  const Checkpoint other_checkpoint = MakeRandomCheckpoint(spec);
  const auto other = LoadModelOf(other_checkpoint, backend);
  const auto engine = Engine::Create(Config(), model, nullptr).value();
  recordings_left = 1;
  const Status updated = engine->UpdateWeights(other);
  ASSERT_FALSE(updated.ok());
  EXPECT_EQ(updated.error().code, ErrorCode::kResourceExhausted);
  const Request request = Sampled(Prompt(40), 6);
  EXPECT_EQ(Difference(RunAlone(engine.get(), request), RunAlone(Make(Config()).get(), request)),
            "");
}

}  // namespace
}  // namespace vexact
