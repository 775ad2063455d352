// What an engine refuses, and with which words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "support/engine_fixture.h"
#include "support/engine_runs.h"

namespace vexact {
namespace {

using EngineRefusals = EngineFixture;
using testing::HasSubstr;

struct Refusal {
  std::string name;
  std::function<void(Request*)> change;
  std::string message;
};

TEST_F(EngineRefusals, RefusesWhatItCanNeverAnswerByName) {
  EngineConfig config = Config();
  config.max_model_len = 100;
  config.kv_cache_memory_bytes = 4 * 16 * model_->KvBytesPerToken();
  const auto engine = Make(config);
  const std::vector<Refusal> refusals = {
      {"empty prompt", [](Request* r) { r->prompt_token_ids->clear(); }, "prompt: expected"},
      {"unknown id", [](Request* r) { r->prompt_token_ids->at(0) = 96; }, "found 96"},
      {"negative id", [](Request* r) { r->prompt_token_ids->at(0) = -1; }, "found -1"},
      {"context", [](Request* r) { r->prompt_token_ids = Prompt(100); }, "99 tokens"},
      {"pool", [](Request* r) { r->sampling.max_tokens = 64; }, "KV blocks"},
      {"text", [](Request* r) { r->prompt_token_ids.reset(); }, "no tokenizer"},
      {"stop", [](Request* r) { r->sampling.stop = {"x"}; }, "stop: expected none"},
      {"bad words", [](Request* r) { r->sampling.bad_words = {"x"}; }, "bad_words"},
      {"temperature", [](Request* r) { r->sampling.temperature = -1.0; }, "temperature"},
      {"completion", [](Request* r) { r->completion_token_ids.emplace(); }, "completion"},
      {"completion id", [](Request* r) { r->completion_token_ids = std::vector<int32_t>{1000}; },
       "completion_token_ids"},
      {"long score", [](Request* r) { r->completion_token_ids = Prompt(95); },
       "prompt and completion: expected at most max_model_len (100) tokens, found 10 + 95"},
      {"timeout", [](Request* r) { r->timeout_s = -1.0; }, "timeout_s"},
  };
  for (const Refusal& refusal : refusals) {
    Request request = Sampled(Prompt(10), 8);
    refusal.change(&request);
    const auto result = engine->Add(request);
    ASSERT_FALSE(result.ok()) << refusal.name;
    EXPECT_THAT(result.error().message, HasSubstr(refusal.message)) << refusal.name;
  }
  EXPECT_FALSE(engine->HasWork());
  // As large as it can be.
  EXPECT_TRUE(engine->Add(Sampled(Prompt(10), 55)).ok());
}

TEST_F(EngineRefusals, RefusesFieldsOfOtherMasksAndWhatTheMaskCannotBe) {
  const auto expect = [&](const std::string& mask, const std::function<void(Request*)>& change,
                          const std::string& message) {
    EngineConfig config = Config();
    config.mask = mask;
    config.max_num_batched_tokens = 8;
    Request request = Sampled(Prompt(10), 8);
    change(&request);
    const auto result = Make(config)->Add(request);
    ASSERT_FALSE(result.ok());
    EXPECT_THAT(result.error().message, HasSubstr(message));
  };
  const auto prefix = [](int32_t n) { return [n](Request* r) { r->prefix_len = n; }; };
  const auto documents = [](std::vector<int32_t> ids) {
    return [ids](Request* r) { r->document_ids = ids; };
  };
  expect("causal", prefix(2),
         "prefix_len: expected in an engine with mask prefix-lm only, found mask causal");
  expect("document", prefix(0), "prefix_len: expected in an engine with mask prefix-lm only");
  expect("prefix-lm", documents({}), "document_ids: expected in an engine with mask document only");
  expect("prefix-lm", prefix(-1), "prefix_len: expected 0 to the prompt's tokens (10), found -1");
  expect("prefix-lm", prefix(11), "prefix_len: expected 0 to the prompt's tokens (10), found 11");
  expect("prefix-lm", prefix(9), "prefix_len: expected at most max_num_batched_tokens (8)");
  expect("document", documents({1, 1}), "one for each of the prompt's tokens (10), found 2");
  expect("document", documents({1, 1, 2, 2, 2, 3, 1, 1, 4, 4}),
         "side by side, found 1 again at token 6");
}

TEST_F(EngineRefusals, AMaskAndAModelAgreeOnTheSlidingWindow) {
  EngineConfig config = Config();
  config.mask = "sliding-window";
  EXPECT_EQ(Engine::Create(config, model_, nullptr).error().message,
            "mask sliding-window: expected a model with a sliding window, found one without");
  config.mask = "round";
  EXPECT_THAT(Engine::Create(config, model_, nullptr).error().message,
              HasSubstr("mask: expected one of causal, sliding-window, prefix-lm, document"));
  RandomModelSpec spec = ModelSpec();
  spec.sliding_window = 20;
  const auto windowed = LoadModelOf(MakeRandomCheckpoint(spec), backend_);
  EXPECT_EQ(Engine::Create(Config(), windowed, nullptr).error().message,
            "mask: expected sliding-window for a model with a sliding window (20 positions), found "
            "causal");
  config.mask = "sliding-window";
  const auto engine = Engine::Create(config, windowed, nullptr);
  ASSERT_TRUE(engine.ok());
  EXPECT_EQ((*engine)->config().attn_impl, "flex");
}

TEST_F(EngineRefusals, MaxModelLenEndsAnAnswerInTime) {
  EngineConfig config = Config();
  config.max_model_len = 24;
  const auto engine = Make(config);
  const Answer answer = RunAlone(engine.get(), Sampled(Prompt(20), 100));
  EXPECT_EQ(answer.token_ids.size(), 4u);
  EXPECT_EQ(answer.finish_reason, FinishReason::kLength);
}

struct ConfigRefusal {
  std::function<void(EngineConfig*)> change;
  std::string message;
};

TEST_F(EngineRefusals, RefusesConfigurationsByName) {
  const std::vector<ConfigRefusal> refusals = {
      {[](EngineConfig* c) { c->block_size = 17; }, "block_size: expected 16, 32 or 64, found 17"},
      {[](EngineConfig* c) { c->max_model_len = 5000; }, "max_model_len: expected 1 to 1024"},
      {[](EngineConfig* c) { c->max_num_seqs = 0; }, "max_num_seqs"},
      {[](EngineConfig* c) { c->pipeline_depth = 2; }, "pipeline_depth: expected 0 to 1, found 2"},
      {[](EngineConfig* c) { c->kv_cache_memory_bytes = 10; }, "kv_cache_memory_bytes"},
      {[](EngineConfig* c) { c->mode = Mode::kVariant; },
       "mode: expected invariant, for which the model's backend was made, found variant"},
      {[](EngineConfig* c) { c->gpu_memory_utilization = 0.0; },
       "gpu_memory_utilization: expected above 0, at most 1, found 0"},
      {[](EngineConfig* c) { c->attn_impl = "fa-variant"; },
       "attn_impl fa-variant contradicts mode invariant"},
      {[](EngineConfig* c) { c->attn_impl = "flash"; }, "found \"flash\""},
      {[](EngineConfig* c) {
         c->enable_chunked_prefill = false;
         c->max_num_batched_tokens = 1000;
       },
       "max_model_len: expected at most max_num_batched_tokens (1000)"},
  };
  for (const ConfigRefusal& refusal : refusals) {
    EngineConfig config = Config();
    refusal.change(&config);
    const auto result = Engine::Create(config, model_, nullptr);
    ASSERT_FALSE(result.ok()) << refusal.message;
    EXPECT_THAT(result.error().message, HasSubstr(refusal.message));
  }
}

}  // namespace
}  // namespace vexact
