#include "cli/bench_workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vexact {
namespace {

using testing::HasSubstr;

TEST(ParseTrace, FindsTheColumnsByName) {
  const auto rows =
      ParseTrace("arrival_s,prompt_len,output_len\r\n0.0,374,44\r\n8.4,209,152\r\n", "t.csv", 0);
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ((*rows)[1].prompt, 209);
  EXPECT_EQ((*rows)[1].output, 152);
  EXPECT_EQ(ParseTrace("output_tokens,prompt_tokens\n1,2\n3,4", "t.csv", 1)->size(), 1u);
}

TEST(ParseTrace, NamesWhatIsWrong) {
  EXPECT_THAT(ParseTrace("a,b\n1,2\n", "t.csv", 0).error().message, HasSubstr("prompt_tokens"));
  EXPECT_THAT(ParseTrace("prompt_len,output_len\n1\n", "t.csv", 0).error().message,
              HasSubstr("t.csv: line 2"));
  EXPECT_THAT(ParseTrace("prompt_len,output_len\n1,2\n1,0\n", "t.csv", 0).error().message,
              HasSubstr("t.csv: line 3, column 2"));
  EXPECT_THAT(ParseTrace("prompt_len,output_len\n", "t.csv", 0).error().message,
              HasSubstr("found none"));
  EXPECT_FALSE(ParseTrace("", "t.csv", 0).ok());
}

TEST(OutputLengths, OfATableGiveWayToTheFlag) {
  const WorkloadSource source{.vocab_size = 50, .seed = 3};
  InterruptSignals interrupts;
  WorkloadFlags flags;
  flags.num_requests = 2;
  EXPECT_EQ((*MakeRequests(flags, source, interrupts))[1].sampling.max_tokens, 64);
  flags.output_len = 7;
  EXPECT_EQ((*MakeRequests(flags, source, interrupts))[1].sampling.max_tokens, 7);
  flags.dataset = "d.json";
  EXPECT_THAT(MakeRequests(flags, source, interrupts).error().message,
              HasSubstr("a model with a tokenizer"));
}

TEST(RandomRequests, AreAFunctionOfTheSeed) {
  const std::vector<RequestLengths> lengths = {{5, 3}, {5, 3}};
  const auto first = RandomRequests(lengths, 100, 1);
  EXPECT_EQ(first[0].prompt_token_ids, RandomRequests(lengths, 100, 1)[0].prompt_token_ids);
  EXPECT_NE(first[0].prompt_token_ids, first[1].prompt_token_ids);
  EXPECT_NE(first[0].prompt_token_ids, RandomRequests(lengths, 100, 2)[0].prompt_token_ids);
  EXPECT_EQ(first[0].sampling.max_tokens, 3);
  for (const int32_t id : *first[0].prompt_token_ids) EXPECT_TRUE(id >= 0 && id < 100);
}

TEST(WarmupRequests, FitIntoTheModelsLength) {
  WorkloadFlags flags;
  flags.warmup_requests = 3;
  const WorkloadSource source{.vocab_size = 50};
  const auto prompt_len = [&](int32_t max_model_len) {
    const auto requests = WarmupRequests(flags, source, max_model_len);
    EXPECT_EQ(requests.size(), 3u);
    return requests.at(2).prompt_token_ids->size();
  };
  EXPECT_EQ(prompt_len(4096), 32u);
  EXPECT_EQ(prompt_len(33), 32u);
  EXPECT_EQ(prompt_len(32), 31u);  // the engine wants room for a token of the answer
  EXPECT_EQ(prompt_len(2), 1u);
}

}  // namespace
}  // namespace vexact
