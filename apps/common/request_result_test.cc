#include "common/request_result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace vexact {
namespace {

using nlohmann::json;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

TokenLogprob Token(int32_t id, float logprob) {
  return {.token_id = id, .logprob = logprob, .rank = 1, .top = {}};
}

Output News(int32_t sample, std::vector<int32_t> ids, FinishReason reason = FinishReason::kNone) {
  Output output;
  output.sample_index = sample;
  output.num_samples = 2;
  output.token_ids = std::move(ids);
  for (const int32_t id : output.token_ids) {
    output.logprobs.push_back(Token(id, -0.1f * static_cast<float>(id)));
    output.text += static_cast<char>('a' + id);
  }
  output.finish_reason = reason;
  output.prompt_token_ids = std::make_shared<const std::vector<int32_t>>(std::vector{7, 8});
  output.seed = -3;
  return output;
}

RequestResult TwoSamples() {
  RequestResult result;
  result.index = 4;
  result.show_logprobs = true;
  AppendOutput(News(0, {1}), result);
  AppendOutput(News(1, {3}, FinishReason::kLength), result);
  AppendOutput(News(0, {2}, FinishReason::kStop), result);
  return result;
}

std::string DigestOf(const RequestResult& result) {
  AnswerDigest digest;
  digest.Add(result);
  return digest.Finish();
}

TEST(RequestResult, GathersTheNewsOfEachSample) {
  RequestResult result;
  AppendOutput(News(0, {1}, FinishReason::kStop), result);
  EXPECT_FALSE(result.finished());  // the other sample has not said anything yet
  result = TwoSamples();
  EXPECT_TRUE(result.finished());
  EXPECT_FALSE(result.failed());
  EXPECT_EQ(result.samples[0].text, "bc");
  EXPECT_THAT(result.samples[0].token_ids, testing::ElementsAre(1, 2));
  EXPECT_EQ(result.samples[1].finish_reason, FinishReason::kLength);
  Output last = News(0, {3}, FinishReason::kStop);
  for (const double sum_so_far : {-0.5, -0.75}) {
    last.cumulative_logprob = sum_so_far;
    AppendOutput(last, result);
    EXPECT_EQ(result.samples[0].cumulative_logprob, sum_so_far);
  }
}

TEST(RequestResult, JsonHasTheFieldsThatWerePromised) {
  RequestResult result = TwoSamples();
  result.samples[0].stop_reason = std::string("\n");
  result.samples[1].stop_reason = 2;
  const json line = json::parse(ResultJson(result));
  EXPECT_EQ(line["index"], 4);
  EXPECT_EQ(line["prompt_token_ids"], (json{7, 8}));
  EXPECT_TRUE(line["prompt_logprobs"].is_null());
  ASSERT_EQ(line["outputs"].size(), 2u);
  const json& sample = line["outputs"][0];
  EXPECT_EQ(sample["text"], "bc");
  EXPECT_EQ(sample["finish_reason"], "stop");
  EXPECT_EQ(sample["stop_reason"], "\n");
  EXPECT_EQ(sample["seed"], -3);
  EXPECT_TRUE(sample["timings"]["total_s"].is_null());
  EXPECT_FALSE(sample.contains("error"));
  EXPECT_EQ(line["outputs"][1]["stop_reason"], 2);
}

TEST(RequestResult, LogprobsAreTheShortestDecimalsAndMinusInfinityIsNull) {
  RequestResult result;
  result.show_logprobs = result.show_prompt_logprobs = true;
  Output output = News(0, {}, FinishReason::kLength);
  output.num_samples = 1;
  output.token_ids = {1, 2};
  output.logprobs = {{1, -0.1f, 2, {{5, -0.05f}, {1, -0.1f}}}, Token(2, kMinusInfinity)};
  output.prompt_logprobs = {Token(8, -1.0f)};
  AppendOutput(output, result);
  const std::string line = ResultJson(result);
  EXPECT_THAT(
      line, testing::HasSubstr(R"("logprobs":[{"token_id":1,"logprob":-0.1,"rank":2,"top":)"
                               R"([{"token_id":5,"logprob":-0.05},{"token_id":1,"logprob":-0.1}]},)"
                               R"({"token_id":2,"logprob":null,"rank":1,"top":[]}])"));
  EXPECT_THAT(line,
              testing::HasSubstr(
                  R"("prompt_logprobs":[null,{"token_id":8,"logprob":-1,"rank":1,"top":[]}])"));
}

TEST(RequestResult, ARefusedRequestHasALineThatSaysWhy) {
  const json line = json::parse(ResultJson(RefusedResult(9, "line 10: \"x\": unknown field")));
  EXPECT_EQ(line["index"], 9);
  EXPECT_EQ(line["outputs"][0]["finish_reason"], "error");
  EXPECT_EQ(line["outputs"][0]["error"], "line 10: \"x\": unknown field");
  EXPECT_TRUE(line["outputs"][0]["seed"].is_null());
  EXPECT_TRUE(line["prompt_token_ids"].is_null());
}

TEST(RequestResult, TextThatIsNoUtf8StillMakesALine) {
  RequestResult result = TwoSamples();
  result.samples[0].text = "a\xff\x01";
  EXPECT_EQ(json::parse(ResultJson(result))["outputs"][0]["text"], "a\xef\xbf\xbd\x01");
}

TEST(RequestResult, DeltasNameRequestAndSample) {
  EXPECT_EQ(DeltaJson(6, News(1, {2}), false),
            R"({"index":6,"delta":{"index":1,"text":"c","token_ids":[2],"logprobs":null}})");
}

TEST(AnswerDigest, DependsOnTokensAndLogprobBitsAlone) {
  const RequestResult result = TwoSamples();
  const std::string digest = DigestOf(result);
  EXPECT_EQ(digest.size(), 64u);
  RequestResult other = result;
  other.show_logprobs = false;
  other.samples[0].text = "else";
  other.samples[0].timings.total_s = 3;
  other.samples[0].logprobs[0].rank = 9;
  EXPECT_EQ(DigestOf(other), digest);
  other.samples[0].logprobs[0].logprob = std::nextafter(-0.1f, 0.0f);
  EXPECT_NE(DigestOf(other), digest);
  other = result;
  other.samples[1].token_ids[0] = 4;
  EXPECT_NE(DigestOf(other), digest);
  other = result;
  std::swap(other.samples[0], other.samples[1]);
  EXPECT_NE(DigestOf(other), digest);
}

TEST(AnswerDigest, ZeroHasNoSignAndNanNoPayload) {
  EXPECT_EQ(CanonicalWord(-0.0f), 0u);
  EXPECT_EQ(CanonicalWord(-std::numeric_limits<float>::quiet_NaN()), 0x7fffffffu);
  EXPECT_EQ(CanonicalWord(kMinusInfinity), 0xff800000u);
}

TEST(AnswerDigest, CountsWhatItCovers) {
  AnswerDigest digest;
  digest.Add(TwoSamples());
  digest.Add(RefusedResult(1, "no"));
  EXPECT_EQ(digest.num_requests(), 2);
  EXPECT_EQ(digest.num_tokens(), 3);
  EXPECT_EQ(digest.num_logprobs(), 3);
}

}  // namespace
}  // namespace vexact
