#include "tokenizer/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tokenizer/char_class.h"

namespace vexact {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Pieces(Splitter splitter, const std::string& text) {
  std::vector<size_t> ends;
  AppendPieceEnds(splitter, text, 0, ends);
  std::vector<std::string> pieces;
  size_t begin = 0;
  for (const size_t end : ends) {
    pieces.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  EXPECT_EQ(begin, text.size());
  return pieces;
}

TEST(Split, Gpt2JoinsASpaceToTheWordBehindIt) {
  EXPECT_THAT(Pieces(Splitter::kGpt2, "it's 12  cats!? "),
              ElementsAre("it", "'s", " 12", " ", " cats", "!?", " "));
  EXPECT_THAT(Pieces(Splitter::kGpt2, "it'S\n\nx"), ElementsAre("it", "'", "S", "\n", "\n", "x"));
}

TEST(Split, Llama3TakesNumbersInThreesAndNewlinesTogether) {
  EXPECT_THAT(Pieces(Splitter::kLlama3, "it'S 12345.\n\n  x\t"),
              ElementsAre("it", "'S", " ", "123", "45", ".\n\n", " ", " x", "\t"));
  EXPECT_THAT(Pieces(Splitter::kLlama3, "  \n \n  y"), ElementsAre("  \n \n", " ", " y"));
}

TEST(Split, Qwen2TakesNumbersOneByOne) {
  EXPECT_THAT(Pieces(Splitter::kQwen2, "(x)=12"), ElementsAre("(x", ")=", "1", "2"));
}

TEST(Split, ContractionsFoldTheCaseAsOnigurumaDoes) {
  EXPECT_THAT(Pieces(Splitter::kQwen2, "a'\u017fb'LLc"),
              ElementsAre("a", "'\u017f", "b", "'LL", "c"));
  EXPECT_THAT(Pieces(Splitter::kGpt2, "a'\u017f"), ElementsAre("a", "'", "\u017f"));
}

TEST(Split, DigitsCutsNumbersOut) {
  EXPECT_THAT(Pieces(Splitter::kSingleNumbers, "ab 12\u00bd c"),
              ElementsAre("ab ", "1", "2", "\u00bd", " c"));
  EXPECT_THAT(Pieces(Splitter::kNumberRuns, "ab 12\u00bd c"), ElementsAre("ab ", "12\u00bd", " c"));
}

TEST(Split, AnEmptyTextHasNoPieces) {
  for (const Splitter splitter : {Splitter::kGpt2, Splitter::kLlama3, Splitter::kQwen2,
                                  Splitter::kSingleNumbers, Splitter::kNumberRuns}) {
    EXPECT_THAT(Pieces(splitter, ""), IsEmpty());
  }
}

TEST(Split, KnowsTheRegexesByTheirText) {
  EXPECT_EQ(SplitterOfRegex(
                R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"),
            Splitter::kGpt2);
  EXPECT_EQ(SplitterOfRegex(R"(\s+)"), std::nullopt);
}

TEST(CharClass, TheAsciiShortcutAgreesWithTheTable) {
  for (char32_t c = 0; c < 0x80; ++c) {
    EXPECT_EQ(ClassOf(c), ClassOfNonAscii(c)) << static_cast<uint32_t>(c);
  }
}

TEST(CharClass, CountsOfTheLibrary) {
  int letters = 0, numbers = 0, spaces = 0, numerics = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    const uint8_t classes = ClassOf(c);
    letters += (classes & kLetter) != 0;
    numbers += (classes & kNumber) != 0;
    spaces += (classes & kSpace) != 0;
    numerics += (classes & kNumeric) != 0;
  }
  EXPECT_EQ(letters, 141028);  // oniguruma's \p{L} in tokenizers 0.23.3
  EXPECT_EQ(numbers, 1911);
  EXPECT_EQ(spaces, 25);
  EXPECT_EQ(numerics, 1924);  // Rust's char::is_numeric, a later Unicode
}

}  // namespace
}  // namespace vexact
