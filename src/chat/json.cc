#include "chat/json.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "chat/text.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

// Builds a Value from the library's events. A member function that returns false ends the parse.
class ValueBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Value root;
  std::string error;

  bool null() override { return Add(Value::FromNone()); }
  bool boolean(bool value) override { return Add(Value::FromBool(value)); }
  bool number_integer(number_integer_t value) override { return Add(Value::FromInteger(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    if (!std::in_range<int64_t>(value)) return Fail("an integer of 64 bits", std::to_string(value));
    return Add(Value::FromInteger(static_cast<int64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t& digits) override {
    // The library makes floats of integers that are too long.
    if (digits.find_first_of(".eE") == string_t::npos) return Fail("an integer of 64 bits", digits);
    return Add(Value::FromFloat(value));
  }
  bool string(string_t& value) override { return Add(Value::FromText(std::move(value))); }
  bool binary(binary_t& /*value*/) override { return false; }  // not in JSON text

  bool start_object(size_t /*count*/) override { return Open(true); }
  bool start_array(size_t /*count*/) override { return Open(false); }
  bool key(string_t& value) override {
    open_.back().key = std::make_shared<const std::string>(std::move(value));
    return true;
  }
  bool end_object() override {
    Value value = Value::FromDict(std::move(open_.back().dict));
    open_.pop_back();
    return Add(std::move(value));
  }
  bool end_array() override {
    Value value = Value::FromList(std::move(open_.back().items));
    open_.pop_back();
    return Add(std::move(value));
  }
  bool parse_error(size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::json::exception& exception) override {
    // The library quotes the token that it stopped at, which may be as long as the text.
    return Fail("JSON", std::string(exception.what()).substr(0, 200));
  }

 private:
  struct Container {
    bool is_object = false;
    std::vector<Value> items;
    Dict dict;
    SharedText key;
  };

  bool Fail(std::string_view expected, const std::string& found) {
    error = fmt::format("expected {}, found {}", expected, found.substr(0, 200));
    return false;
  }
  bool Open(bool is_object) {
    if (open_.size() >= kMaxValueDepth) {
      return Fail(fmt::format("JSON nested at most {} deep", kMaxValueDepth), "more");
    }
    open_.emplace_back().is_object = is_object;
    return true;
  }
  bool Add(Value value) {
    if (open_.empty()) {
      root = std::move(value);
    } else if (open_.back().is_object) {
      open_.back().dict.Set(std::move(open_.back().key), std::move(value));
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }

  std::vector<Container> open_;
};

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Meter& meter) : style_(style), meter_(meter) {}

  Status Write(const Value& value) {
    VX_RETURN_IF_ERROR(meter_.Work(1));
    if (const std::string* text = value.text()) return WriteText(*text);
    if (const Dict* dict = value.dict()) return WriteDict(*dict);
    if (value.IsSequence(SequenceKind::kList) || value.IsSequence(SequenceKind::kTuple)) {
      return WriteList(value.sequence()->items);
    }
    if (value.is_none()) return Append("null");
    if (const bool* boolean = value.boolean()) return Append(*boolean ? "true" : "false");
    if (const int64_t* integer = value.integer()) return Append(std::to_string(*integer));
    if (const double* floating = value.floating()) return WriteFloat(*floating);
    return InvalidArgument("expected a value that JSON has, found {}", value.TypeName());
  }

  std::string Take() { return std::move(out_); }

 private:
  Status Append(std::string_view text) {
    VX_RETURN_IF_ERROR(meter_.ValueBytes(text.size()));
    out_ += text;
    return {};
  }

  Status WriteFloat(double value) {
    if (std::isnan(value)) return Append("NaN");
    if (std::isinf(value)) return Append(value > 0 ? "Infinity" : "-Infinity");
    return Append(FloatText(value));
  }

  void AppendEscaped(char32_t c, std::string& out) const {
    const auto hex = [&out](uint32_t unit) { out += fmt::format("\\u{:04x}", unit); };
    static constexpr std::string_view kNamed = "\"\\\n\r\t\f\b";
    static constexpr std::string_view kLetters = "\"\\nrtfb";
    const size_t named = c < 0x80 ? kNamed.find(static_cast<char>(c)) : std::string_view::npos;
    if (named != std::string_view::npos) {
      out += '\\';
      out += kLetters[named];
    } else if (c < 0x20 || (style_.ensure_ascii && c >= 0x7f && c < 0x10000)) {
      hex(c);
    } else if (style_.ensure_ascii && c >= 0x10000) {
      hex(0xd800 + ((static_cast<uint32_t>(c) - 0x10000) >> 10));
      hex(0xdc00 + ((static_cast<uint32_t>(c) - 0x10000) & 0x3ff));
    } else {
      AppendUtf8(c, out);
    }
  }

  Status WriteText(std::string_view text) {
    std::string quoted = "\"";
    for (size_t at = 0; at < text.size();) {
      const CodePoint c = DecodeUtf8(text, at);
      AppendEscaped(c.value, quoted);
      at += c.size;
    }
    quoted += '"';
    return Append(quoted);
  }

  Status NewLine() {
    if (!style_.has_lines) return {};
    VX_RETURN_IF_ERROR(Append("\n"));
    for (int i = 0; i < level_; ++i) VX_RETURN_IF_ERROR(Append(style_.indent));
    return {};
  }

  // `write_item(i)` writes one of `count` items between the brackets.
  template <typename WriteItem>
  Status WriteItems(std::string_view brackets, size_t count, WriteItem write_item) {
    VX_RETURN_IF_ERROR(Append(brackets.substr(0, 1)));
    if (count > 0) {
      ++level_;
      for (size_t i = 0; i < count; ++i) {
        if (i > 0) VX_RETURN_IF_ERROR(Append(style_.item_separator));
        VX_RETURN_IF_ERROR(NewLine());
        VX_RETURN_IF_ERROR(write_item(i));
      }
      --level_;
      VX_RETURN_IF_ERROR(NewLine());
    }
    return Append(brackets.substr(1));
  }

  Status WriteList(const std::vector<Value>& items) {
    return WriteItems("[]", items.size(), [&](size_t i) { return Write(items[i]); });
  }

  Status WriteDict(const Dict& dict) {
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::ranges::sort(entries, {}, [](const Dict::Entry* entry) { return *entry->key; });
    }
    return WriteItems("{}", entries.size(), [&](size_t i) -> Status {
      VX_RETURN_IF_ERROR(WriteText(*entries[i]->key));
      VX_RETURN_IF_ERROR(Append(style_.key_separator));
      return Write(entries[i]->value);
    });
  }

  const JsonStyle& style_;
  Meter& meter_;
  std::string out_;
  int level_ = 0;
};

}  // namespace

Result<Value> ParseChatJson(std::string_view text, const std::string& where) {
  ValueBuilder builder;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) {
    return InvalidArgument("{}: {}", where, builder.error);
  }
  return std::move(builder.root);
}

Result<std::string> WriteChatJson(const Value& value, const JsonStyle& style, Meter& meter) {
  JsonWriter writer(style, meter);
  VX_RETURN_IF_ERROR(writer.Write(value));
  return writer.Take();
}

}  // namespace vexact
