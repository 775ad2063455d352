// Answers in the making, through the API: what waits, what is too much, who is woken.

#include "server/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <semaphore>
#include <string>
#include <vector>

#include "support/api_fixture.h"
#include "support/faulty_backend.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using GenerationTest = ApiFixture;

TEST_F(GenerationTest, AFullQueueAnswers429UntilThereIsRoom) {
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

TEST_F(GenerationTest, AStreamMayBringSeveralTokensAnEvent) {
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

TEST_F(GenerationTest, AnAnswerThatIsNotStreamedWakesItsConnectionNowAndThenOnly) {
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

TEST_F(GenerationTest, ACancelledCallLeavesTheEngineWithNothing) {
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

TEST_F(GenerationTest, AStreamWhoseClientDoesNotReadIsAbortedAndHoldsUpNobody) {
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
TEST_F(GenerationTest, AStreamThatOverflowsAsItBeginsIsAbortedWhole) {
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

TEST_F(GenerationTest, AStreamThatIsReadMayBeLongerThanWhatMayWait) {
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

}  // namespace
}  // namespace vexact
