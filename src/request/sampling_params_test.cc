#include "request/sampling_params.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "request/request.h"

namespace vexact {
namespace {

constexpr int64_t kVocab = 100;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Change = std::function<void(SamplingParams&)>;

Status Validate(const Change& change) {
  SamplingParams params;
  change(params);
  return ValidateSamplingParams(params, kVocab);
}

void ExpectError(const Change& change, const std::string& message) {
  const Status status = Validate(change);
  ASSERT_FALSE(status.ok()) << message;
  EXPECT_EQ(status.error().message, message);
  EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
}

TEST(SamplingParams, DefaultsAreValid) {
  EXPECT_TRUE(Validate([](SamplingParams&) {}).ok());
}

TEST(SamplingParams, TheEndsOfEveryRangeAreValid) {
  EXPECT_TRUE(Validate([](auto& p) { p.temperature = 0.0; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.temperature = 1e300; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.top_p = 1e-300; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.min_p = 1.0; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.top_k = -1; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.top_k = std::numeric_limits<int32_t>::max(); }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.presence_penalty = -2.0; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.frequency_penalty = 2.0; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.repetition_penalty = 0.01; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.min_tokens = p.max_tokens; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.n = 16384; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.seed = std::numeric_limits<int64_t>::min(); }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.logprobs = kVocab; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.prompt_logprobs = 0; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.logit_bias = {{0, -1e30}, {99, 1000.0}}; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.allowed_token_ids = {{0, 99}}; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.bad_word_ids = {{0}, {1, 99}}; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.stop = {" "}; }).ok());
  EXPECT_TRUE(Validate([](auto& p) { p.stop_token_ids = {0, 99}; }).ok());
}

TEST(SamplingParams, ErrorsNameFieldExpectedAndFound) {
  ExpectError([](auto& p) { p.max_tokens = 0; }, "max_tokens: expected at least 1, found 0");
  ExpectError([](auto& p) { p.min_tokens = -1; },
              "min_tokens: expected 0 to max_tokens (16), found -1");
  ExpectError([](auto& p) { p.min_tokens = 17; },
              "min_tokens: expected 0 to max_tokens (16), found 17");
  ExpectError([](auto& p) { p.n = 0; }, "n: expected 1 to 16384, found 0");
  ExpectError([](auto& p) { p.n = 16385; }, "n: expected 1 to 16384, found 16385");
  ExpectError([](auto& p) { p.temperature = -0.1; },
              "temperature: expected a finite number of at least 0, found -0.1");
  ExpectError([](auto& p) { p.temperature = kInfinity; },
              "temperature: expected a finite number of at least 0, found inf");
  ExpectError([](auto& p) { p.temperature = kNan; },
              "temperature: expected a finite number of at least 0, found nan");
  for (const double bad : {0.0, -0.5, 1.5, kNan, kInfinity}) {
    ExpectError([&](auto& p) { p.top_p = bad; },
                fmt::format("top_p: expected more than 0 and at most 1, found {}", bad));
  }
  for (const double bad : {-0.5, 1.5, kNan, kInfinity}) {
    ExpectError([&](auto& p) { p.min_p = bad; },
                fmt::format("min_p: expected 0 to 1, found {}", bad));
  }
  ExpectError([](auto& p) { p.top_k = -2; },
              "top_k: expected at least 1, or 0 or -1 for every token, found -2");
  for (const double bad : {-2.5, 2.5, kNan, -kInfinity}) {
    ExpectError([&](auto& p) { p.presence_penalty = bad; },
                fmt::format("presence_penalty: expected -2 to 2, found {}", bad));
    ExpectError([&](auto& p) { p.frequency_penalty = bad; },
                fmt::format("frequency_penalty: expected -2 to 2, found {}", bad));
  }
  for (const double bad : {0.0, -1.0, 1e-60, 1e60, kNan, kInfinity}) {
    ExpectError(
        [&](auto& p) { p.repetition_penalty = bad; },
        fmt::format("repetition_penalty: expected more than 0 and finite as fp32, found {}", bad));
  }
}

TEST(SamplingParams, ErrorsOfListsNameTheEntry) {
  ExpectError(
      [](auto& p) {
        p.logit_bias = {{5, 1.0}, {100, 1.0}};
      },
      "logit_bias: expected token ids of 0 to 99, found 100");
  ExpectError(
      [](auto& p) {
        p.logit_bias = {{5, kNan}};
      },
      "logit_bias: token id 5: expected a number finite as fp32, found nan");
  ExpectError(
      [](auto& p) {
        p.logit_bias = {{5, 1e39}};
      },
      "logit_bias: token id 5: expected a number finite as fp32, found 1e+39");
  ExpectError(
      [](auto& p) {
        p.logit_bias = {{5, 1.0}, {5, 2.0}};
      },
      "logit_bias: expected each token id once, found 5 twice");
  ExpectError([](auto& p) { p.allowed_token_ids.emplace(); },
              "allowed_token_ids: expected at least one token id, found none");
  ExpectError(
      [](auto& p) {
        p.allowed_token_ids = {{0, -1}};
      },
      "allowed_token_ids: expected token ids of 0 to 99, found -1");
  ExpectError(
      [](auto& p) {
        p.bad_words = {"a", ""};
      },
      "bad_words: expected no empty word, found one");
  ExpectError([](auto& p) { p.bad_word_ids = {{}}; },
              "bad_words: expected words of some tokens, found none");
  ExpectError(
      [](auto& p) {
        p.bad_word_ids = {{1, 100}};
      },
      "bad_words: expected token ids of 0 to 99, found 100");
  ExpectError([](auto& p) { p.stop = {""}; }, "stop: expected no empty string, found one");
  ExpectError(
      [](auto& p) {
        p.stop = {"x", "y"};
        p.detokenize = false;
      },
      "stop: expected none with detokenize false, found 2");
  ExpectError([](auto& p) { p.stop_token_ids = {100}; },
              "stop_token_ids: expected token ids of 0 to 99, found 100");
  ExpectError([](auto& p) { p.logprobs = -1; },
              "logprobs: expected 0 to the vocabulary's size (100), found -1");
  ExpectError([](auto& p) { p.prompt_logprobs = 101; },
              "prompt_logprobs: expected 0 to the vocabulary's size (100), found 101");
}

TEST(FinishReason, NamesAreThoseOfTheWire) {
  EXPECT_EQ(FinishReasonName(FinishReason::kNone), "");
  EXPECT_EQ(FinishReasonName(FinishReason::kStop), "stop");
  EXPECT_EQ(FinishReasonName(FinishReason::kLength), "length");
  EXPECT_EQ(FinishReasonName(FinishReason::kAbort), "abort");
  EXPECT_EQ(FinishReasonName(FinishReason::kTimeout), "timeout");
  EXPECT_EQ(FinishReasonName(FinishReason::kError), "error");
}

}  // namespace
}  // namespace vexact
