#include "demo/ways.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "demo/requests.h"

namespace vexact {
namespace {

using testing::HasSubstr;

std::vector<RequestResult> OneAnswer() {
  RequestResult result;
  SampleResult& sample = result.samples.emplace_back();
  sample.token_ids = {3, 4};
  sample.logprobs = {{3, -1.0f, 1, {{3, -1.0f}}}, {4, -2.0f, 2, {{9, -0.5f}}}};
  sample.finish_reason = FinishReason::kLength;
  return {result};
}

TEST(Compare, EqualAnswersDifferInNoWord) {
  const Comparison comparison = Compare(OneAnswer(), OneAnswer());
  EXPECT_EQ(comparison.logprobs, 4);
  EXPECT_EQ(comparison.differing, 0);
}

TEST(Compare, OneBitOfOneLogprobIsSeen) {
  auto other = OneAnswer();
  float& logprob = other[0].samples[0].logprobs[1].logprob;
  logprob = std::nextafter(logprob, 0.0f);
  EXPECT_EQ(Compare(OneAnswer(), other).differing, 1);
  other = OneAnswer();
  float& top = other[0].samples[0].logprobs[0].top[0].logprob;
  top = std::nextafter(top, 0.0f);
  EXPECT_EQ(Compare(OneAnswer(), other).differing, 1);
}

TEST(Compare, OtherTokensAndMissingOnesAreSeen) {
  auto other = OneAnswer();
  other[0].samples[0].token_ids[0] = 5;
  other[0].samples[0].logprobs[0].token_id = 5;
  EXPECT_EQ(Compare(OneAnswer(), other).differing, 1);
  other = OneAnswer();
  other[0].samples[0].token_ids.pop_back();
  other[0].samples[0].logprobs.pop_back();
  EXPECT_EQ(Compare(OneAnswer(), other).differing, 1);
  EXPECT_EQ(Compare(OneAnswer(), {}).differing, 1);
}

TEST(BrokenClaim, AWayThatDidNotTakeItsPathIsFound) {
  WayReport report;
  report.num_requests = report.largest_batch = 32;
  report.prefill_chunks = 32;
  report.num_threads = 2;
  EXPECT_EQ(BrokenClaim({.name = "way", .least_batch = 32, .most_batch = 32}, report), "");
  EXPECT_THAT(BrokenClaim({.name = "way", .most_batch = 1}, report),
              HasSubstr("above 1, found 32"));
  EXPECT_THAT(BrokenClaim({.name = "way", .least_batch = 33}, report),
              HasSubstr("batch of 33, found 32"));
  EXPECT_THAT(BrokenClaim({.name = "way", .splits_prompts = true}, report), HasSubstr("chunks"));
  EXPECT_THAT(BrokenClaim({.name = "way", .preempts = true}, report), HasSubstr("preemptions"));
  EXPECT_THAT(BrokenClaim({.name = "way", .reads_cache = true}, report), HasSubstr("cached"));
  EXPECT_THAT(BrokenClaim({.name = "way", .num_threads = 1}, report), HasSubstr("threads"));
  report.cached_tokens = 16;
  EXPECT_THAT(BrokenClaim({.name = "way"}, report), HasSubstr("cached tokens: 0, found 16"));
}

TEST(ProofRequests, AreTheTwelveThatWerePromised) {
  const auto requests = ProofRequests(nullptr, 320);
  ASSERT_EQ(requests.size(), static_cast<size_t>(kNumProofRequests));
  int greedy = 0;
  int crosses_tile = 0;
  int crosses_segment = 0;
  std::set<std::vector<int32_t>> first_blocks;
  for (const Request& request : requests) {
    const auto& ids = *request.prompt_token_ids;
    const int32_t prompt = static_cast<int32_t>(ids.size());
    const int32_t output = request.sampling.max_tokens;
    EXPECT_TRUE(prompt >= 5 && prompt <= 300) << prompt;
    EXPECT_TRUE(output >= 24 && output <= 48) << output;
    EXPECT_LE(prompt + output, kLongestRequest);
    greedy += request.sampling.temperature == 0.0 ? 1 : 0;
    crosses_tile += prompt + output > 128 ? 1 : 0;
    crosses_segment += prompt + output > 256 ? 1 : 0;
    first_blocks.insert({ids.begin(), ids.begin() + std::min<int32_t>(prompt, 16)});
  }
  EXPECT_EQ(greedy, 6);
  EXPECT_EQ(crosses_tile, 4);
  EXPECT_EQ(crosses_segment, 2);
  EXPECT_EQ(first_blocks.size(), requests.size());
  EXPECT_EQ(Strangers(320).size(), static_cast<size_t>(kNumStrangers));
}

TEST(ShuffledOrder, IsAPermutationAndNotTheNaturalOrder) {
  const std::vector<int> order = ShuffledOrder(32);
  EXPECT_EQ(std::set<int>(order.begin(), order.end()).size(), 32u);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
}

}  // namespace
}  // namespace vexact
