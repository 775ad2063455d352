// What the endpoints answer: OpenAI's words, whole and in pieces, and what they refuse; SGLang's
// are in sglang_call_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "common/receipt.h"
#include "support/api_fixture.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::HasSubstr;

using AnswersTest = ApiFixture;

// Requests of every kind for /v1/completions.
std::vector<json> CompletionBodies() {
  return {
      {{"prompt", "abc"}, {"max_tokens", 6}, {"seed", 3}, {"ignore_eos", true}},
      {{"prompt", "abc"}, {"max_tokens", 5}, {"temperature", 0}, {"seed", 5}, {"logprobs", 2}},
      {{"prompt", {5, 6, 7}}, {"max_tokens", 4}, {"n", 3}, {"seed", 1}, {"logprobs", 0}},
      {{"prompt", {"one", "two"}}, {"max_tokens", 4}, {"n", 2}, {"seed", 9}, {"echo", true}},
      {{"prompt", json::parse("[[4, 5], [6]]")},
       {"max_tokens", 3},
       {"seed", -4},
       {"logprobs", 1},
       {"echo", true}},
      {{"prompt", "The quick"},
       {"max_tokens", 40},
       {"seed", 8},
       {"stop", {"e", "\u00e9"}},
       {"min_tokens", 3},
       {"top_k", 50},
       {"min_p", 0.001},
       {"top_p", 0.95},
       {"repetition_penalty", 1.1},
       {"presence_penalty", 0.1},
       {"logit_bias", {{"70", 1.5}}},
       {"bad_words", {"zz"}},
       {"stop_token_ids", {200}},
       {"prompt_logprobs", 1},
       {"cache_salt", "s"}},
      {{"prompt", "q"}, {"max_tokens", 9}, {"seed", 2}, {"allowed_token_ids", {3, 4, 100}}},
  };
}

struct Choice {
  std::string text;
  json token_ids = json::array();
  json tokens = json::array();
  json token_logprobs = json::array();
  json top_logprobs = json::array();
  json text_offset = json::array();
  json prompt_logprobs;
  json finish_reason;
  json stop_reason;
  json seed;

  void Add(const json& piece) {
    text += piece["text"];
    const auto append = [](json& list, const json& more) {
      list.insert(list.end(), more.begin(), more.end());
    };
    append(token_ids, piece["token_ids"]);
    if (!piece["logprobs"].is_null()) {
      append(tokens, piece["logprobs"]["tokens"]);
      append(token_logprobs, piece["logprobs"]["token_logprobs"]);
      append(top_logprobs, piece["logprobs"]["top_logprobs"]);
      append(text_offset, piece["logprobs"]["text_offset"]);
    }
    if (piece.contains("prompt_logprobs")) prompt_logprobs = piece["prompt_logprobs"];
    EXPECT_TRUE(finish_reason.is_null());
    finish_reason = piece["finish_reason"];
    stop_reason = piece["stop_reason"];
    seed = piece["seed"];
  }
  friend bool operator==(const Choice&, const Choice&) = default;
};

TEST_F(AnswersTest, AStreamIsTheWholeAnswerInPieces) {
  for (json body : CompletionBodies()) {
    body["return_token_ids"] = true;
    const Reply whole = Post("/v1/completions", body);
    ASSERT_EQ(whole.status, 200) << whole.body;
    const json answer = whole.Json();
    std::map<int, Choice> expected;
    for (const json& choice : answer["choices"]) expected[choice["index"]].Add(choice);
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
    const Reply stream = Post("/v1/completions", body);
    EXPECT_EQ(stream.content_type, "text/event-stream");
    std::map<int, Choice> found;
    json usage;
    for (const json& event : stream.Events()) {
      EXPECT_EQ(event["object"], "text_completion");
      for (const json& choice : event["choices"]) found[choice["index"]].Add(choice);
      if (event.contains("usage")) usage = event["usage"];
    }
    EXPECT_TRUE(found == expected) << body << "\n" << whole.body << "\n" << stream.body;
    EXPECT_EQ(usage["total_tokens"], answer["usage"]["total_tokens"]);
  }
}

TEST_F(AnswersTest, ACompletionHasOpenAisFieldsAndItsSeed) {
  const json answer = Post("/v1/completions", {{"model", "tiny"},
                                               {"prompt", "abc"},
                                               {"max_tokens", 4},
                                               {"logprobs", 2},
                                               {"user", "me"},
                                               {"ignore_eos", true}})
                          .Json();
  EXPECT_EQ(answer["object"], "text_completion");
  EXPECT_EQ(answer["model"], "tiny");
  EXPECT_THAT(answer["id"].get<std::string>(), testing::StartsWith("cmpl-"));
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 4);
  EXPECT_EQ(answer["usage"]["total_tokens"], 7);
  EXPECT_EQ(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  const json& choice = answer["choices"].at(0);
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_TRUE(choice["seed"].is_number_integer());
  EXPECT_EQ(choice["logprobs"]["tokens"].size(), 4u);
  EXPECT_EQ(choice["logprobs"]["text_offset"][0], 0);
  for (const json& top : choice["logprobs"]["top_logprobs"]) EXPECT_GE(top.size(), 2u);
  // The seed repeats the answer.
  const json again = Post("/v1/completions", {{"prompt", "abc"},
                                              {"max_tokens", 4},
                                              {"logprobs", 2},
                                              {"seed", choice["seed"]},
                                              {"ignore_eos", true}})
                         .Json();
  EXPECT_EQ(again["choices"], answer["choices"]);
}

TEST_F(AnswersTest, EchoShowsThePromptAndWithNoTokensNothingElse) {
  const json answer = Post("/v1/completions", {{"prompt", "abc"},
                                               {"max_tokens", 0},
                                               {"echo", true},
                                               {"logprobs", 1},
                                               {"return_token_ids", true}})
                          .Json();
  const json& choice = answer["choices"].at(0);
  EXPECT_EQ(choice["text"], "abc");
  EXPECT_EQ(choice["token_ids"], json::array());
  EXPECT_EQ(choice["prompt_token_ids"].size(), 3u);
  EXPECT_EQ(choice["logprobs"]["tokens"], json({"a", "b", "c"}));
  EXPECT_EQ(choice["logprobs"]["text_offset"], json({0, 1, 2}));
  // In characters, not in bytes: the second one's two bytes are two tokens.
  const json accented =
      Post("/v1/completions",
           {{"prompt", "a\u00e9c"}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 1}})
          .Json();
  EXPECT_EQ(accented["choices"].at(0)["logprobs"]["text_offset"], json({0, 1, 2, 2}));
  EXPECT_TRUE(choice["logprobs"]["token_logprobs"][0].is_null());
  EXPECT_LT(choice["logprobs"]["token_logprobs"][1], 0.0);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 0);
}

TEST_F(AnswersTest, WhatIsWrongIsRefusedByNameAsOpenAiDoes) {
  struct Case {
    std::string body;
    int status;
    std::string param;
    std::string message;
  };
  const std::vector<Case> cases = {
      {"", 400, "", "expected JSON"},
      {"[1]", 400, "", "expected a JSON object"},
      {R"({"max_tokens": 3})", 400, "prompt", "expected a prompt"},
      {R"({"prompt": ""})", 400, "prompt", "at least one token"},
      {R"({"prompt": []})", 400, "prompt", "1 to 256 prompts"},
      {R"({"prompt": 7})", 400, "prompt", "a text or a list of token ids"},
      {R"({"prompt": ["a", 7]})", 400, "prompt", "a text or a list of token ids"},
      {R"({"prompt": [1, -7]})", 400, "prompt", "found -7"},
      {R"({"prompt": [99999]})", 400, "prompt", "99999"},
      {R"({"prompt": "a", "prompt_token_ids": [1]})", 400, "prompt_token_ids", "own field"},
      {R"({"prompt": "a", "temperature": -1})", 400, "temperature", "at least 0"},
      {R"({"prompt": "a", "temperature": "hot"})", 400, "temperature", "a finite number"},
      {R"({"prompt": "a", "top_p": 0})", 400, "top_p", "more than 0"},
      {R"({"prompt": "a", "max_tokens": 0})", 400, "max_tokens", "at least 1"},
      {R"({"prompt": "a", "n": 0})", 400, "n", "1 to"},
      {R"({"prompt": "a", "n": 25})", 400, "n", "at most 24"},
      {R"({"prompt": "a", "n": 2147483647})", 400, "n", "at most 24"},
      {R"({"prompt": "a", "logprobs": 21})", 400, "logprobs", "0 to 20"},
      {R"({"prompt": "a", "prompt_logprobs": 21})", 400, "prompt_logprobs", "0 to 20"},
      {R"({"prompt": "a", "stream": 1})", 400, "stream", "true or false"},
      {R"({"prompt": "a", "stream_options": {}})", 400, "stream_options", "stream"},
      {R"({"prompt": "a", "stream": true, "stream_options": {"x": 1}})", 400, "stream_options",
       "include_usage alone"},
      {R"({"prompt": "a", "best_of": 2})", 400, "best_of", "not supported yet"},
      {R"({"prompt": "a", "tools": []})", 400, "tools", "in chats"},
      {R"({"prompt": "a", "response_format": {}})", 400, "response_format", "not supported yet"},
      {R"({"prompt": "a", "lora_request": {}})", 400, "lora_request", "not supported yet"},
      {R"({"prompt": "a", "use_beam_search": true})", 400, "use_beam_search", "not supported"},
      {R"({"prompt": "a", "priority": 1})", 400, "priority", "not supported yet"},
      {R"({"prompt": "a", "suffix": "b"})", 400, "suffix", "not supported yet"},
      {R"({"prompt": "a", "temprature": 1})", 400, "temprature", "unknown field"},
      {R"({"prompt": "a", "model": "gpt-4"})", 404, "model", "expected \"tiny\""},
      {R"({"prompt": "a", "prompt": "b"})", 400, "prompt", "found two"},
  };
  for (const Case& one : cases) {
    const Reply reply = PostText("/v1/completions", one.body);
    EXPECT_EQ(reply.status, one.status) << one.body << reply.body;
    const json error = reply.Json()["error"];
    EXPECT_EQ(error["param"], one.param.empty() ? json() : json(one.param)) << one.body << error;
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(one.message)) << one.body;
    EXPECT_EQ(error["type"], one.status == 404 ? "not_found_error" : "invalid_request_error");
  }
  EXPECT_EQ(api_->num_open_samples(), 0);
}

TEST_F(AnswersTest, ChatIsRefusedWithoutATemplateAndServedWithOne) {
  const json body = {{"messages", {{{"role", "user"}, {"content", "hi"}}}},
                     {"max_completion_tokens", 5},
                     {"seed", 4},
                     {"logprobs", true},
                     {"top_logprobs", 2},
                     {"ignore_eos", true}};
  EXPECT_EQ(Post("/v1/chat/completions", body).status, 501);
  const auto chat_template = ChatTemplate::Parse(
      {.text = "<|bos|>{{ messages[0].content }}", .tool_use_text = "", .special_tokens = {}});
  options_.calls.chat_template = &chat_template;
  Remake();
  const json answer = Post("/v1/chat/completions", body).Json();
  EXPECT_EQ(answer["object"], "chat.completion");
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 3);  // bos and two bytes
  const json& choice = answer["choices"].at(0);
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_EQ(choice["logprobs"]["content"].size(), 5u);
  EXPECT_EQ(choice["logprobs"]["content"][0]["top_logprobs"].size(), 2u);
  json streamed = body;
  streamed["stream"] = true;
  std::string text;
  for (const json& event : Post("/v1/chat/completions", streamed).Events()) {
    EXPECT_EQ(event["object"], "chat.completion.chunk");
    text += event["choices"].at(0)["delta"]["content"];
  }
  EXPECT_EQ(text, choice["message"]["content"]);
}

// Also where the engine finds the error, which has a name of its own for the field.
TEST_F(AnswersTest, ErrorsNameTheFieldAsTheBodyDoes) {
  const auto sglang = [](const json& params) {
    return json{{"text", "a"}, {"sampling_params", params}};
  };
  const std::tuple<std::string, json, std::string> cases[] = {
      {"/v1/completions", {{"prompt", {99999}}}, "prompt"},
      {"/v1/completions", {{"prompt", "a"}, {"logprobs", -1}}, "logprobs"},
      {"/generate", sglang({{"max_new_tokens", -1}}), "max_new_tokens"},
      {"/generate", sglang({{"max_new_tokens", "x"}}), "max_new_tokens"},
      {"/generate", sglang({{"max_new_tokens", 1}, {"max_tokens", 1}}), "max_new_tokens"},
      {"/generate", sglang({{"max_tokens", -1}}), "max_tokens"},
      {"/generate", sglang({{"min_new_tokens", 500}}), "min_new_tokens"},
      {"/generate", {{"input_ids", {99999}}}, "input_ids"},
      {"/generate", {{"text", ""}}, "text"},
  };
  for (const auto& [path, body, field] : cases) {
    const Reply reply = Post(path, body);
    EXPECT_EQ(reply.status, 400) << body;
    const json error = reply.Json()["error"];
    EXPECT_EQ(error["param"], field) << body;
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(field));
  }
}

TEST_F(AnswersTest, AReceiptIsOfTheAnswerItCameWith) {
  const json answer = Post("/v1/completions", {{"prompt", {"ab", "cd"}},
                                               {"max_tokens", 4},
                                               {"n", 2},
                                               {"return_token_ids", true},
                                               {"return_receipt", true}})
                          .Json();
  ASSERT_EQ(answer["receipts"].size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const Result<Receipt> receipt = ParseReceipt(answer["receipts"][i].dump(), "receipt");
    ASSERT_TRUE(receipt.ok()) << receipt.error().message;
    for (size_t k = 0; k < 2; ++k) {
      const json& choice = answer["choices"][i * 2 + k];
      EXPECT_TRUE(choice["logprobs"].is_null());  // not asked for
      EXPECT_EQ(receipt->answer.samples[k].token_ids,
                choice["token_ids"].get<std::vector<int32_t>>());
      EXPECT_EQ(*receipt->request.sampling.seed, choice["seed"]);
    }
  }
  json stream = {{"prompt", "ab"}, {"max_tokens", 2}, {"return_receipt", true}, {"stream", true}};
  EXPECT_EQ(Post("/v1/completions", stream).Events().back()["receipts"].size(), 1u);
  options_.identity.reset();
  Remake();
  EXPECT_EQ(Post("/v1/completions", stream).Json()["error"]["param"], "return_receipt");
}

// What no check of parameters alone can find, and the text may lead to only later.
TEST_F(AnswersTest, ARequestThatCannotBeAnsweredAsAskedIs400AndNamesTheField) {
  const json none_left = {{"prompt", "a"},
                          {"max_tokens", 2},
                          {"allowed_token_ids", {2}},
                          {"min_tokens", 1}};  // the end alone, not yet
  const json overflow = {{"prompt", "a"}, {"max_tokens", 2}, {"logit_bias", {{"70", 3e38}}}};
  const json too_long = {{"prompt", std::string(5000, 'a')}, {"max_tokens", 2}};
  const json too_many_blocks = {{"prompt", "a"}, {"max_tokens", 4000}};
  for (const auto& [body, param, message] : std::vector<std::tuple<json, std::string, std::string>>{
           {none_left, "allowed_token_ids", "at least one token id to choose from"},
           {overflow, "logit_bias", "expected finite values"},
           {too_long, "prompt", "max_model_len"},
           {too_many_blocks, "max_tokens", "KV blocks"}}) {
    const Reply reply = Post("/v1/completions", body);
    EXPECT_EQ(reply.status, 400) << reply.body;
    EXPECT_EQ(reply.Json()["error"]["type"], "invalid_request_error");
    EXPECT_EQ(reply.Json()["error"]["param"], param) << reply.body;
    EXPECT_THAT(reply.body, HasSubstr(message));
    EXPECT_EQ(Get("/health").status, 200);
  }
  EXPECT_EQ(Post("/generate", {{"text", std::string(5000, 'a')}}).Json()["error"]["param"], "text");
  EXPECT_EQ(Post("/v1/completions", {{"prompt", "a"}, {"max_tokens", 2}}).status, 200);
}

// Bodies that are almost right: answered or refused, never a fault, and nothing is left behind.
TEST_F(AnswersTest, SurvivesMutatedBodies) {
  std::mt19937 random(5);
  const std::vector<json> bodies = CompletionBodies();
  const std::string sglang =
      R"({"text": ["a", "b"], "sampling_params": {"max_new_tokens": 3}, "return_logprob": true})";
  for (int i = 0; i < ScaledCases(1500, 100); ++i) {
    const bool is_sglang = random() % 4 == 0;
    std::string body = is_sglang ? sglang : bodies[random() % bodies.size()].dump();
    for (uint32_t edits = 1 + random() % 3; edits > 0; --edits) {
      const size_t position = random() % body.size();
      constexpr std::string_view kBytes = "\"{}[]:,0-9.e\\x\xff n";
      switch (random() % 3) {
        case 0:
          body[position] = kBytes[random() % kBytes.size()];
          break;
        case 1:
          body.erase(position, 1 + random() % 4);
          break;
        default:
          body.insert(position, 1, kBytes[random() % kBytes.size()]);
      }
    }
    const Reply reply = PostText(is_sglang ? "/generate" : "/v1/completions", body);
    EXPECT_TRUE(reply.status == 200 || reply.status == 400) << body << "\n" << reply.body;
    EXPECT_EQ(reply.status == 400, reply.Json().contains("error")) << body;
  }
  front_->Drain();
  EXPECT_EQ(api_->num_open_samples(), 0);
  EXPECT_EQ(front_->Stats().kv_blocks_used, 0);
}

}  // namespace
}  // namespace vexact
