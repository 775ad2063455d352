#include "tokenizer/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace vexact {
namespace {

std::string Repair(const std::string& bytes) {
  std::string text;
  Utf8Repair repair;
  repair.Append(bytes, text);
  repair.Finish(text);
  return text;
}

TEST(Utf8, EveryScalarValueSurvivesEncodingAndDecoding) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    std::string text = "a";
    AppendUtf8(c, text);
    ASSERT_TRUE(IsValidUtf8(text)) << static_cast<uint32_t>(c);
    ASSERT_EQ(DecodeUtf8(text, 1).value, c);
    ASSERT_EQ(DecodeUtf8(text, 1).size, text.size() - 1);
    ASSERT_EQ(DecodeUtf8Before(text, text.size()).value, c);
    ASSERT_EQ(Repair(text), text);
  }
}

// The examples of Unicode 16, tables 3-8 to 3-11.
TEST(Utf8, EveryMaximalPartOfACharacterBecomesOneReplacement) {
  const std::string r = "\ufffd";
  EXPECT_EQ(Repair("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(Repair("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(Repair("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42"), r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(Repair("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41"), r + r + r + r + "A");
}

TEST(Utf8, ValidityAgreesWithRepairOnEveryShortString) {
  const unsigned char bytes[] = {0x41, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2,
                                 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5};
  constexpr int kCount = std::size(bytes);
  for (int i = 0; i < kCount * kCount * kCount * kCount; ++i) {
    std::string text;
    for (int n = i, k = 0; k < 4; ++k, n /= kCount) text += static_cast<char>(bytes[n % kCount]);
    ASSERT_EQ(IsValidUtf8(text), Repair(text) == text);
    ASSERT_TRUE(IsValidUtf8(Repair(text)));
  }
}

TEST(Utf8, RepairDoesNotDependOnHowTheBytesArrive) {
  const std::string bytes = "ab\xe2\x82\xac\xf0\x9f\x98\x80\xe2\x82\xc3\xa9 0123456789\xff\xf0\x9f";
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    std::string text;
    Utf8Repair repair;
    repair.Append(bytes.substr(0, cut), text);
    ASSERT_TRUE(IsValidUtf8(text));
    repair.Append(bytes.substr(cut), text);
    repair.Finish(text);
    ASSERT_EQ(text, Repair(bytes));
  }
}

}  // namespace
}  // namespace vexact
