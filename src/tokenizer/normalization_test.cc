#include "tokenizer/normalization.h"

#include <gtest/gtest.h>

#include <string>

namespace vexact {
namespace {

TEST(NormalizeNfc, ComposesAndOrders) {
  EXPECT_EQ(NormalizeNfc("plain \u00e9"), "plain \u00e9");
  EXPECT_EQ(NormalizeNfc("e\u0301"), "\u00e9");
  EXPECT_EQ(NormalizeNfc("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(NormalizeNfc("o\u0302\u0301"), "\u1ed1");
  EXPECT_EQ(NormalizeNfc("\u1112\u1161\u11ab"), "\ud55c");
  EXPECT_EQ(NormalizeNfc("\u212b\u2126"), "\u00c5\u03a9");
  EXPECT_EQ(NormalizeNfc("\u0958"), "\u0915\u093c");  // a composition exclusion
  EXPECT_EQ(NormalizeNfc(""), "");
}

// The library's crate follows Unicode 9; utf8proc 2.8 follows Unicode 15.
TEST(NormalizeNfc, PassesThroughWhatUnicodeNormalisesSinceVersion10) {
  EXPECT_EQ(NormalizeNfc("a\u1df6\u0301"), "a\u1df6\u0301");                // class 232 since 10
  EXPECT_EQ(NormalizeNfc("a\U0001e4ec\u0301"), "a\U0001e4ec\u0301");        // class 232 since 15
  EXPECT_EQ(NormalizeNfc("\U00011935\U00011930"), "\U00011935\U00011930");  // U+11938 since 13
  EXPECT_EQ(NormalizeNfc("\U000105d2\u0307"), "\U000105d2\u0307");          // U+105C9 since 16
  EXPECT_EQ(NormalizeNfc("e\u0301\u1df6e\u0301"), "\u00e9\u1df6\u00e9");
}

TEST(NormalizeNfc, ARunOfAMillionMarksIsNotQuadratic) {
  std::string text = "a", marks_230, marks_220;
  for (int i = 0; i < 250000; ++i) {
    text += "\u0302\u0316";
    marks_230 += "\u0302";
    marks_220 += "\u0316";
  }
  EXPECT_EQ(NormalizeNfc(text), "\u00e2" + marks_220 + marks_230.substr(2));
}

}  // namespace
}  // namespace vexact
