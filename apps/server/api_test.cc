// budget: the behaviour of all endpoints but /generate.

#include "server/api.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <tuple>

#include "common/receipt.h"
#include "support/api_fixture.h"
#include "support/faulty_backend.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using ApiTest = ApiFixture;

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

TEST_F(ApiTest, AStreamIsTheWholeAnswerInPieces) {
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

TEST_F(ApiTest, ACompletionHasOpenAisFieldsAndItsSeed) {
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

TEST_F(ApiTest, EchoShowsThePromptAndWithNoTokensNothingElse) {
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

TEST_F(ApiTest, WhatIsWrongIsRefusedByNameAsOpenAiDoes) {
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

TEST_F(ApiTest, ABatchIsTakenWholeOrNotAtAll) {
  for (const char* prompts :
       {"[[99999], [5], [6]]", "[[5], [99999], [6]]", "[[5], [6], [99999]]"}) {
    const Reply reply =
        PostText("/v1/completions", fmt::format(R"({{"prompt": {}, "n": 2}})", prompts));
    EXPECT_EQ(reply.status, 400);
    front_->Drain();
    EXPECT_EQ(api_->num_open_samples(), 0) << prompts;
    EXPECT_EQ(front_->Stats().kv_blocks_used, 0);
  }
}

TEST_F(ApiTest, RoutesMethodsTypesAndKeysAreChecked) {
  EXPECT_EQ(Get("/nowhere").status, 404);
  EXPECT_EQ(Get("/v1/completions").status, 405);
  EXPECT_EQ(Get("/v1/completions").headers.at("Allow"), "POST");
  HttpRequest form = PostRequest("/v1/completions", "{}");
  form.content_type = "text/plain";
  EXPECT_EQ(Call(*api_, form).Finish().status, 415);
  options_.api_key = "secret";
  Remake();
  for (const auto& [header, status] :
       std::vector<std::pair<std::string, int>>{{"", 401},
                                                {"secret", 401},
                                                {"Bearer ", 401},
                                                {"Bearer secre", 401},
                                                {"Bearer secrets", 401},
                                                {"Basic secret", 401},
                                                {"bearer secret", 200},
                                                {"Bearer secret", 200}}) {
    HttpRequest request = GetRequest("/v1/models");
    request.authorization = header;
    EXPECT_EQ(Call(*api_, request).Finish().status, status) << header;
  }
  EXPECT_EQ(Get("/nowhere").status, 401);  // says nothing about what there is
  EXPECT_EQ(Get("/health").status, 200);
}

constexpr const char* kAllowOrigin = "Access-Control-Allow-Origin";

HttpRequest FromPage(HttpRequest request, const std::string& origin) {
  request.origin = origin;
  return request;
}

HttpRequest Preflight(const std::string& path, const std::string& origin) {
  HttpRequest request = FromPage(GetRequest(path), origin);
  request.method = "OPTIONS";
  request.requested_method = "POST";
  request.requested_headers = "authorization,content-type";
  return request;
}

TEST_F(ApiTest, PagesOfOtherOriginsAreToldNothingUnlessAsked) {
  const Reply preflight = Call(*api_, Preflight("/v1/completions", "https://a.example")).Finish();
  EXPECT_EQ(preflight.status, 405);
  for (const Reply& reply :
       {preflight, Call(*api_, FromPage(GetRequest("/health"), "https://a.example")).Finish()}) {
    for (const auto& [name, value] : reply.headers) {
      EXPECT_FALSE(name.starts_with("Access-Control-") || name == "Vary") << name;
    }
  }
}

TEST_F(ApiTest, PagesOfAllowedOriginsMayAsk) {
  options_.api_key = "secret";
  options_.cors.allowed_origins = {"https://a.example", "http://localhost:3000"};
  Remake();
  const auto call = [&](const HttpRequest& request) { return Call(*api_, request).Finish(); };
  const Reply yes = call(Preflight("/v1/completions", "https://a.example"));  // without a key
  EXPECT_EQ(yes.status, 204);
  EXPECT_EQ(yes.body, "");
  EXPECT_EQ(yes.headers.at(kAllowOrigin), "https://a.example");
  EXPECT_EQ(yes.headers.at("Access-Control-Allow-Methods"), "POST");
  EXPECT_EQ(yes.headers.at("Access-Control-Allow-Headers"), "authorization,content-type");
  EXPECT_EQ(yes.headers.at("Vary"), "Origin");
  for (const std::string origin : {"https://b.example", "https://a.example.evil", "null", ""}) {
    const Reply no = call(Preflight("/v1/completions", origin));
    EXPECT_EQ(no.status, 401) << origin;
    EXPECT_FALSE(no.headers.contains(kAllowOrigin)) << origin;
    EXPECT_EQ(no.headers.at("Vary"), "Origin");
  }
  EXPECT_EQ(call(Preflight("/nowhere", "https://a.example")).status, 401);
  // Errors too are the page's to read.
  const Reply refused = call(FromPage(GetRequest("/v1/models"), "http://localhost:3000"));
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.headers.at(kAllowOrigin), "http://localhost:3000");
  HttpRequest with_key = FromPage(GetRequest("/v1/models"), "http://localhost:3000");
  with_key.authorization = "Bearer secret";
  EXPECT_EQ(call(with_key).status, 200);
  options_.cors.allowed_origins = {"*"};
  Remake();
  EXPECT_EQ(call(Preflight("/generate", "https://c.example")).headers.at(kAllowOrigin),
            "https://c.example");
  EXPECT_FALSE(call(GetRequest("/health")).headers.contains(kAllowOrigin));  // no browser
}

TEST(CheckOrigin, TakesWhatABrowserSends) {
  for (const char* good : {"*", "https://a.example", "http://localhost:3000", "http://[::1]:80"}) {
    EXPECT_TRUE(CheckOrigin(good).ok()) << good;
  }
  for (const char* bad :
       {"", "a.example", "https://", "https://a.example/", "://a", "https://*.a"}) {
    EXPECT_FALSE(CheckOrigin(bad).ok()) << bad;
  }
}

TEST_F(ApiTest, TellsWhatItServes) {
  const json models = Get("/v1/models").Json();
  EXPECT_EQ(models["data"].at(0)["id"], "tiny");
  EXPECT_EQ(Get("/v1/models/tiny").Json()["max_model_len"], front_->config().max_model_len);
  EXPECT_EQ(Get("/v1/models/other").status, 404);
  EXPECT_TRUE(Get("/version").Json().contains("profile"));
  EXPECT_EQ(Get("/health").status, 200);
  api_->SetDraining();
  EXPECT_EQ(Get("/health").status, 503);
  EXPECT_EQ(Post("/v1/completions", {{"prompt", "a"}}).status, 503);
}

TEST_F(ApiTest, TokenizesAndBack) {
  const json tokens =
      Post("/tokenize", {{"prompt", "h\u00e9"}, {"return_token_strs", true}}).Json();
  EXPECT_EQ(tokens["count"], 3);
  EXPECT_EQ(tokens["token_strs"].size(), 3u);
  EXPECT_EQ(Post("/detokenize", {{"tokens", tokens["tokens"]}}).Json()["prompt"], "h\u00e9");
  EXPECT_EQ(Post("/tokenize", {{"messages", json::array()}}).status, 400);
  EXPECT_EQ(Post("/tokenize", json::object()).Json()["error"]["param"], "prompt");
  EXPECT_EQ(Post("/detokenize", {{"tokens", json::array()}}).Json()["prompt"], "");
  for (const json& wrong : {json{99999}, json("abc"), json::parse("[[5]]"), json(5)}) {
    const Reply refused = Post("/detokenize", {{"tokens", wrong}});
    EXPECT_EQ(refused.status, 400) << wrong;
    EXPECT_EQ(refused.Json()["error"]["param"], "tokens") << refused.body;
  }
}

TEST_F(ApiTest, ChatIsRefusedWithoutATemplateAndServedWithOne) {
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
TEST_F(ApiTest, ErrorsNameTheFieldAsTheBodyDoes) {
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

TEST_F(ApiTest, AReceiptIsOfTheAnswerItCameWith) {
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
TEST_F(ApiTest, ARequestThatCannotBeAnsweredAsAskedIs400AndNamesTheField) {
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

TEST_F(ApiTest, WeightsThatGiveNoNumbersAre500AndTheServerStaysReady) {
  OperatorHooks hooks;
  hooks.embedding = [](const EmbeddingArgs& args, Stream& /*stream*/) {
    for (int64_t row = 0; row < args.y.rows; ++row) {
      std::fill_n(args.y[row], args.y.cols, Bf16FromFloat(std::numeric_limits<float>::quiet_NaN()));
    }
  };
  Make(MakeHookedBackend(hooks));
  const Reply reply = Post("/v1/completions", {{"prompt", "a"}, {"max_tokens", 2}});
  EXPECT_EQ(reply.status, 500);
  EXPECT_THAT(reply.body, HasSubstr("expected finite values"));
  EXPECT_EQ(Get("/health").status, 200);
}

TEST_F(ApiTest, AFailedEngineAnswers500ThenRefusesAndIsNotReady) {
  const auto has_failed = std::make_shared<std::atomic<bool>>(false);
  OperatorHooks hooks;
  hooks.device_error = [has_failed]() -> const char* { return *has_failed ? "it broke" : nullptr; };
  Make(MakeHookedBackend(hooks));
  const json body = {{"prompt", "a"}, {"max_tokens", 2}};
  EXPECT_EQ(Post("/v1/completions", body).status, 200);
  *has_failed = true;
  const Reply failed = Post("/v1/completions", body);
  EXPECT_EQ(failed.status, 500);
  EXPECT_THAT(failed.body, HasSubstr("it broke"));
  *has_failed = false;
  EXPECT_EQ(Post("/v1/completions", body).status, 503);
  EXPECT_EQ(Get("/health").status, 503);
  EXPECT_THAT(Get("/health").body, HasSubstr("it broke"));
}

TEST_F(ApiTest, CountsAndLogsWithoutPrompts) {
  std::mutex mutex;
  std::vector<std::string> lines;
  options_.log = [&](std::string_view line) {
    const std::lock_guard lock(mutex);
    lines.emplace_back(line);
  };
  Remake();
  const Reply reply = Post("/v1/completions",
                           {{"prompt", "confidential"}, {"max_tokens", 3}, {"ignore_eos", true}});
  Get("/private/path");
  api_->SetEngineStats(front_->Stats());
  const std::string metrics = Get("/metrics").body;
  for (const char* line : {"vexact:prompt_tokens_total{model_name=\"tiny\"} 12\n",
                           "vexact:generation_tokens_total{model_name=\"tiny\"} 3\n",
                           "vexact:time_to_first_token_seconds_count{model_name=\"tiny\"} 1\n",
                           "vexact:inter_token_latency_seconds_count{model_name=\"tiny\"} 2\n",
                           "vexact:inter_token_latency_seconds_bucket{model_name=\"tiny\","
                           "le=\"+Inf\"} 2\n",
                           "vexact:e2e_request_latency_seconds_count{model_name=\"tiny\"} 1\n",
                           "vexact:engine_busy_seconds_total{model_name=\"tiny\"} 0.",
                           "vexact:num_requests_running{model_name=\"tiny\"} 0\n",
                           "vexact:http_responses_total{model_name=\"tiny\",code=\"200\"} 1\n",
                           "vexact:http_responses_total{model_name=\"tiny\",code=\"404\"} 1\n"}) {
    EXPECT_THAT(metrics, HasSubstr(line));
  }
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(json::parse(lines[0])["request_id"], reply.headers.at("X-Request-Id"));
  EXPECT_EQ(json::parse(lines[1])["endpoint"], "other");
  for (const std::string& line : lines) {
    EXPECT_EQ(line.find("confidential"), std::string::npos);
    EXPECT_EQ(line.find("private"), std::string::npos);
  }
}

// Bodies that are almost right: answered or refused, never a fault, and nothing is left behind.
TEST_F(ApiTest, SurvivesMutatedBodies) {
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
