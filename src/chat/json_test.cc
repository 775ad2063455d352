// JSON as chat templates get it; how it is written again is tested with the goldens.
#include "chat/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vexact {
namespace {

using testing::HasSubstr;

std::string Rewritten(std::string_view text) {
  const Result<Value> value = ParseChatJson(text, "in");
  if (!value.ok()) return value.error().message;
  Meter meter(ChatLimits{});
  return WriteChatJson(*value, {}, meter).value();
}

TEST(ChatJson, KeepsOrderAndKindsOfNumbers) {
  EXPECT_EQ(Rewritten(R"({"b":1,"a":[1.0,-0.0,1e2,true,null,"é"],"B":{}})"),
            R"({"b": 1, "a": [1.0, -0.0, 100.0, true, null, "é"], "B": {}})");
  EXPECT_EQ(Rewritten("[9223372036854775807,-9223372036854775808]"),
            "[9223372036854775807, -9223372036854775808]");
}

TEST(ChatJson, AKeyThatComesTwiceKeepsItsPlaceAndItsLastValue) {
  EXPECT_EQ(Rewritten(R"({"a":1,"b":2,"a":3})"), R"({"a": 3, "b": 2})");
}

TEST(ChatJson, RefusesWhatItCannotKeep) {
  EXPECT_EQ(Rewritten("9223372036854775808"),
            "in: expected an integer of 64 bits, found 9223372036854775808");
  EXPECT_EQ(Rewritten("[123456789012345678901234567890]"),
            "in: expected an integer of 64 bits, found 123456789012345678901234567890");
  EXPECT_THAT(Rewritten(R"(["\ud800"])"), HasSubstr("in: expected JSON, found"));
  EXPECT_THAT(Rewritten("[1] 2"), HasSubstr("in: expected JSON, found"));
  EXPECT_EQ(Rewritten(std::string(100'000, '[')),
            "in: expected JSON nested at most 64 deep, found more");
}

}  // namespace
}  // namespace vexact
