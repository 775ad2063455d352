#include "tokenizer/byte_level.h"

#include "tokenizer/utf8.h"

namespace vexact {
namespace {

// The bytes that do not stand for themselves: 0x00-0x20, 0x7f-0xa0 and 0xad.
constexpr char32_t kFirstMoved = 0x100;
constexpr char32_t kNumLow = 0x21;
constexpr char32_t kNumHigh = 0xa1 - 0x7f;

}  // namespace

char32_t CharOfByte(uint8_t byte) {
  if (byte < 0x21) return kFirstMoved + byte;
  if (byte >= 0x7f && byte <= 0xa0) return kFirstMoved + kNumLow + (byte - 0x7fu);
  if (byte == 0xad) return kFirstMoved + kNumLow + kNumHigh;
  return byte;
}

std::optional<uint8_t> ByteOfChar(char32_t c) {
  if (c < kFirstMoved) {
    if (CharOfByte(static_cast<uint8_t>(c)) != c) return std::nullopt;
    return static_cast<uint8_t>(c);
  }
  const char32_t place = c - kFirstMoved;
  if (place < kNumLow) return static_cast<uint8_t>(place);
  if (place < kNumLow + kNumHigh) return static_cast<uint8_t>(place - kNumLow + 0x7f);
  if (place == kNumLow + kNumHigh) return uint8_t{0xad};
  return std::nullopt;
}

std::string ByteLevelText(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) AppendUtf8(CharOfByte(static_cast<uint8_t>(byte)), text);
  return text;
}

std::optional<std::string> ByteLevelBytes(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = DecodeUtf8(text, i);
    const std::optional<uint8_t> byte = ByteOfChar(c.value);
    if (!byte) return std::nullopt;
    bytes += static_cast<char>(*byte);
    i += c.size;
  }
  return bytes;
}

}  // namespace vexact
