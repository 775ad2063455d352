// `--load-format dummy`: models that have a config.json and nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "support/cli.h"
#include "support/paths.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string Config(const std::string& name) { return SourceDir() + "/models/" + name; }

std::vector<json> Generate(const TempDir& folder, const std::string& requests,
                           const std::vector<std::string>& flags = {}) {
  std::vector<std::string> arguments = {"generate", "--model", folder.path(), "--load-format",
                                        "dummy",    "--input", "-",           "--ignore-eos"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const ProgramResult result = Vexact(arguments, requests);
  EXPECT_EQ(result.exit_status, 0) << result.err << result.out;
  return JsonLines(result.out);
}

constexpr const char* kRequest =
    R"({"prompt_token_ids": [5, 60, 7, 200], "max_tokens": 24, "temperature": 0, "logprobs": 0})";

TEST(LoadFormatDummy, EveryFamilyHasFiniteLogitsAndGreedyChoicesThatVary) {
  for (const char* name : {"tiny-llama", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3-moe"}) {
    const TempDir folder;
    folder.Write("config.json", ReadFileOrDie(Config(name) + "/config.json"));
    const json output = Generate(folder, kRequest).at(0)["outputs"][0];
    std::set<int> tokens(output["token_ids"].begin(), output["token_ids"].end());
    EXPECT_GE(tokens.size(), 4u) << name << output["token_ids"];
    for (const json& token : output["logprobs"]) {
      // Of 320 ids: more than an even share, less than certainty.
      EXPECT_GT(token["logprob"], -5.0) << name;
      EXPECT_LT(token["logprob"], -0.05) << name;
    }
  }
}

TEST(LoadFormatDummy, TheAnswerDependsOnTheDummySeedAlone) {
  const TempDir folder;
  folder.Write("config.json", ReadFileOrDie(Config("tiny-qwen3") + "/config.json"));
  const json ids = Generate(folder, kRequest).at(0)["outputs"][0]["token_ids"];
  const auto with = [&](const std::vector<std::string>& flags) {
    return Generate(folder, kRequest, flags).at(0)["outputs"][0]["token_ids"];
  };
  EXPECT_EQ(with({"--dummy-seed", "0", "--threads", "1", "--seed", "9"}), ids);
  EXPECT_NE(with({"--dummy-seed", "1"}), ids);
}

TEST(LoadFormatDummy, InspectKnowsTheModel) {
  const ProgramResult result = Vexact(
      {"inspect", "--model", Config("configs/Qwen3-1.7B"), "--load-format", "dummy", "--json"});
  ASSERT_EQ(result.exit_status, 0) << result.err;
  const json model = JsonLines(result.out).at(0);
  EXPECT_EQ(model["parameters"], 1720574976);
  EXPECT_EQ(model["file_bytes"], 0);
  EXPECT_EQ(model["converted"], (json{{"generated from seed 0", 310}}));
}

TEST(LoadFormatDummy, WrongUseIsNamed) {
  const ProgramResult format =
      Vexact({"generate", "--model", TinyModel(), "--prompt", "a", "--load-format", "safetensors"});
  EXPECT_EQ(format.exit_status, 2);
  EXPECT_THAT(format.err, HasSubstr("expected auto or dummy, found \"safetensors\""));
  const ProgramResult weights =
      Vexact({"generate", "--model", Config("configs/SmolLM2-135M"), "--prompt", "a"});
  EXPECT_EQ(weights.exit_status, 1);
  EXPECT_THAT(weights.err, HasSubstr("model.safetensors"));
}

}  // namespace
}  // namespace vexact
