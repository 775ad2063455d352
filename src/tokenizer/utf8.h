// UTF-8: decoding of valid text, and the replacement of what is not valid.
#ifndef VEXACT_TOKENIZER_UTF8_H_
#define VEXACT_TOKENIZER_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vexact {

struct CodePoint {
  char32_t value = 0;
  size_t size = 0;  // bytes, 1 to 4
};

// The code point at text[position]. Requires: text is valid UTF-8, position is a boundary in it.
inline CodePoint DecodeUtf8(std::string_view text, size_t position) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[position + i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xe0) return {(lead & 0x1f) << 6 | (byte(1) & 0x3fu), 2};
  if (lead < 0xf0) return {(lead & 0x0f) << 12 | (byte(1) & 0x3fu) << 6 | (byte(2) & 0x3fu), 3};
  return {
      (lead & 0x07) << 18 | (byte(1) & 0x3fu) << 12 | (byte(2) & 0x3fu) << 6 | (byte(3) & 0x3fu),
      4};
}

// The code point that ends just before text[position]. Requires as above, and position > 0.
CodePoint DecodeUtf8Before(std::string_view text, size_t position);

// Requires: a Unicode scalar value (no surrogate, at most 0x10ffff).
void AppendUtf8(char32_t code_point, std::string& out);

bool IsValidUtf8(std::string_view bytes);

// Turns bytes into valid UTF-8 as they come: every maximal part of a character that cannot be
// completed becomes one U+FFFD, as Unicode 16 recommends (chapter 3, "U+FFFD Substitution of
// Maximal Subparts") and as Rust's String::from_utf8_lossy does. A character appears in the output
// only when it is complete; at most three bytes wait inside.
class Utf8Repair {
 public:
  void Append(std::string_view bytes, std::string& out);
  // The bytes end here: what waits becomes U+FFFD.
  void Finish(std::string& out);

 private:
  void Start(unsigned char byte, std::string& out);

  char waiting_[4] = {};
  int num_waiting_ = 0;
  int num_missing_ = 0;               // bytes that complete the waiting character
  unsigned char lowest_next_ = 0x80;  // the next byte's bounds, when num_missing_ > 0
  unsigned char highest_next_ = 0xbf;
};

}  // namespace vexact

#endif  // VEXACT_TOKENIZER_UTF8_H_
