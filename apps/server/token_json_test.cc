#include "server/token_json.h"

#include <gtest/gtest.h>

#include <limits>

namespace vexact {
namespace {

std::string LogprobText(float logprob) {
  std::string json;
  AppendLogprob(logprob, json);
  return json;
}

TEST(TokenJson, ALogprobIsItsShortestDecimalAndMinusInfinityALargeNegativeNumber) {
  EXPECT_EQ(LogprobText(-0.1f), "-0.1");
  EXPECT_EQ(LogprobText(-0.0f), "0");
  EXPECT_EQ(LogprobText(-std::numeric_limits<float>::infinity()), "-9999.0");
}

TEST(TokenJson, ATopObjectNamesEachTokenOnceAndTheChosenOneFirst) {
  const TokenLogprob token{
      .token_id = 7, .logprob = -2.5f, .rank = 2, .top = {{9, -0.5f}, {7, -2.5f}}};
  std::string json;
  AppendTopObject(nullptr, token, json);
  EXPECT_EQ(json, R"({"token_id:7":-2.5,"token_id:9":-0.5})");
  json.clear();
  AppendPromptLogprob(nullptr, token, json);
  EXPECT_EQ(json, R"({"7":{"logprob":-2.5,"rank":2,"decoded_token":"token_id:7"},)"
                  R"("9":{"logprob":-0.5,"rank":1,"decoded_token":"token_id:9"}})");
}

}  // namespace
}  // namespace vexact
