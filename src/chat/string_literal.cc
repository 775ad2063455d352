#include "chat/string_literal.h"

#include <charconv>

#include "tokenizer/utf8.h"

namespace vexact {
namespace {

constexpr auto kNone = std::string_view::npos;

// The code point that `digits` (of this base, all of them) write.
Status AppendCodePoint(std::string_view digits, int base, std::string& out) {
  uint32_t code = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, code, base);
  const bool is_scalar = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  if (error != std::errc() || stop != end || !is_scalar) {
    return InvalidArgument("expected the digits of a character after a backslash, found \"{}\"",
                           digits);
  }
  AppendUtf8(code, out);
  return {};
}

// Appends what the escape at literal[at], behind its backslash, means; returns its size.
Result<size_t> AppendEscape(std::string_view literal, size_t at, std::string& out) {
  static constexpr std::string_view kLetters = "\\'\"abfnrtv";
  static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
  const char c = literal[at];
  if (const size_t named = kLetters.find(c); named != kNone) {
    out += kMeanings[named];
    return 1;
  }
  if (c == '\n') return 1;  // a line continued
  if (const size_t hex = std::string_view("xuU").find(c); hex != kNone) {
    const size_t digits = size_t{2} << hex;
    if (at + 1 + digits > literal.size()) {
      return InvalidArgument("expected {} digits after \\{}, found fewer", digits, c);
    }
    VX_RETURN_IF_ERROR(AppendCodePoint(literal.substr(at + 1, digits), 16, out));
    return 1 + digits;
  }
  if (c >= '0' && c <= '7') {
    size_t digits = 1;
    while (digits < 3 && at + digits < literal.size() && literal[at + digits] >= '0' &&
           literal[at + digits] <= '7') {
      ++digits;
    }
    VX_RETURN_IF_ERROR(AppendCodePoint(literal.substr(at, digits), 8, out));
    return digits;
  }
  if (c == 'N') return Unsupported("\\N in a string: not supported");
  out += '\\';  // Python keeps what it does not know
  return size_t{0};
}

}  // namespace

Result<std::string> UnescapeString(std::string_view literal) {
  std::string text;
  size_t at = 0;
  while (at < literal.size()) {
    const size_t backslash = literal.find('\\', at);
    text += literal.substr(at, backslash == kNone ? kNone : backslash - at);
    if (backslash == kNone) break;
    VX_ASSIGN_OR_RETURN(const size_t size, AppendEscape(literal, backslash + 1, text));
    at = backslash + 1 + size;
  }
  return text;
}

}  // namespace vexact
