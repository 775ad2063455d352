#include "checkpoint/json_fields.h"

#include <gtest/gtest.h>

#include <string>

namespace vexact {
namespace {

std::string ParseError(std::string_view text) {
  const auto parsed = ParseJsonObject(text, "a.json");
  return parsed.ok() ? "" : parsed.error().message;
}

TEST(ParseJsonObject, AcceptsTheDepthLimitAndRefusesOneMore) {
  const auto nested = [](int depth) {
    return "{\"a\": " + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  EXPECT_EQ(ParseError(nested(kMaxJsonDepth)), "");
  EXPECT_EQ(ParseError(nested(kMaxJsonDepth + 1)),
            "a.json: expected JSON nested at most 32 deep, found 33");
  EXPECT_EQ(ParseError(nested(1000000)),
            "a.json: expected JSON nested at most 32 deep, found 1000000");
}

TEST(ParseJsonObject, BracketsInStringsAreNotDepth) {
  EXPECT_EQ(
      ParseError("{\"a\": \"" + std::string(100, '[') + "\\\"" + std::string(100, '{') + "\"}"),
      "");
}

TEST(ParseJsonObject, RefusesDuplicateKeysOfOneObjectOnly) {
  EXPECT_EQ(ParseError(R"({"a": {"b": 1}, "c": {"b": 1}})"), "");
  EXPECT_EQ(ParseError(R"({"a": {"b": 1, "b": 2}})"),
            "a.json: \"b\": expected one such key in its object, found two");
}

TEST(ParseJsonObject, RefusesOtherTopLevelsAndBrokenText) {
  EXPECT_EQ(ParseError("[1]"), "a.json: expected a JSON object, found [1]");
  EXPECT_TRUE(ParseError("").starts_with("a.json: expected JSON, found: "));
  EXPECT_TRUE(ParseError("{} x").starts_with("a.json: expected JSON, found: "));
  EXPECT_TRUE(ParseError("{\"a\": \"\xff\"}").starts_with("a.json: expected JSON, found: "));
  EXPECT_TRUE(ParseError("{\"a\": 1e999}").starts_with("a.json: expected JSON, found: "));
  EXPECT_TRUE(ParseError("{\"a\": NaN}").starts_with("a.json: expected JSON, found: "));
}

TEST(ParseJsonObject, ErrorsStayShort) {
  EXPECT_LT(ParseError("{\"" + std::string(100000, 'a')).size(), 400u);
}

class Fields : public testing::Test {
 protected:
  const nlohmann::json object_ = nlohmann::json::parse(
      R"({"int": 7, "big": 18446744073709551615, "real": 1.5, "text": "x", "yes": true,
          "null": null, "object": {"inner": -1}})");
  const JsonFields fields_{object_, "a.json", ""};
};

TEST_F(Fields, NullCountsAsAbsent) {
  EXPECT_EQ(fields_.Find("null"), nullptr);
  EXPECT_EQ(*fields_.OptionalInteger("null", {0, 9}), std::nullopt);
  EXPECT_EQ(*fields_.OptionalString("none"), std::nullopt);
  EXPECT_EQ(*fields_.BoolOr("none", true), true);
}

TEST_F(Fields, IntegerErrorsNameTheRangeAndWhatWasFound) {
  EXPECT_EQ(*fields_.Integer("int", {7, 7}), 7);
  EXPECT_EQ(fields_.Integer("int", {8, 9}).error().message,
            "a.json: \"int\": expected an integer from 8 to 9, found 7");
  EXPECT_EQ(fields_.Integer("big", {0, INT64_MAX}).error().message,
            "a.json: \"big\": expected an integer from 0 to 9223372036854775807, found "
            "18446744073709551615");
  EXPECT_EQ(fields_.Integer("real", {0, 9}).error().message,
            "a.json: \"real\": expected an integer from 0 to 9, found 1.5");
  EXPECT_EQ(fields_.Integer("none", {0, 9}).error().message,
            "a.json: \"none\": expected an integer from 0 to 9, found nothing");
}

TEST_F(Fields, OtherTypesAreChecked) {
  EXPECT_EQ(*fields_.Number("int"), 7.0);
  EXPECT_EQ(fields_.Number("text").error().message,
            "a.json: \"text\": expected a finite number, found \"x\"");
  EXPECT_EQ(fields_.BoolOr("int", false).error().message,
            "a.json: \"int\": expected true or false, found 7");
  EXPECT_EQ(fields_.OptionalString("yes").error().message,
            "a.json: \"yes\": expected a string, found true");
  EXPECT_EQ(fields_.OptionalObject("int").error().message,
            "a.json: \"int\": expected an object, found 7");
}

TEST_F(Fields, FieldsOfAnInnerObjectAreNamedWithIt) {
  const auto inner = fields_.OptionalObject("object");
  ASSERT_TRUE(inner.ok() && inner->has_value());
  EXPECT_EQ((*inner)->Integer("inner", {0, 9}).error().message,
            "a.json: \"object.inner\": expected an integer from 0 to 9, found -1");
}

}  // namespace
}  // namespace vexact
