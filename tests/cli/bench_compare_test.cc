// vexact bench compare as a program: what it writes, runs and refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/cli.h"
#include "support/paths.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(BenchCompare, RunsBothModesOverTheSameBatchesAndWritesItsThreeFiles) {
  const TempDir folder;
  const ProgramResult result = Vexact({"bench", "compare", "--model", TinyModel(), "--num-requests",
                                       "3", "--input-len", "20", "--output-len", "5", "--repeats",
                                       "2", "--device", "cpu", "--out", folder.path()});
  ASSERT_EQ(result.exit_status, 0) << result.err;
  const json results = json::parse(ReadFileOrDie(folder.path() + "/results.json"));
  EXPECT_EQ(results["same_batches"], true) << results["batch_difference"];
  const json& invariant = results["modes"][0];
  const json& variant = results["modes"][1];
  EXPECT_EQ(invariant["attn_impl"], "fa-invariant");
  EXPECT_EQ(variant["attn_impl"], "fa-variant");
  for (const json& mode : {invariant, variant}) {
    ASSERT_EQ(mode["runs"].size(), 2u);
    EXPECT_EQ(mode["runs"][1]["output_tokens"], 15);
    EXPECT_GT(mode["wall_s"]["median"], 0.0);
  }
  EXPECT_EQ(invariant["linear_calls_not_canonical"], 0);
  EXPECT_EQ(variant["linear_calls_not_canonical"], variant["linear_calls"]);
  EXPECT_EQ(result.out, ReadFileOrDie(folder.path() + "/compare.md"));
  EXPECT_THAT(ReadFileOrDie(folder.path() + "/compare.svg"), HasSubstr("</svg>"));
}

TEST(BenchCompare, RunsTheAttentionThatItIsGivenForEachMode) {
  const TempDir folder;
  const auto implementations = [&folder](const std::string& names) {
    const ProgramResult result =
        Vexact({"bench", "compare", "--model", TinyModel(), "--num-requests", "2", "--input-len",
                "5", "--output-len", "2", "--repeats", "1", "--device", "cpu", "--attn-impl", names,
                "--out", folder.path()});
    EXPECT_EQ(result.exit_status, 0) << result.err;
    const json modes = json::parse(ReadFileOrDie(folder.path() + "/results.json"))["modes"];
    EXPECT_THAT(result.out,
                HasSubstr("| invariant | " + modes[0]["attn_impl"].get<std::string>() + " |"));
    EXPECT_THAT(result.out,
                HasSubstr("| variant | " + modes[1]["attn_impl"].get<std::string>() + " |"));
    return json{modes[0]["attn_impl"], modes[1]["attn_impl"]};
  };
  EXPECT_EQ(implementations("flex"), (json{"flex", "flex"}));
  EXPECT_EQ(implementations("flex,fa-variant"), (json{"flex", "fa-variant"}));
}

// Nothing is loaded for them: the model is not there.
TEST(BenchCompare, WhatContradictsAModeOrTheDeviceIsStatusTwo) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> refused = {
      {{"--mode", "variant"}, "expected neither --mode nor --batch-probe"},
      {{"--attn-impl", "fa-variant,fa-invariant"}, "fa-variant contradicts mode invariant"},
      {{"--attn-impl", "fa-invariant"},
       "(--attn-impl INVARIANT,VARIANT): attn_impl fa-invariant contradicts mode variant"},
      {{"--attn-impl", "fa-invariant-cute,fa-variant-cute", "--device", "cpu"},
       "fa-invariant-cute contradicts device cpu"},
      {{"--attn-impl", "fa-invariant,fa-variant-cute", "--device", "cpu"},
       "fa-variant-cute contradicts device cpu"},
      {{"--attn-impl", "flex,fa-variant", "--mask", "document"},
       "fa-variant contradicts mask document"},
      {{"--attn-impl", "flash"}, "expected one of fa-invariant, fa-variant"},
      {{"--attn-impl", "flex,"}, "expected NAME or INVARIANT,VARIANT (of each mode one), found"},
      {{"--attn-impl", "flex,flex,flex"}, "found \"flex,flex,flex\""}};
  for (const auto& [flags, message] : refused) {
    std::vector<std::string> arguments = {"bench", "compare", "--model", "/nowhere"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const ProgramResult result = Vexact(arguments);
    EXPECT_EQ(result.exit_status, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr(message));
  }
}

TEST(BenchCompare, ShortModelLengthsAreEnoughForRequestsThatFit) {
  const TempDir folder;
  const auto compare = [&folder](const std::string& max_model_len) {
    return Vexact({"bench", "compare", "--model", TinyModel(), "--num-requests", "2", "--input-len",
                   "5", "--output-len", "2", "--repeats", "1", "--device", "cpu", "--max-model-len",
                   max_model_len, "--out", folder.path()});
  };
  const ProgramResult fits = compare("7");
  EXPECT_EQ(fits.exit_status, 0) << fits.err;
  const ProgramResult refused = compare("5");
  EXPECT_EQ(refused.exit_status, 1);
  EXPECT_THAT(refused.err, HasSubstr("request 0: prompt: expected at most 4 tokens (one less than "
                                     "max_model_len), found 5"));
}

}  // namespace
}  // namespace vexact
