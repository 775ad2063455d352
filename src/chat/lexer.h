// Template text to tokens, with Jinja's whitespace control: trim_blocks and lstrip_blocks are on,
// as transformers sets them, "-" and "+" beside a tag's marks overrule them, and one newline at the
// end of the template is dropped.
#ifndef VEXACT_CHAT_LEXER_H_
#define VEXACT_CHAT_LEXER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vexact {

enum class TokenKind {
  kText,        // outside of tags: `text` is printed as it is
  kPrintBegin,  // {{
  kPrintEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,  // `text` is what the literal means
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 0;  // 1 is the first
  std::string text = {};
  int64_t integer = 0;
  double floating = 0.0;
};

// Ends with kEnd. Errors begin with "line N: ". Requires: source is valid UTF-8.
Result<std::vector<Token>> Tokenize(std::string_view source);

}  // namespace vexact

#endif  // VEXACT_CHAT_LEXER_H_
