// /generate, through the API.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "support/api_fixture.h"

namespace vexact {
namespace {

using nlohmann::json;
using SglangTest = ApiFixture;

TEST_F(SglangTest, GenerateSpeaksSglang) {
  const json sampling = {
      {"max_new_tokens", 5}, {"temperature", 0.7}, {"sampling_seed", 6}, {"ignore_eos", true}};
  json body = {{"text", "abcd"},
               {"sampling_params", sampling},
               {"return_logprob", true},
               {"top_logprobs_num", 2},
               {"logprob_start_len", 0}};
  const json answer = Post("/generate", body).Json();
  const json& meta = answer["meta_info"];
  EXPECT_EQ(meta["finish_reason"], (json{{"type", "length"}, {"length", 5}}));
  EXPECT_EQ(meta["prompt_tokens"], 4);
  EXPECT_EQ(meta["output_token_logprobs"].size(), 5u);
  EXPECT_EQ(meta["output_token_logprobs"][0][1], answer["output_ids"][0]);
  EXPECT_EQ(meta["output_top_logprobs"][0].size(), 2u);
  EXPECT_EQ(meta["input_token_logprobs"].size(), 4u);
  EXPECT_TRUE(meta["input_token_logprobs"][0][0].is_null());
  body["logprob_start_len"] = 2;
  EXPECT_EQ(Post("/generate", body).Json()["meta_info"]["input_token_logprobs"],
            json({meta["input_token_logprobs"][2], meta["input_token_logprobs"][3]}));

  const json openai = Post("/v1/completions", {{"prompt", "abcd"},
                                               {"max_tokens", 5},
                                               {"temperature", 0.7},
                                               {"seed", 6},
                                               {"ignore_eos", true}})
                          .Json();
  EXPECT_EQ(answer["text"], openai["choices"][0]["text"]);

  json stream = body;
  stream["stream"] = true;
  EXPECT_EQ(Post("/generate", stream).Events().back()["text"], answer["text"]);
  const json list = Post("/generate", {{"input_ids", json::parse("[[5, 6], [7]]")},
                                       {"sampling_params", json::array({sampling, sampling})}})
                        .Json();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[1]["meta_info"]["prompt_tokens"], 1);

  EXPECT_EQ(Post("/generate", {{"text", "a"}, {"sampling_params", {{"regex", "x"}}}})
                .Json()["error"]["param"],
            "regex");
  EXPECT_EQ(Post("/generate",
                 {{"text", "a"}, {"sampling_params", {{"regex", nullptr}, {"max_new_tokens", 1}}}})
                .status,
            200);
  EXPECT_EQ(Post("/generate", {{"text", "a"}, {"input_ids", {1}}}).status, 400);
  EXPECT_EQ(Post("/generate", {{"text", "a"}, {"what", 1}}).Json()["error"]["param"], "what");
}

// What evaluators ask for: the prompt's log-probabilities and no answer.
TEST_F(SglangTest, GenerateScoresAPromptWithoutAnAnswer) {
  json body = {{"text", "abcd"},
               {"sampling_params", {{"max_new_tokens", 1}}},
               {"return_logprob", true},
               {"logprob_start_len", 0}};
  const json with_answer = Post("/generate", body).Json();
  // Whatever is drawn unseen ends nothing.
  body["sampling_params"] = {
      {"max_new_tokens", 0}, {"stop_token_ids", with_answer["output_ids"]}, {"temperature", 0}};
  const json answer = Post("/generate", body).Json();
  EXPECT_EQ(answer["text"], "");
  EXPECT_EQ(answer["output_ids"], json::array());
  const json& meta = answer["meta_info"];
  EXPECT_EQ(meta["completion_tokens"], 0);
  EXPECT_EQ(meta["finish_reason"], (json{{"type", "length"}, {"length", 0}}));
  EXPECT_EQ(meta["output_token_logprobs"], json::array());
  EXPECT_EQ(meta["input_token_logprobs"], with_answer["meta_info"]["input_token_logprobs"]);
  body["stream"] = true;
  const std::vector<json> events = Post("/generate", body).Events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["meta_info"]["input_token_logprobs"], meta["input_token_logprobs"]);
  EXPECT_EQ(events[0]["output_ids"], json::array());
  const json mixed = {{"text", {"a", "b"}},
                      {"sampling_params", {{{"max_new_tokens", 0}}, {{"max_new_tokens", 1}}}}};
  EXPECT_EQ(Post("/generate", mixed).Json()["error"]["param"], "max_new_tokens");
}

// Clients index the list, or leave its first item out, whether they asked for values or not.
TEST_F(SglangTest, TheInputsListIsThereWithoutAStartAndHasTheLastTokenWithoutAValue) {
  json body = {{"input_ids", {5, 6, 7}},
               {"sampling_params", {{"max_new_tokens", 1}}},
               {"return_logprob", true},
               {"top_logprobs_num", 2}};
  for (const bool says_so : {false, true}) {
    if (says_so) body["logprob_start_len"] = -1;
    const json meta = Post("/generate", body).Json()["meta_info"];
    EXPECT_EQ(meta["input_token_logprobs"], json::parse("[[null, 7, null]]"));
    EXPECT_EQ(meta["input_top_logprobs"], json::parse("[null]"));
    EXPECT_EQ(meta["output_top_logprobs"][0].size(), 2u);
  }
  body["logprob_start_len"] = -2;
  EXPECT_EQ(Post("/generate", body).Json()["error"]["param"], "logprob_start_len");
  body.erase("logprob_start_len");
  body["return_logprob"] = false;
  EXPECT_FALSE(Post("/generate", body).Json()["meta_info"].contains("input_token_logprobs"));
}

TEST_F(SglangTest, EveryLogprobBringsItsTokensTextWhereThatIsAskedFor) {
  const std::string prompt = "a\u00e9<|eos|>";  // one token, two of a byte each, a special one
  json body = {{"text", prompt},
               {"sampling_params", {{"max_new_tokens", 1}, {"allowed_token_ids", {101}}}},
               {"return_logprob", true},
               {"logprob_start_len", 0},
               {"top_logprobs_num", 1},
               {"return_text_in_logprobs", false}};
  const json without = Post("/generate", body).Json()["meta_info"];
  body["return_text_in_logprobs"] = true;
  const json meta = Post("/generate", body).Json()["meta_info"];
  const std::vector<std::string> texts = {"a", "\ufffd", "\ufffd", "<|eos|>"};
  ASSERT_EQ(meta["input_token_logprobs"].size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(meta["input_token_logprobs"][i][2], texts[i]);
    json item = without["input_token_logprobs"][i];
    EXPECT_TRUE(item[2].is_null());
    item[2] = texts[i];
    EXPECT_EQ(meta["input_token_logprobs"][i], item);
  }
  EXPECT_EQ(meta["output_token_logprobs"][0][2], "b");
  EXPECT_TRUE(meta["input_top_logprobs"][1][0][2].is_string());
}

TEST_F(SglangTest, GenerateGivesEverySampleAnIdOfItsOwn) {
  const json list = Post("/generate", {{"text", {"a", "b"}},
                                       {"sampling_params", {{"n", 2}, {"max_new_tokens", 1}}}})
                        .Json();
  std::set<std::string> ids;
  for (const json& sample : list) ids.insert(sample["meta_info"]["id"]);
  EXPECT_EQ(ids.size(), 4u);
}

}  // namespace
}  // namespace vexact
