// What is not of one answer: routes, keys and origins; calls that wait, end early or are not read;
// an engine that fails; the counts.
#include "server/api.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <semaphore>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/api_fixture.h"
#include "support/faulty_backend.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

using ApiTest = ApiFixture;

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

TEST_F(ApiTest, AFullQueueAnswers429UntilThereIsRoom) {
  const json body = {
      {"prompt", "a"}, {"max_tokens", ScaledCases(200)}, {"n", 12}, {"ignore_eos", true}};
  Call first(*api_, PostRequest("/v1/completions", body.dump()));
  Call second(*api_, PostRequest("/v1/completions", body.dump()));
  const Reply refused = Post("/v1/completions", {{"prompt", "a"}, {"max_tokens", 1}});
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.at("Retry-After"), "1");
  EXPECT_EQ(refused.Json()["error"]["type"], "rate_limit_error");
  EXPECT_EQ(first.Finish().status, 200);
  EXPECT_EQ(Post("/v1/completions", {{"prompt", "a"}, {"max_tokens", 1}}).status, 200);
  EXPECT_EQ(second.Finish().status, 200);
}

// What a choice's pieces say together: [text, token ids, log-probabilities, reason], by index.
std::map<int, json> Joined(const std::vector<json>& events) {
  std::map<int, json> joined;
  for (const json& event : events) {
    for (const json& choice : event["choices"]) {
      json& all = joined.try_emplace(choice["index"], json({"", json::array(), json::array(), ""}))
                      .first->second;
      all[0] = all[0].get<std::string>() + choice["text"].get<std::string>();
      for (const json& id : choice["token_ids"]) all[1].push_back(id);
      for (const json& value : choice["logprobs"]["token_logprobs"]) all[2].push_back(value);
      all[3] = choice["finish_reason"];
    }
  }
  return joined;
}

TEST_F(ApiTest, AStreamMayBringSeveralTokensAnEvent) {
  json body = {
      {"prompt", "abc"},    {"max_tokens", 20},        {"n", 2}, {"seed", 3}, {"logprobs", 0},
      {"ignore_eos", true}, {"return_token_ids", true}};
  const std::map<int, json> expected = Joined({Post("/v1/completions", body).Json()});
  body["stream"] = true;
  EXPECT_EQ(Post("/v1/completions", body).Events().size(), 2u * 20);
  options_.limits.stream_interval = 7;
  Remake();
  std::atomic<int> wakes = 0;
  PendingAnswer late =
      api_->Handle(PostRequest("/v1/completions", body.dump()), [&wakes] { ++wakes; });
  front_->Drain();
  EXPECT_EQ(wakes, 2 * 4) << "the tokens 1, 8, 15 and 20 of each sample";
  EXPECT_TRUE(late.next().end);
  const std::vector<json> events = Post("/v1/completions", body).Events();
  // The connection looks once before the first wake, and takes what both samples have.
  EXPECT_LE(events.size(), 2u * (1 + 2 * 4));
  EXPECT_EQ(Joined(events), expected);
}

TEST_F(ApiTest, AnAnswerThatIsNotStreamedWakesItsConnectionNowAndThenOnly) {
  const json body = {{"prompt", "a"}, {"max_tokens", 200}, {"ignore_eos", true}};
  std::atomic<int> wakes = 0;
  PendingAnswer answer =
      api_->Handle(PostRequest("/v1/completions", body.dump()), [&wakes] { ++wakes; });
  front_->Drain();
  EXPECT_EQ(wakes, 2) << "once for 16 KB of outputs, once at the end";
  const AnswerNews news = answer.next();
  EXPECT_TRUE(news.end);
  EXPECT_EQ(json::parse(news.head.value().body)["usage"]["completion_tokens"], 200);
}

TEST_F(ApiTest, ACancelledCallLeavesTheEngineWithNothing) {
  const json body = {
      {"prompt", "a"}, {"max_tokens", 400}, {"n", 4}, {"ignore_eos", true}, {"stream", true}};
  Call call(*api_, PostRequest("/v1/completions", body.dump()));
  EXPECT_FALSE(call.TakeNews());
  EXPECT_EQ(call.reply().status, 200);
  call.Cancel();
  front_->Drain();
  EXPECT_EQ(api_->num_open_samples(), 0);
  EXPECT_EQ(front_->Stats().kv_blocks_used, 0);
  EXPECT_THAT(
      Get("/metrics").body,
      HasSubstr("vexact:request_success_total{model_name=\"tiny\",finished_reason=\"abort\"} "
                "4"));
}

TEST_F(ApiTest, AStreamWhoseClientDoesNotReadIsAbortedAndHoldsUpNobody) {
  options_.limits.max_pending_bytes = 4000;
  Remake();
  const json body = {{"prompt", "a"}, {"max_tokens", 400}, {"ignore_eos", true}, {"stream", true}};
  Call slow(*api_, PostRequest("/v1/completions", body.dump()));
  EXPECT_EQ(Post("/v1/completions", {{"prompt", "b"}, {"max_tokens", 3}}).status, 200);
  front_->Drain();
  EXPECT_EQ(api_->num_open_samples(), 0);
  const Reply reply = slow.Finish();
  EXPECT_EQ(reply.status, 500);
  EXPECT_THAT(reply.body, HasSubstr("too long to read"));
}

// The first outputs overflow while later requests, whose bad words take long to read, are not yet
// in.
TEST_F(ApiTest, AStreamThatOverflowsAsItBeginsIsAbortedWhole) {
  options_.limits.max_pending_bytes = 1;
  options_.limits.max_open_samples = 256;
  Remake();
  const json body = {{"prompt", std::vector<std::string>(256, "a")},
                     {"bad_words", std::vector<std::string>(100, std::string(100, 'z'))},
                     {"max_tokens", 100},
                     {"ignore_eos", true},
                     {"stream", true}};
  PendingAnswer unread = api_->Handle(PostRequest("/v1/completions", body.dump()), [] {});
  front_->Drain();
  EXPECT_EQ(api_->num_open_samples(), 0);
  EXPECT_THAT(Get("/metrics").body, Not(HasSubstr("finished_reason=\"length\"")));
  EXPECT_EQ(unread.next().head.value().status, 500);
}

TEST_F(ApiTest, AStreamThatIsReadMayBeLongerThanWhatMayWait) {
  const auto steps = std::make_shared<std::counting_semaphore<>>(0);  // that the engine may take
  OperatorHooks hooks;
  hooks.device_error = [steps]() -> const char* {
    steps->acquire();
    return nullptr;
  };
  options_.limits.max_pending_bytes = 4000;
  Make(MakeHookedBackend(hooks));
  const json body = {{"prompt", "a"}, {"max_tokens", 40}, {"ignore_eos", true}, {"stream", true}};
  Call call(*api_, PostRequest("/v1/completions", body.dump()));
  steps->release();
  while (!call.TakeNews()) steps->release();
  steps->release(1000);  // what is in flight ends, too
  EXPECT_EQ(call.reply().status, 200);
  EXPECT_EQ(call.reply().Events().back()["choices"].at(0)["finish_reason"], "length");
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

}  // namespace
}  // namespace vexact
