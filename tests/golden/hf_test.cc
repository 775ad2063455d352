// Our answers against Hugging Face transformers' (tools/make_hf_goldens.py): the distance of our
// log-probabilities to HF's fp32 is at most 1.1 times that of HF's own bf16, from the same weights.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "engine/load_model.h"
#include "support/backends.h"
#include "support/paths.h"
#include "support/smollm2.h"

namespace vexact {
namespace {

nlohmann::json Goldens() {
  std::ifstream file(SourceDir() + "/tests/data/golden/hf.json");
  return nlohmann::json::parse(file);
}

struct Answers {
  std::vector<double> logprobs;  // of tokens 1, 2, ...
  std::vector<int32_t> top1;
};

Answers Ours(Engine& engine, const std::vector<int32_t>& ids) {
  Request request;
  request.prompt_token_ids = ids;
  request.sampling.max_tokens = 1;
  request.sampling.prompt_logprobs = 1;
  const Result<RequestId> id = engine.Add(request);
  EXPECT_TRUE(id.ok()) << id.error().message;
  Answers answers;
  while (engine.HasWork()) {
    for (const Output& output : engine.Step()) {
      EXPECT_EQ(output.error, "");
      for (const TokenLogprob& token : output.prompt_logprobs) {
        answers.logprobs.push_back(token.logprob);
        answers.top1.push_back(token.top.at(0).token_id);
      }
    }
  }
  return answers;
}

double MeanDistance(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

double Perplexity(const std::vector<double>& logprobs) {
  double sum = 0;
  for (const double logprob : logprobs) sum += logprob;
  return std::exp(-sum / static_cast<double>(logprobs.size()));
}

// Concatenates one kind of HF answers over a model's sequences.
Answers Theirs(const nlohmann::json& golden, const char* precision) {
  Answers all;
  for (const auto& sequence : golden["sequences"]) {
    const auto logprobs = sequence[precision]["logprobs"].get<std::vector<double>>();
    const auto top1 = sequence[precision]["top1"].get<std::vector<int32_t>>();
    all.logprobs.insert(all.logprobs.end(), logprobs.begin(), logprobs.end());
    all.top1.insert(all.top1.end(), top1.begin(), top1.end());
  }
  return all;
}

Answers OursOver(const nlohmann::json& golden, const std::string& path, Mode mode) {
  Result<LoadedModel> loaded = LoadModel({.path = path}, BestDevice(mode), {});
  if (!loaded.ok()) {
    ADD_FAILURE() << loaded.error().message;
    return {};
  }
  EngineConfig config;
  config.mode = mode;
  auto engine = Engine::Create(std::move(config), loaded->model, loaded->tokenizer);
  if (!engine.ok()) {
    ADD_FAILURE() << engine.error().message;
    return {};
  }
  Answers all;
  for (const auto& sequence : golden["sequences"]) {
    const Answers some = Ours(**engine, sequence["token_ids"].get<std::vector<int32_t>>());
    all.logprobs.insert(all.logprobs.end(), some.logprobs.begin(), some.logprobs.end());
    all.top1.insert(all.top1.end(), some.top1.begin(), some.top1.end());
  }
  return all;
}

// Compares, and reports the numbers that docs/numerics.md quotes.
void ExpectAsNearAsHfBf16(const std::string& name, const nlohmann::json& golden,
                          const Answers& ours) {
  const Answers fp32 = Theirs(golden, "fp32");
  const Answers bf16_answers = Theirs(golden, "bf16");
  ASSERT_EQ(ours.logprobs.size(), fp32.logprobs.size());
  ASSERT_EQ(ours.top1.size(), fp32.top1.size());
  const double our_distance = MeanDistance(ours.logprobs, fp32.logprobs);
  const double hf_distance = MeanDistance(bf16_answers.logprobs, fp32.logprobs);
  int64_t agree = 0;
  for (size_t i = 0; i < ours.top1.size(); ++i) agree += ours.top1[i] == fp32.top1[i] ? 1 : 0;
  std::printf("%s: mean |logprob - HF fp32| %.5f, HF bf16's %.5f; top-1 agreement %.1f %%\n",
              name.c_str(), our_distance, hf_distance,
              100.0 * static_cast<double>(agree) / static_cast<double>(ours.top1.size()));
  EXPECT_LE(our_distance, 1.1 * hf_distance);
}

class TinyModels : public testing::TestWithParam<const char*> {};

TEST_P(TinyModels, AreAsNearToHfFp32AsHfBf16Is) {
  const std::string name = GetParam();
  const nlohmann::json golden = Goldens()["models"][name];
  for (const Mode mode : {Mode::kInvariant, Mode::kVariant}) {
    ExpectAsNearAsHfBf16(name + ", " + std::string(ModeName(mode)), golden,
                         OursOver(golden, SourceDir() + "/models/" + name, mode));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TinyModels,
                         testing::Values("tiny-llama", "tiny-qwen2", "tiny-qwen3",
                                         "tiny-qwen3-moe"));

TEST(SmolLm2, IsAsNearToHfFp32AsHfBf16IsOnRealText) {
  const std::string path = test::SmolLm2Path();
  if (path.empty()) GTEST_SKIP() << "the model is not in the cache: run scripts/fetch_model";
  const nlohmann::json golden = Goldens()["models"]["smollm2"];
  const double theirs = Perplexity(Theirs(golden, "bf16").logprobs);
  for (const Mode mode : {Mode::kInvariant, Mode::kVariant}) {
    const std::string name = "smollm2, " + std::string(ModeName(mode));
    const Answers answers = OursOver(golden, path, mode);
    ExpectAsNearAsHfBf16(name, golden, answers);
    const double ours = Perplexity(answers.logprobs);
    std::printf("%s: perplexity of 500 tokens %.4f, HF bf16's %.4f\n", name.c_str(), ours, theirs);
    EXPECT_NEAR(ours / theirs, 1.0, 0.005);
  }
}

}  // namespace
}  // namespace vexact
