#include "chat/lexer.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "chat/string_literal.h"
#include "chat/text.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

constexpr auto kNone = std::string_view::npos;
constexpr std::string_view kSpaces = " \t\n\v\f";  // a template's "\r" became "\n" before

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) { return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_'; }
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c); }

// "\r\n" and "\r" become "\n"; one newline at the end goes.
std::string NormalizeNewlines(std::string_view source) {
  std::string normalized;
  normalized.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      normalized += source[i];
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      normalized += '\n';
    }
  }
  if (!normalized.empty() && normalized.back() == '\n') normalized.pop_back();
  return normalized;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  Result<std::vector<Token>> Run() {
    while (at_ < source_.size()) VX_RETURN_IF_ERROR(LexTextAndTag());
    Add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  template <typename... Args>
  Error Fail(fmt::format_string<Args...> format, Args&&... args) const {
    return InvalidArgument("line {}: {}", line_, fmt::format(format, std::forward<Args>(args)...));
  }

  void Add(TokenKind kind, std::string text) {
    tokens_.push_back({.kind = kind, .line = line_, .text = std::move(text)});
  }

  bool StartsWith(std::string_view text) const { return source_.substr(at_).starts_with(text); }

  void Advance(size_t bytes) {
    const std::string_view passed = source_.substr(at_, bytes);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    at_ += bytes;
    if (!passed.empty()) at_line_start_ = passed.back() == '\n';
  }

  void SkipSpaces() {
    const size_t end = source_.find_first_not_of(kSpaces, at_);
    Advance((end == kNone ? source_.size() : end) - at_);
  }

  // Text up to the next tag, and that tag.
  Status LexTextAndTag() {
    size_t begin = source_.find('{', at_);
    const auto begins_tag = [this](size_t i) {
      return i + 1 < source_.size() && std::string_view("{%#").find(source_[i + 1]) != kNone;
    };
    while (begin != kNone && !begins_tag(begin)) begin = source_.find('{', begin + 1);
    std::string_view text = source_.substr(at_, begin == kNone ? kNone : begin - at_);
    if (begin == kNone) {
      Add(TokenKind::kText, std::string(text));
      Advance(text.size());
      return {};
    }
    const char mark = source_[begin + 1];
    const char next = begin + 2 < source_.size() ? source_[begin + 2] : ' ';
    const bool has_sign = next == '-' || next == '+';
    const size_t text_bytes = text.size();
    if (next == '-') {
      text = Strip(text, std::nullopt, Sides::kRight);
    } else if (next != '+' && mark != '{') {
      text = WithoutIndentation(text);
    }
    if (!text.empty()) Add(TokenKind::kText, std::string(text));
    Advance(text_bytes + (has_sign ? 3 : 2));
    return mark == '#' ? SkipComment() : LexTag(mark == '%');
  }

  // lstrip_blocks: spaces between the line's start and the tag go.
  std::string_view WithoutIndentation(std::string_view text) const {
    const size_t line_start = text.rfind('\n') + 1;  // 0 if there is none
    if (line_start == 0 && !at_line_start_) return text;
    const bool only_spaces = Strip(text.substr(line_start), std::nullopt, Sides::kBoth).empty();
    return only_spaces ? text.substr(0, line_start) : text;
  }

  Status SkipComment() {
    const size_t end = source_.find("#}", at_);
    if (end == kNone) return Fail("expected #}} at the end of a comment, found none");
    const char sign = end > at_ ? source_[end - 1] : ' ';
    Advance(end - at_ + 2);
    AfterTag(sign);
    return {};
  }

  // What the end of a block or comment takes with it.
  void AfterTag(char sign) {
    if (sign == '-') SkipSpaces();
    if (sign != '-' && sign != '+' && StartsWith("\n")) Advance(1);  // trim_blocks
  }

  // True if the tag ended here.
  bool EndTag(bool is_block) {
    const char sign = StartsWith("-") ? '-' : is_block && StartsWith("+") ? '+' : ' ';
    const size_t sign_bytes = sign == ' ' ? 0 : 1;
    if (!source_.substr(at_ + sign_bytes).starts_with(is_block ? "%}" : "}}")) return false;
    Add(is_block ? TokenKind::kBlockEnd : TokenKind::kPrintEnd, "");
    Advance(sign_bytes + 2);
    if (is_block) {
      AfterTag(sign);
    } else if (sign == '-') {
      SkipSpaces();
    }
    return true;
  }

  Status LexTag(bool is_block) {
    Add(is_block ? TokenKind::kBlockBegin : TokenKind::kPrintBegin, "");
    std::string open_brackets;  // what closes them, innermost last
    while (true) {
      SkipSpaces();
      if (at_ >= source_.size()) {
        return Fail("expected {} at the end of a tag, found the end of the template",
                    is_block ? "%}" : "}}");
      }
      if (open_brackets.empty() && EndTag(is_block)) return {};
      VX_RETURN_IF_ERROR(LexToken(open_brackets));
    }
  }

  Status LexToken(std::string& open_brackets) {
    const char c = source_[at_];
    if (IsNameStart(c)) {
      size_t end = at_;
      while (end < source_.size() && IsNamePart(source_[end])) ++end;
      Add(TokenKind::kName, std::string(source_.substr(at_, end - at_)));
      Advance(end - at_);
      return {};
    }
    if (IsDigit(c)) return LexNumber();
    if (c == '\'' || c == '"') return LexString();
    return LexOperator(open_brackets);
  }

  Status LexString() {
    const char quote = source_[at_];
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return Fail("expected {} at the end of a string, found none", quote);
    Result<std::string> text = UnescapeString(source_.substr(at_ + 1, end - at_ - 1));
    if (!text.ok()) return Fail("{}", text.error().message);
    Add(TokenKind::kString, std::move(text).value());
    Advance(end + 1 - at_);
    return {};
  }

  // The end of digits, with "_" between them, from `at` on.
  size_t DigitsEnd(size_t at) const {
    while (at < source_.size() &&
           (IsDigit(source_[at]) || (source_[at] == '_' && at + 1 < source_.size() &&
                                     IsDigit(source_[at + 1]) && IsDigit(source_[at - 1])))) {
      ++at;
    }
    return at;
  }

  Status LexNumber() {
    const auto digit_at = [this](size_t at) { return at < source_.size() && IsDigit(source_[at]); };
    const bool may_be_float = at_ == 0 || source_[at_ - 1] != '.';  // x.0.1 has integers
    const size_t whole_end = DigitsEnd(at_);
    size_t end = whole_end;
    if (may_be_float && end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      end = DigitsEnd(end + 1);
    }
    if (may_be_float && end < source_.size() && (source_[end] | 0x20) == 'e') {
      const size_t sign =
          end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-');
      if (digit_at(end + 1 + sign)) end = DigitsEnd(end + 1 + sign);
    }
    std::string digits(source_.substr(at_, end - at_));
    std::erase(digits, '_');
    Token token{.kind = end == whole_end ? TokenKind::kInteger : TokenKind::kFloat, .line = line_};
    const char* const last = digits.data() + digits.size();
    const auto parsed = token.kind == TokenKind::kInteger
                            ? std::from_chars(digits.data(), last, token.integer)
                            : std::from_chars(digits.data(), last, token.floating);
    if (parsed.ec != std::errc() || parsed.ptr != last) {
      return Fail("expected a number of 64 bits, found {}", digits.substr(0, 60));
    }
    tokens_.push_back(std::move(token));
    Advance(end - at_);
    return {};
  }

  Status LexOperator(std::string& open_brackets) {
    static constexpr std::string_view kOperators[] = {
        "//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<",
        ">",  "=",  ".",  ":",  "|",  ",",  "(", ")", "[", "]", "{", "}"};
    const auto* const found = std::ranges::find_if(
        kOperators, [this](std::string_view candidate) { return StartsWith(candidate); });
    if (found == std::end(kOperators)) {
      return Fail("expected an expression, found {}",
                  source_.substr(at_, DecodeUtf8(source_, at_).size));
    }
    const std::string_view text = *found;
    if (const size_t opens = std::string_view("([{").find(text); opens != kNone) {
      open_brackets += ")]}"[opens];
    } else if (std::string_view(")]}").find(text) != kNone) {
      if (open_brackets.empty() || open_brackets.back() != text[0]) {
        return Fail(
            "expected {}, found {}",
            open_brackets.empty() ? "no bracket" : open_brackets.substr(open_brackets.size() - 1),
            text);
      }
      open_brackets.pop_back();
    }
    Add(TokenKind::kOperator, std::string(text));
    Advance(text.size());
    return {};
  }

  const std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;  // what was passed last ended with a newline
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> Tokenize(std::string_view source) {
  const std::string normalized = NormalizeNewlines(source);
  return Lexer(normalized).Run();
}

}  // namespace vexact
