// How values print: Python's str and repr.
#include <utf8proc.h>

#include <array>
#include <charconv>
#include <cmath>

#include "chat/text.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

// Python's str.isprintable.
bool IsPrintable(char32_t c) {
  if (c == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string QuotedText(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string quoted(1, quote);
  for (size_t at = 0; at < text.size();) {
    const auto [c, size] = DecodeUtf8(text, at);
    if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\r') {
      quoted += "\\r";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (c == '\\' || c == static_cast<unsigned char>(quote)) {
      quoted += '\\';
      quoted += static_cast<char>(c);
    } else if (IsPrintable(c)) {
      quoted += text.substr(at, size);
    } else {
      const auto code = static_cast<uint32_t>(c);
      quoted += code < 0x100     ? fmt::format("\\x{:02x}", code)
                : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                 : fmt::format("\\U{:08x}", code);
    }
    at += size;
  }
  return quoted + quote;
}

Status AppendRepr(const Value& value, Meter& meter, std::string& out);

Status AppendSequence(const Sequence& sequence, Meter& meter, std::string& out) {
  if (sequence.kind != SequenceKind::kList && sequence.kind != SequenceKind::kTuple) {
    return Unsupported(
        "printing a range, dict view or iterator: not supported; a |list before it "
        "makes it a list");
  }
  const bool is_list = sequence.kind == SequenceKind::kList;
  out += is_list ? '[' : '(';
  for (size_t i = 0; i < sequence.items.size(); ++i) {
    if (i > 0) out += ", ";
    VX_RETURN_IF_ERROR(AppendRepr(sequence.items[i], meter, out));
  }
  if (!is_list && sequence.items.size() == 1) out += ',';
  out += is_list ? ']' : ')';
  return {};
}

Status AppendDict(const Dict& dict, Meter& meter, std::string& out) {
  out += '{';
  for (const Dict::Entry& entry : dict.entries) {
    if (&entry != dict.entries.data()) out += ", ";
    VX_RETURN_IF_ERROR(AppendRepr(Value::FromShared(entry.key), meter, out));
    out += ": ";
    VX_RETURN_IF_ERROR(AppendRepr(entry.value, meter, out));
  }
  out += '}';
  return {};
}

Status AppendRepr(const Value& value, Meter& meter, std::string& out) {
  VX_RETURN_IF_ERROR(meter.Work(1));
  if (const std::string* text = value.text()) {
    VX_RETURN_IF_ERROR(meter.ValueBytes(text->size()));
    out += QuotedText(*text);
    return {};
  }
  if (const Sequence* sequence = value.sequence()) return AppendSequence(*sequence, meter, out);
  if (const Dict* dict = value.dict()) return AppendDict(*dict, meter, out);
  if (value.is_undefined()) {
    out += "Undefined";
    return {};
  }
  VX_ASSIGN_OR_RETURN(const std::string text, PrintedText(value, meter));
  out += text;
  return {};
}

}  // namespace

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 32> buffer;
  const auto written = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                     std::chars_format::scientific);
  const std::string_view shortest(buffer.data(), written.ptr - buffer.data());
  // Python writes an exponent below -4 and from 16 on; both write at least two digits of it.
  const size_t e = shortest.find('e');
  int exponent = 0;
  const size_t digits_at = shortest[e + 1] == '+' ? e + 2 : e + 1;
  std::from_chars(shortest.data() + digits_at, shortest.data() + shortest.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string(shortest);
  std::array<char, 64> fixed;
  const auto end =
      std::to_chars(fixed.data(), fixed.data() + fixed.size(), value, std::chars_format::fixed);
  std::string text(fixed.data(), end.ptr);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

Result<std::string> PrintedText(const Value& value, Meter& meter) {
  if (value.is_undefined()) return std::string();
  if (value.is_none()) return std::string("None");
  if (const std::string* text = value.text()) {
    VX_RETURN_IF_ERROR(meter.ValueBytes(text->size()));
    return *text;
  }
  if (const bool* boolean = value.boolean()) return std::string(*boolean ? "True" : "False");
  if (const int64_t* integer = value.integer()) return std::to_string(*integer);
  if (const double* floating = value.floating()) return FloatText(*floating);
  if (value.sequence() != nullptr || value.dict() != nullptr) {
    std::string out;
    VX_RETURN_IF_ERROR(AppendRepr(value, meter, out));
    return out;
  }
  return Unsupported("printing a {}: not supported", value.TypeName());
}

}  // namespace vexact
