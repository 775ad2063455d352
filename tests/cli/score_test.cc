// `vexact score`: the log-probabilities of an answer are those it was generated with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/cli.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// Scores what `requests` generated, with the same fields, and compares.
void ExpectScoreOfGeneratedIsItsOwn(const std::vector<json>& requests,
                                    const std::vector<std::string>& flags) {
  std::string lines;
  for (const json& request : requests) lines += request.dump() + "\n";
  const auto generated = Answers("generate", lines, flags);
  ASSERT_EQ(generated.size(), requests.size());
  std::string score_lines;
  for (size_t i = 0; i < requests.size(); ++i) {
    json line = requests[i];
    line["completion_token_ids"] = generated[i]["outputs"][0]["token_ids"];
    score_lines += line.dump() + "\n";
  }
  const auto scored = Answers("score", score_lines, flags);
  ASSERT_EQ(scored.size(), requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const json& expected = generated[i]["outputs"][0];
    const json& found = scored[i]["outputs"][0];
    EXPECT_EQ(found["token_ids"], expected["token_ids"]);
    EXPECT_EQ(found["logprobs"], expected["logprobs"]) << i;
    EXPECT_EQ(found["cumulative_logprob"], expected["cumulative_logprob"]);
  }
}

const std::vector<json>& Requests() {
  static const std::vector<json> kRequests = {
      {{"prompt", "abc"}, {"max_tokens", 20}, {"logprobs", 2}, {"ignore_eos", true}},
      {{"prompt", std::string(300, 'x')},
       {"max_tokens", 5},
       {"temperature", 0.7},
       {"logprobs", 0},
       {"seed", 4}},
      {{"prompt_token_ids", {5, 6, 7}},
       {"max_tokens", 30},
       {"logprobs", 1},
       {"top_p", 0.9},
       {"repetition_penalty", 1.2},
       {"presence_penalty", 0.3},
       {"frequency_penalty", 0.2},
       {"min_tokens", 10}},
      {{"prompt", "z"},
       {"max_tokens", 8},
       {"logprobs", 3},
       {"temperature", 0},
       {"logit_bias", {{"70", 2.5}}}}};
  return kRequests;
}

TEST(Score, OfAGeneratedAnswerIsItsOwnLogprobs) { ExpectScoreOfGeneratedIsItsOwn(Requests(), {}); }

TEST(Score, OfProcessedLogprobsToo) {
  ExpectScoreOfGeneratedIsItsOwn(Requests(), {"--logprobs-mode", "processed_logprobs"});
}

TEST(Score, DoesNotDependOnTheBudget) {
  ExpectScoreOfGeneratedIsItsOwn(Requests(), {"--max-num-batched-tokens", "16"});
}

TEST(Score, ACompletionIsTokenisedOnItsOwn) {
  const auto text = Answers("score", R"({"prompt": "ab", "completion": "cd"})");
  const auto ids = Answers("score", R"({"prompt": "ab", "completion_token_ids": [102, 103]})");
  EXPECT_EQ(text[0]["outputs"][0]["token_ids"], (json{102, 103}));
  EXPECT_EQ(text[0]["outputs"][0]["text"], "cd");
  ASSERT_EQ(text[0]["outputs"][0]["logprobs"].size(), 2u);
  EXPECT_EQ(text[0]["outputs"][0]["logprobs"], ids[0]["outputs"][0]["logprobs"]);
}

TEST(Score, ARequestWithoutACompletionFails) {
  const ProgramResult result = RunRequests("score", R"({"prompt": "ab"})");
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(JsonLines(result.out)[0]["outputs"][0]["error"].get<std::string>(),
              HasSubstr("\"completion\""));
}

}  // namespace
}  // namespace vexact
