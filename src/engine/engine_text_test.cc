// The engine with a tokenizer: text in, text out, stop strings, bad words.
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "support/backends.h"
#include "support/engine_runs.h"
#include "support/random_model.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/tokenizer.h"

namespace vexact {
namespace {

constexpr int32_t kVocabSize = 128;

class EngineTextTest : public testing::Test {
 protected:
  EngineTextTest()
      : checkpoint_(MakeRandomCheckpoint({.vocab_size = kVocabSize})),
        model_(LoadModelOf(checkpoint_, BestDevice())) {
    TokenizerVocabulary vocabulary;
    vocabulary.source = "letters";
    vocabulary.model = "gpt2";
    vocabulary.pre = "qwen2";
    for (int32_t id = 0; id < kVocabSize; ++id) {
      vocabulary.tokens.push_back(ByteLevelText(std::string(1, static_cast<char>(id))));
      vocabulary.token_types.push_back(1);
    }
    vocabulary.tokens.emplace_back("<far>");  // the model has no such row
    vocabulary.token_types.push_back(4);
    tokenizer_ = std::make_shared<const Tokenizer>(Tokenizer::FromVocabulary(vocabulary).value());
  }

  std::unique_ptr<Engine> Make(int32_t depth) const {
    EngineConfig config;
    config.num_threads = 1;
    config.pipeline_depth = depth;
    config.kv_cache_memory_bytes = 1 << 20;
    return Engine::Create(config, model_, tokenizer_).value();
  }

  static Request Ask() {
    Request request;
    request.prompt = "Once upon a time";
    request.sampling.max_tokens = 60;
    request.sampling.seed = 3;
    request.sampling.logprobs = 0;
    request.sampling.allowed_token_ids.emplace();
    for (int32_t id = 'a'; id <= 'e'; ++id) request.sampling.allowed_token_ids->push_back(id);
    return request;
  }

  Checkpoint checkpoint_;
  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_F(EngineTextTest, AStopStringEndsTextAndTokensWhereItIsComplete) {
  const auto engine = Make(1);
  const Answer whole = RunAlone(engine.get(), Ask());
  ASSERT_EQ(whole.text.size(), 60u);
  const std::string stop = whole.text.substr(20, 4);
  const size_t begin = whole.text.find(stop);
  Request request = Ask();
  request.sampling.stop = {"never", stop};
  for (const bool include : {false, true}) {
    request.sampling.include_stop_str_in_output = include;
    std::vector<Answer> answers;
    for (const int32_t depth : {0, 1}) {
      answers.push_back(RunAlone(Make(depth).get(), request));
      const Answer& answer = answers.back();
      EXPECT_EQ(answer.text, whole.text.substr(0, begin + (include ? stop.size() : 0)));
      EXPECT_EQ(answer.token_ids.size(), begin + stop.size());
      EXPECT_EQ(answer.logprobs.size(), begin + stop.size());
      EXPECT_EQ(answer.finish_reason, FinishReason::kStop);
      EXPECT_EQ(std::get<std::string>(answer.stop_reason), stop);
    }
    EXPECT_EQ(Difference(answers[0], answers[1]), "");
  }
}

TEST_F(EngineTextTest, BadWordsNeverAppear) {
  const auto engine = Make(1);
  const Answer whole = RunAlone(engine.get(), Ask());
  Request request = Ask();
  request.sampling.bad_words = {whole.text.substr(10, 2)};
  const Answer answer = RunAlone(engine.get(), request);
  EXPECT_EQ(answer.text.find(request.sampling.bad_words[0]), std::string::npos);
  EXPECT_NE(answer.text, whole.text);
}

// Their places among the logits would be behind the last one.
TEST_F(EngineTextTest, TokensThatTheModelDoesNotHaveAreRefused) {
  const auto engine = Make(1);
  Request request = Ask();
  request.sampling.bad_words = {"<far>"};
  EXPECT_EQ(engine->Add(request).error().message,
            "bad_words: expected token ids of 0 to 127, found 128");
  EngineConfig config;
  config.eos_token_ids = {5, kVocabSize};
  EXPECT_EQ(Engine::Create(config, model_, tokenizer_).error().message,
            "eos_token_ids: expected token ids of 0 to 127, found 128");
}

TEST_F(EngineTextTest, PromptTextAndItsIdsAreTheSameRequest) {
  const auto engine = Make(1);
  const Answer from_text = RunAlone(engine.get(), Ask());
  Request ids = Ask();
  ids.prompt_token_ids = tokenizer_->Encode(ids.prompt, {});
  EXPECT_EQ(Difference(RunAlone(engine.get(), ids), from_text), "");
  Request silent = Ask();
  silent.sampling.detokenize = false;
  const Answer without_text = RunAlone(engine.get(), silent);
  EXPECT_EQ(without_text.text, "");
  EXPECT_EQ(without_text.token_ids, from_text.token_ids);
  Request empty = Ask();
  empty.prompt = "";
  EXPECT_FALSE(engine->Add(empty).ok());
}

}  // namespace
}  // namespace vexact
