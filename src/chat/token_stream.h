// TokenStream: the tokens of a template, as the parsers take them.
#ifndef VEXACT_CHAT_TOKEN_STREAM_H_
#define VEXACT_CHAT_TOKEN_STREAM_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/lexer.h"

namespace vexact {

class TokenStream {
 public:
  // `tokens` end with kEnd, which is never passed.
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& Peek(size_t ahead = 0) const {
    return tokens_[std::min(next_ + ahead, tokens_.size() - 1)];
  }
  const Token& Next() {
    const Token& token = Peek();
    if (next_ + 1 < tokens_.size()) ++next_;
    return token;
  }
  int line() const { return Peek().line; }

  bool At(TokenKind kind) const { return Peek().kind == kind; }
  bool AtOperator(std::string_view text) const { return Is(Peek(), TokenKind::kOperator, text); }
  bool AtName(std::string_view text) const { return Is(Peek(), TokenKind::kName, text); }

  // Passes the token if it is this one.
  bool SkipOperator(std::string_view text) { return AtOperator(text) && Skip(); }
  bool SkipName(std::string_view text) { return AtName(text) && Skip(); }

  // Passes the token or fails, naming what was found.
  Status ExpectOperator(std::string_view text) {
    return SkipOperator(text) ? Status() : Status(Expected(text));
  }
  Result<std::string> ExpectName(std::string_view what) {
    if (!At(TokenKind::kName)) return Expected(what);
    return Next().text;
  }
  Status ExpectEnd(TokenKind kind) {
    if (!At(kind)) return Expected(kind == TokenKind::kBlockEnd ? "%}" : "}}");
    Skip();
    return {};
  }

  Error Expected(std::string_view what) const {
    return InvalidArgument("line {}: expected {}, found {}", line(), what, Describe(Peek()));
  }
  template <typename... Args>
  Error Refused(fmt::format_string<Args...> format, Args&&... args) const {
    return Unsupported("line {}: {}: not supported", line(),
                       fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  static bool Is(const Token& token, TokenKind kind, std::string_view text) {
    return token.kind == kind && token.text == text;
  }
  bool Skip() { return Next(), true; }
  static std::string Describe(const Token& token);

  std::vector<Token> tokens_;
  size_t next_ = 0;
};

}  // namespace vexact

#endif  // VEXACT_CHAT_TOKEN_STREAM_H_
