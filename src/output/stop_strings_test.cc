#include "output/stop_strings.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "support/property.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

TEST(StopStrings, FindsAStringAcrossPieces) {
  StopStrings stops({"END"});
  EXPECT_FALSE(stops.Append("xE", true));
  EXPECT_EQ(stops.num_held_back(), 1u);
  EXPECT_FALSE(stops.Append("N", true));
  EXPECT_EQ(stops.num_held_back(), 2u);
  const auto hit = stops.Append("Dabc", true);
  ASSERT_TRUE(hit);
  EXPECT_EQ(hit->bytes_after, 3u);
}

TEST(StopStrings, TakesTheFirstEndAndThenTheLongest) {
  StopStrings stops({"b", "ab", "abc"});
  const auto hit = stops.Append("abc", true);
  ASSERT_TRUE(hit);
  EXPECT_EQ(stops[hit->index], "ab");
  EXPECT_EQ(hit->bytes_after, 1u);
}

TEST(StopStrings, PassesStringsThatEndTooEarly) {
  StopStrings stops({"aa"});
  EXPECT_FALSE(stops.Append("aa", false));
  // The second a is still the beginning of another one.
  const auto hit = stops.Append("a", true);
  ASSERT_TRUE(hit);
  EXPECT_EQ(hit->bytes_after, 0u);
}

TEST(StopStrings, HoldsBackNothingWithoutStrings) {
  StopStrings stops({});
  EXPECT_FALSE(stops.Append("anything", true));
  EXPECT_EQ(stops.num_held_back(), 0u);
}

// Every state that a string of up to 10 letters leads to, and every letter in it: borders of
// borders are rare in random texts.
TEST(StopStrings, HoldBackTheLongestBeginningAfterEveryBeginningAndLetter) {
  for (uint32_t code = 2; code < 1u << 11; ++code) {  // a 1, and below it a bit for each letter
    std::string string;
    for (uint32_t bits = code; bits > 1; bits /= 2) string += bits % 2 == 0 ? 'a' : 'b';
    for (size_t length = 0; length < string.size(); ++length) {
      for (const char letter : {'a', 'b'}) {
        const std::string text = string.substr(0, length) + letter;
        StopStrings stops({string});
        ASSERT_EQ(stops.Append(text, true).has_value(), text == string);
        size_t longest = std::min(text.size(), string.size() - 1);
        while (!text.ends_with(string.substr(0, longest))) --longest;
        ASSERT_EQ(stops.num_held_back(), longest) << text << ", " << string;
      }
    }
  }
}

// However a text is cut, the hit is the one that a search of the whole text finds, and what is held
// back is the longest end of the text that begins a string.
TEST(StopStrings, AreTheSameHoweverTheTextIsCut) {
  EXPECT_TRUE(Holds(ScaledCases(100), [] {
    const auto letter = rc::gen::element('a', 'b');
    const auto word = rc::gen::nonEmpty(rc::gen::container<std::string>(letter));
    auto strings = *rc::gen::container<std::vector<std::string>>(word);
    const auto text = *rc::gen::container<std::string>(letter);
    size_t first_end = std::string::npos;
    for (const std::string& string : strings) {
      const size_t at = text.find(string);
      if (at != std::string::npos) first_end = std::min(first_end, at + string.size());
    }
    StopStrings stops(strings);
    size_t read = 0;
    while (read < text.size()) {
      const auto length = *rc::gen::inRange<size_t>(1, text.size() - read + 1);
      const auto hit = stops.Append(std::string_view(text).substr(read, length), true);
      read += length;
      if (hit) {
        RC_ASSERT(read - hit->bytes_after == first_end);
        return;
      }
      size_t longest = 0;
      for (const std::string& string : strings) {
        for (size_t n = 1; n < string.size() && n <= read; ++n) {
          if (text.compare(read - n, n, string, 0, n) == 0) longest = std::max(longest, n);
        }
      }
      RC_ASSERT(stops.num_held_back() == longest);
    }
    RC_ASSERT(first_end == std::string::npos);
  }));
}

}  // namespace
}  // namespace vexact
