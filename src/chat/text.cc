#include "chat/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "tokenizer/utf8.h"

namespace vexact {
namespace {

constexpr auto kNone = std::string_view::npos;

// Python's str.isspace.
bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
         c == 0x205f || c == 0x3000;
}

// Where str.splitlines() cuts.
bool IsLineEnd(char32_t c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

char32_t UpperOf(char32_t c) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}
char32_t LowerOf(char32_t c) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}
char32_t TitleOf(char32_t c) {
  return static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
}

bool HasCase(char32_t c) {
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
}

template <typename Map>
std::string MapCharacters(std::string_view text, Map map) {
  std::string mapped;
  mapped.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeUtf8(text, at);
    AppendUtf8(map(c.value), mapped);
    at += c.size;
  }
  return mapped;
}

// Whether `test` holds for some character.
template <typename Test>
bool AnyCharacter(std::string_view text, Test test) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeUtf8(text, at);
    if (test(c.value)) return true;
    at += c.size;
  }
  return false;
}

bool Contains(std::string_view characters, char32_t c) {
  return AnyCharacter(characters, [c](char32_t other) { return other == c; });
}

// The first whitespace from `at` on, or the size.
size_t NextSpace(std::string_view text, size_t at) {
  while (at < text.size()) {
    const CodePoint c = DecodeUtf8(text, at);
    if (IsSpace(c.value)) break;
    at += c.size;
  }
  return at;
}

// The end of the last whitespace before `at`, or 0.
size_t PreviousSpaceEnd(std::string_view text, size_t at) {
  while (at > 0) {
    const CodePoint c = DecodeUtf8Before(text, at);
    if (IsSpace(c.value)) break;
    at -= c.size;
  }
  return at;
}

}  // namespace

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

size_t OffsetOfCharacter(std::string_view text, size_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += DecodeUtf8(text, at).size;
  return at;
}

std::string_view Strip(std::string_view text, std::optional<std::string_view> characters,
                       Sides sides) {
  const auto is_stripped = [&characters](char32_t c) {
    return characters ? Contains(*characters, c) : IsSpace(c);
  };
  while (sides != Sides::kRight && !text.empty()) {
    const CodePoint c = DecodeUtf8(text, 0);
    if (!is_stripped(c.value)) break;
    text.remove_prefix(c.size);
  }
  while (sides != Sides::kLeft && !text.empty()) {
    const CodePoint c = DecodeUtf8Before(text, text.size());
    if (!is_stripped(c.value)) break;
    text.remove_suffix(c.size);
  }
  return text;
}

std::string Upper(std::string_view text) { return MapCharacters(text, UpperOf); }

std::string Lower(std::string_view text) { return MapCharacters(text, LowerOf); }

std::string Capitalize(std::string_view text) {
  bool is_first = true;
  return MapCharacters(text, [&is_first](char32_t c) {
    return std::exchange(is_first, false) ? TitleOf(c) : LowerOf(c);
  });
}

std::string TitleMethod(std::string_view text) {
  bool in_word = false;
  return MapCharacters(text, [&in_word](char32_t c) {
    return std::exchange(in_word, HasCase(c)) ? LowerOf(c) : TitleOf(c);
  });
}

std::string TitleFilter(std::string_view text) {
  bool in_word = false;
  return MapCharacters(text, [&in_word](char32_t c) {
    const bool separates = IsSpace(c) || Contains("-({[<", c);
    if (separates) {
      in_word = false;
      return c;
    }
    return std::exchange(in_word, true) ? LowerOf(c) : UpperOf(c);
  });
}

bool IsUpper(std::string_view text) {
  return AnyCharacter(text, HasCase) &&
         !AnyCharacter(text, [](char32_t c) { return HasCase(c) && UpperOf(c) != c; });
}

bool IsLower(std::string_view text) {
  return AnyCharacter(text, HasCase) &&
         !AnyCharacter(text, [](char32_t c) { return HasCase(c) && LowerOf(c) != c; });
}

size_t FindText(std::string_view text, std::string_view part, size_t start) {
  if (start > text.size()) return kNone;
  if (part.empty()) return start;
  // glibc's memmem is linear (two-way search); std::string_view::find is quadratic in the worst.
  const void* found = memmem(text.data() + start, text.size() - start, part.data(), part.size());
  return found == nullptr ? kNone
                          : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

Result<std::string> ReplaceText(std::string_view text, std::string_view part, std::string_view by,
                                int64_t count, Meter& meter) {
  VX_RETURN_IF_ERROR(meter.TextWork(text.size()));
  std::string replaced;
  size_t copied = 0;  // bytes of text
  size_t at = 0;
  for (int64_t done = 0; count < 0 || done < count; ++done) {
    const size_t found = FindText(text, part, at);
    if (found == kNone) break;
    VX_RETURN_IF_ERROR(meter.ValueBytes(by.size()));
    replaced += text.substr(copied, found - copied);
    replaced += by;
    copied = found + part.size();
    at = copied;
    if (!part.empty()) continue;
    if (found == text.size()) break;
    at += DecodeUtf8(text, found).size;
  }
  replaced += text.substr(std::min(copied, text.size()));
  return replaced;
}

std::vector<std::string_view> SplitAt(std::string_view text, std::string_view separator,
                                      int64_t limit, CutFrom from) {
  std::vector<std::string_view> parts;
  const auto may_cut = [&] { return limit < 0 || static_cast<int64_t>(parts.size()) < limit; };
  while (may_cut()) {
    const size_t found =
        from == CutFrom::kLeft ? FindText(text, separator, 0) : text.rfind(separator);
    if (found == kNone) break;
    const std::string_view right = text.substr(found + separator.size());
    parts.push_back(from == CutFrom::kLeft ? text.substr(0, found) : right);
    text = from == CutFrom::kLeft ? right : text.substr(0, found);
  }
  parts.push_back(text);
  if (from == CutFrom::kRight) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> SplitAtWhitespace(std::string_view text, int64_t limit,
                                                CutFrom from) {
  const bool left = from == CutFrom::kLeft;
  std::vector<std::string_view> parts;
  while (true) {
    text = Strip(text, std::nullopt, left ? Sides::kLeft : Sides::kRight);
    if (text.empty()) break;
    if (limit >= 0 && static_cast<int64_t>(parts.size()) >= limit) {
      parts.push_back(text);
      break;
    }
    const size_t cut = left ? NextSpace(text, 0) : PreviousSpaceEnd(text, text.size());
    parts.push_back(left ? text.substr(0, cut) : text.substr(cut));
    text = left ? text.substr(cut) : text.substr(0, cut);
  }
  if (!left) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  size_t start = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeUtf8(text, at);
    const size_t end = at;
    at += c.size;
    if (!IsLineEnd(c.value)) continue;
    lines.push_back(text.substr(start, end - start));
    if (c.value == '\r' && at < text.size() && text[at] == '\n') ++at;
    start = at;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

}  // namespace vexact
