// GPT-2's byte-level alphabet: vocabularies write every byte as one printable character.
#ifndef VEXACT_TOKENIZER_BYTE_LEVEL_H_
#define VEXACT_TOKENIZER_BYTE_LEVEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vexact {

// Printable bytes (0x21-0x7e, 0xa1-0xac, 0xae-0xff) stand for themselves as code points; the other
// 68 bytes are, in order, U+0100 to U+0143.
char32_t CharOfByte(uint8_t byte);
std::optional<uint8_t> ByteOfChar(char32_t c);

// Text of the alphabet <-> bytes. The second is empty when a character is not of the alphabet.
// Requires: text is valid UTF-8.
std::string ByteLevelText(std::string_view bytes);
std::optional<std::string> ByteLevelBytes(std::string_view text);

}  // namespace vexact

#endif  // VEXACT_TOKENIZER_BYTE_LEVEL_H_
