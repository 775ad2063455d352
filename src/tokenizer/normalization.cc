#include "tokenizer/normalization.h"

#include <utf8proc.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/check.h"
#include "tokenizer/unicode_tables.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

using Buffer = std::vector<utf8proc_int32_t>;

constexpr auto kCompose = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);

bool IsBarrier(char32_t c) {
  const std::span<const CodePointRange> ranges = NormalizationBarriers();
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), c,
                       [](char32_t value, const CodePointRange& r) { return value < r.first; });
  return after != ranges.begin() && c <= (after - 1)->last;
}

utf8proc_propval_t CombiningClass(utf8proc_int32_t c) {
  return c < 0x300 ? utf8proc_propval_t{0} : utf8proc_get_property(c)->combining_class;
}

void AppendDecomposition(char32_t c, Buffer& buffer) {
  if (c < 0xc0) {
    buffer.push_back(static_cast<utf8proc_int32_t>(c));
    return;
  }
  utf8proc_int32_t parts[8];  // the longest canonical decomposition has 4
  int boundary_state = 0;
  const utf8proc_ssize_t count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 8,
                                                         kCompose, &boundary_state);
  VX_CHECK(count > 0 && count <= 8);
  buffer.insert(buffer.end(), parts, parts + count);
}

// Sorts every run of combining marks by class. utf8proc's own ordering is a bubble sort.
void OrderMarks(Buffer& buffer) {
  for (auto it = buffer.begin(); it != buffer.end();) {
    if (CombiningClass(*it) == 0) {
      ++it;
      continue;
    }
    const auto begin = it;
    while (it != buffer.end() && CombiningClass(*it) != 0) ++it;
    std::stable_sort(begin, it, [](utf8proc_int32_t a, utf8proc_int32_t b) {
      return CombiningClass(a) < CombiningClass(b);
    });
  }
}

void AppendComposed(Buffer& buffer, std::string& out) {
  if (buffer.empty()) return;
  OrderMarks(buffer);
  const utf8proc_ssize_t size = utf8proc_normalize_utf32(
      buffer.data(), static_cast<utf8proc_ssize_t>(buffer.size()), kCompose);
  VX_CHECK(size >= 0);
  for (utf8proc_ssize_t i = 0; i < size; ++i) {
    AppendUtf8(static_cast<char32_t>(buffer[static_cast<size_t>(i)]), out);
  }
  buffer.clear();
}

// Every character below U+0300 is its own NFC, alone and before another of them.
size_t PrefixBelowCombiningMarks(std::string_view text) {
  const auto stop = std::find_if(text.begin(), text.end(), [](char byte) {
    return static_cast<unsigned char>(byte) >= 0xcc;  // the lead byte of U+0300
  });
  return static_cast<size_t>(stop - text.begin());
}

}  // namespace

std::string NormalizeNfc(std::string_view text) {
  if (PrefixBelowCombiningMarks(text) == text.size()) return std::string(text);
  std::string out;
  out.reserve(text.size());
  Buffer buffer;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = DecodeUtf8(text, i);
    i += c.size;
    if (IsBarrier(c.value)) {
      AppendComposed(buffer, out);
      AppendUtf8(c.value, out);
    } else {
      AppendDecomposition(c.value, buffer);
    }
  }
  AppendComposed(buffer, out);
  return out;
}

}  // namespace vexact
