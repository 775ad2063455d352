#include "tokenizer/split.h"

#include "tokenizer/char_class.h"

namespace vexact {
namespace {

constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

bool IsNewline(char32_t c) { return c == '\r' || c == '\n'; }

// The end of the run of characters with one of the class bits, at most `limit` of them.
size_t SkipClass(std::string_view text, size_t position, unsigned bits, size_t limit = SIZE_MAX) {
  for (; limit > 0; --limit) {
    const CharAt c(text, position);
    if (!c.Is(bits)) break;
    position += c.size;
  }
  return position;
}

// Where an English contraction ('s 't 're 've 'm 'll 'd) that begins at `position` ends, or
// `position`. With fold_case its letters have any case, and U+017F is an s.
size_t SkipContraction(std::string_view text, size_t position, bool fold_case) {
  if (text[position] != '\'') return position;
  const auto letter = [&](size_t i) {
    const char c = i < text.size() ? text[i] : '\0';
    return fold_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  };
  const char first = letter(position + 1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return position + 2;
  const char second = letter(position + 2);
  if ((first == 'r' || first == 'v') && second == 'e') return position + 3;
  if (first == 'l' && second == 'l') return position + 3;
  if (fold_case && text.substr(position + 1, 2) == "\u017f") return position + 3;
  return position;
}

// \s*[\r\n]+|\s+(?!\S)|\s+  (without the first alternative unless `newlines`), at a \s: up to the
// run's last newline; else all but the last character, which goes with the word behind it; else
// all.
size_t SkipSpaces(std::string_view text, size_t position, bool newlines) {
  size_t end = position;
  size_t last = position;  // where the last \s of the run begins
  size_t newline_end = position;
  for (CharAt c(text, end); c.Is(kSpace); c = CharAt(text, end)) {
    last = end;
    end += c.size;
    if (IsNewline(c.value)) newline_end = end;
  }
  if (newlines && newline_end > position) return newline_end;
  if (end < text.size() && last > position) return last;
  return end;
}

size_t SkipGpt2Word(std::string_view text, size_t position) {
  if (const size_t end = SkipContraction(text, position, false); end > position) return end;
  const CharAt first(text, position);
  const CharAt second(text, position + first.size);
  const bool has_space = first.value == ' ' && second.Is(kLetter | kNumber | kOther);
  const CharAt& head = has_space ? second : first;
  if (head.Is(kSpace)) return SkipSpaces(text, position, false);
  return SkipClass(text, position + (has_space ? first.size : 0),
                   head.classes & (kLetter | kNumber | kOther));
}

size_t SkipLlama3Word(std::string_view text, size_t position, size_t max_numbers) {
  if (const size_t end = SkipContraction(text, position, true); end > position) return end;
  const CharAt first(text, position);
  if (first.Is(kLetter)) return SkipClass(text, position, kLetter);
  if (first.Is(kNumber)) return SkipClass(text, position, kNumber, max_numbers);
  const CharAt second(text, position + first.size);
  if (second.Is(kLetter) && !IsNewline(first.value)) {
    return SkipClass(text, position + first.size, kLetter);
  }
  if (first.Is(kOther) || (first.value == ' ' && second.Is(kOther))) {
    size_t end = SkipClass(text, position + first.size, kOther);
    while (end < text.size() && IsNewline(static_cast<unsigned char>(text[end]))) ++end;
    return end;
  }
  return SkipSpaces(text, position, true);
}

// Numbers one by one or in runs, and what is between them.
size_t SkipNumbers(std::string_view text, size_t position, size_t max_numbers) {
  const size_t end = SkipClass(text, position, kNumeric, max_numbers);
  if (end > position) return end;
  for (CharAt c(text, position); c.size > 0 && !c.Is(kNumeric); c = CharAt(text, position)) {
    position += c.size;
  }
  return position;
}

size_t SkipPiece(Splitter splitter, std::string_view text, size_t position) {
  switch (splitter) {
    case Splitter::kGpt2:
      return SkipGpt2Word(text, position);
    case Splitter::kLlama3:
      return SkipLlama3Word(text, position, 3);
    case Splitter::kQwen2:
      return SkipLlama3Word(text, position, 1);
    case Splitter::kSingleNumbers:
      return SkipNumbers(text, position, 1);
    case Splitter::kNumberRuns:
      return SkipNumbers(text, position, SIZE_MAX);
  }
  return text.size();
}

}  // namespace

std::optional<Splitter> SplitterOfRegex(std::string_view regex) {
  if (regex == kGpt2Regex) return Splitter::kGpt2;
  if (regex == kLlama3Regex) return Splitter::kLlama3;
  if (regex == kQwen2Regex) return Splitter::kQwen2;
  return std::nullopt;
}

void AppendPieceEnds(Splitter splitter, std::string_view text, size_t offset,
                     std::vector<size_t>& ends) {
  for (size_t position = 0; position < text.size();) {
    position = SkipPiece(splitter, text, position);
    ends.push_back(offset + position);
  }
}

}  // namespace vexact
