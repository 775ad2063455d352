// The class bits (unicode_tables.h) of a code point, and of the one at a place in a text.
#ifndef VEXACT_TOKENIZER_CHAR_CLASS_H_
#define VEXACT_TOKENIZER_CHAR_CLASS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tokenizer/unicode_tables.h"
#include "tokenizer/utf8.h"

namespace vexact {

// Class bits of code points from 0x80 on: a binary search in 2,000 runs.
uint8_t ClassOfNonAscii(char32_t code_point);

inline uint8_t ClassOf(char32_t c) {
  if (c >= 0x80) return ClassOfNonAscii(c);
  if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') return kLetter | kWord;
  if (c >= '0' && c <= '9') return kNumber | kNumeric | kWord;
  if (c == ' ' || (c >= '\t' && c <= '\r')) return kSpace | kStripped;
  return c == '_' ? kOther | kWord : kOther;
}

// The character at text[position]: no class and no size at the end of the text.
struct CharAt {
  CharAt(std::string_view text, size_t position) {
    if (position >= text.size()) return;
    const CodePoint code_point = DecodeUtf8(text, position);
    value = code_point.value;
    size = code_point.size;
    classes = ClassOf(value);
  }
  bool Is(unsigned bits) const { return (classes & bits) != 0; }

  char32_t value = 0;
  size_t size = 0;
  uint8_t classes = 0;
};

}  // namespace vexact

#endif  // VEXACT_TOKENIZER_CHAR_CLASS_H_
