#include "tokenizer/utf8.h"

#include <cstring>

namespace vexact {

CodePoint DecodeUtf8Before(std::string_view text, size_t position) {
  do {
    --position;
  } while ((static_cast<unsigned char>(text[position]) & 0xc0) == 0x80);
  return DecodeUtf8(text, position);
}

void AppendUtf8(char32_t code_point, std::string& out) {
  const auto tail = [&](int shift) {
    return static_cast<char>(0x80 | (code_point >> shift & 0x3f));
  };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += {static_cast<char>(0xc0 | code_point >> 6), tail(0)};
  } else if (code_point < 0x10000) {
    out += {static_cast<char>(0xe0 | code_point >> 12), tail(6), tail(0)};
  } else {
    out += {static_cast<char>(0xf0 | code_point >> 18), tail(12), tail(6), tail(0)};
  }
}

namespace {

// What a lead byte asks of the bytes after it (Unicode 16, table 3-7). `num_tail` is -1 for a byte
// that begins nothing.
struct LeadByte {
  int num_tail;
  unsigned char lowest_next = 0x80;
  unsigned char highest_next = 0xbf;
};

LeadByte ReadLeadByte(unsigned char byte) {
  if (byte < 0x80) return {0};
  if (byte < 0xc2) return {-1};
  if (byte < 0xe0) return {1};
  if (byte == 0xe0) return {2, 0xa0, 0xbf};
  if (byte == 0xed) return {2, 0x80, 0x9f};
  if (byte < 0xf0) return {2};
  if (byte == 0xf0) return {3, 0x90, 0xbf};
  if (byte < 0xf4) return {3};
  if (byte == 0xf4) return {3, 0x80, 0x8f};
  return {-1};
}

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// Bytes of ASCII at the front, in steps of 8.
size_t AsciiPrefix(std::string_view bytes) {
  size_t size = 0;
  for (uint64_t word = 0; size + 8 <= bytes.size(); size += 8) {
    std::memcpy(&word, bytes.data() + size, 8);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  return size;
}

}  // namespace

bool IsValidUtf8(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    i += AsciiPrefix(bytes.substr(i));
    if (i == bytes.size()) return true;
    const LeadByte lead = ReadLeadByte(static_cast<unsigned char>(bytes[i]));
    if (lead.num_tail < 0 || bytes.size() - i <= static_cast<size_t>(lead.num_tail)) return false;
    for (int k = 1; k <= lead.num_tail; ++k) {
      const auto byte = static_cast<unsigned char>(bytes[i + k]);
      if (byte < (k == 1 ? lead.lowest_next : 0x80) || byte > (k == 1 ? lead.highest_next : 0xbf)) {
        return false;
      }
    }
    i += 1 + static_cast<size_t>(lead.num_tail);
  }
  return true;
}

void Utf8Repair::Start(unsigned char byte, std::string& out) {
  const LeadByte lead = ReadLeadByte(byte);
  if (lead.num_tail < 0) {
    out += kReplacement;
  } else if (lead.num_tail == 0) {
    out += static_cast<char>(byte);
  } else {
    waiting_[0] = static_cast<char>(byte);
    num_waiting_ = 1;
    num_missing_ = lead.num_tail;
    lowest_next_ = lead.lowest_next;
    highest_next_ = lead.highest_next;
  }
}

void Utf8Repair::Append(std::string_view bytes, std::string& out) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (num_missing_ == 0) {
      const size_t ascii = AsciiPrefix(bytes.substr(i));
      out += bytes.substr(i, ascii);
      i += ascii;
      if (i == bytes.size()) return;
    }
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if (num_missing_ == 0) {
      Start(byte, out);
      continue;
    }
    if (byte < lowest_next_ || byte > highest_next_) {
      Finish(out);
      Start(byte, out);
      continue;
    }
    waiting_[num_waiting_++] = static_cast<char>(byte);
    lowest_next_ = 0x80;
    highest_next_ = 0xbf;
    if (--num_missing_ == 0) {
      out.append(waiting_, static_cast<size_t>(num_waiting_));
      num_waiting_ = 0;
    }
  }
}

void Utf8Repair::Finish(std::string& out) {
  if (num_waiting_ > 0) out += kReplacement;
  num_waiting_ = 0;
  num_missing_ = 0;
}

}  // namespace vexact
