// Tokens and whitespace control.
#include "chat/lexer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vexact {
namespace {

using testing::HasSubstr;

// Texts as they are, {{ and {% as such, other tokens by their text.
std::string Shown(std::string_view source) {
  const Result<std::vector<Token>> tokens = Tokenize(source);
  if (!tokens.ok()) return tokens.error().message;
  std::string shown;
  for (const Token& token : *tokens) {
    if (token.kind == TokenKind::kPrintBegin) shown += "{{";
    if (token.kind == TokenKind::kBlockBegin) shown += "{%";
    if (token.kind == TokenKind::kInteger) shown += std::to_string(token.integer);
    if (token.kind == TokenKind::kFloat) shown += fmt::format("{}", token.floating);
    shown += token.kind == TokenKind::kText ? "<" + token.text + ">" : token.text + " ";
  }
  return shown;
}

TEST(Lexer, TrimsTheNewlineAfterABlockAndTheSpacesBeforeIt) {
  EXPECT_EQ(Shown("a\n  {% x %}\n  b"), "<a\n>{% x  <  b> ");
  EXPECT_EQ(Shown("a {% x %}\nb"), "<a >{% x  <b> ");
  EXPECT_EQ(Shown("  {% x %}{% y %}"), "{% x  {% y   ");
  EXPECT_EQ(Shown("a\n  {# c #}\n  b"), "<a\n><  b> ");
  EXPECT_EQ(Shown("a\n  {{ x }}\n b"), "<a\n  >{{ x  <\n b> ");
}

TEST(Lexer, SignsOverruleThat) {
  EXPECT_EQ(Shown("a \n {%- x -%} \n b"), "<a>{% x  <b> ");
  EXPECT_EQ(Shown("a\n  {%+ x +%}\nb"), "<a\n  >{% x  <\nb> ");
  EXPECT_EQ(Shown("a {{- x -}} \n b"), "<a>{{ x  <b> ");
  EXPECT_EQ(Shown("a {#- c -#} \n b"), "<a><b> ");
}

TEST(Lexer, DropsOneNewlineAtTheEndAndMakesAllNewlinesAlike) {
  EXPECT_EQ(Shown("a\r\nb\rc\n\n"), "<a\nb\nc\n> ");
}

TEST(Lexer, BracketsHideTheEndOfATag) { EXPECT_EQ(Shown("{{ {'a': {}} }}"), "{{ { a : { } }   "); }

TEST(Lexer, Numbers) {
  EXPECT_EQ(Shown("{{ 1_000 1.5 2e3 x.0.1 }}"), "{{ 1000 1.5 2000 x . 0 . 1   ");
  EXPECT_THAT(Shown("{{ 99999999999999999999 }}"),
              HasSubstr("line 1: expected a number of 64 bits"));
}

TEST(Lexer, StringEscapesAreThoseOfPython) {
  EXPECT_EQ(Shown(R"({{ 'a\n\t\\\'\"\x41\u00e9\U0001f600\101\q' }})"),
            "{{ a\n\t\\'\"A\u00e9\U0001f600A\\q   ");
  EXPECT_THAT(Shown(R"({{ '\ud800' }})"), HasSubstr("expected the digits of a character"));
  EXPECT_THAT(Shown(R"({{ '\N{DASH}' }})"), HasSubstr("not supported"));
}

TEST(Lexer, ErrorsNameTheLine) {
  EXPECT_EQ(Shown("\n\n{{ 'a }}"), "line 3: expected ' at the end of a string, found none");
  EXPECT_EQ(Shown("\n{% if"),
            "line 2: expected %} at the end of a tag, found the end of the template");
  EXPECT_EQ(Shown("{# a"), "line 1: expected #} at the end of a comment, found none");
  EXPECT_EQ(Shown("{{ a ] }}"), "line 1: expected no bracket, found ]");
  EXPECT_EQ(Shown("{{ a ? }}"), "line 1: expected an expression, found ?");
}

}  // namespace
}  // namespace vexact
