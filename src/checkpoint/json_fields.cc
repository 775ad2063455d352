#include "checkpoint/json_fields.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

namespace vexact {
namespace {

using nlohmann::json;

// Deepest nesting of brackets outside strings; malformed text gives some number, and the parser
// then says what is wrong with it.
int NestingDepth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

// A parser callback that remembers the first key seen twice in one object.
class DuplicateKeys {
 public:
  void operator()(json::parse_event_t event, const json& value) {
    if (event == json::parse_event_t::object_start) {
      open_objects_.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      open_objects_.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!open_objects_.back().insert(key).second && !first_) first_ = key;
    }
  }
  const std::optional<std::string>& first() const { return first_; }

 private:
  std::vector<std::set<std::string>> open_objects_;
  std::optional<std::string> first_;
};

}  // namespace

Result<json> ParseJsonObject(std::string_view text, const std::string& file) {
  if (const int depth = NestingDepth(text); depth > kMaxJsonDepth) {
    return InvalidArgument("{}: expected JSON nested at most {} deep, found {}", file,
                           kMaxJsonDepth, depth);
  }
  DuplicateKeys duplicates;
  const auto callback = [&duplicates](int /*depth*/, json::parse_event_t event, json& value) {
    duplicates(event, value);
    return true;
  };
  json parsed;
  try {
    parsed = json::parse(text.begin(), text.end(), callback);
  } catch (const json::exception& exception) {
    // The library quotes the token that it stopped at, which may be as long as the file.
    return InvalidArgument("{}: expected JSON, found: {}", file,
                           std::string_view(exception.what()).substr(0, 200));
  }
  if (duplicates.first()) {
    return InvalidArgument("{}: \"{}\": expected one such key in its object, found two", file,
                           *duplicates.first());
  }
  if (!parsed.is_object()) {
    return InvalidArgument("{}: expected a JSON object, found {}", file, ShortDump(parsed));
  }
  return parsed;
}

std::string ShortDump(const json& value) {
  constexpr size_t kMaxLength = 60;
  if (value.is_structured() && value.size() > 16) {
    return fmt::format("{} of {} values", value.type_name(), value.size());
  }
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true);
  if (text.size() > kMaxLength) text = text.substr(0, kMaxLength) + "...";
  return text;
}

JsonFields::JsonFields(const json& object, std::string file, std::string prefix)
    : object_(&object), file_(std::move(file)), prefix_(std::move(prefix)) {
  VX_CHECK(object.is_object());
}

const json* JsonFields::Find(std::string_view key) const {
  const auto it = object_->find(std::string(key));
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

std::string JsonFields::Message(std::string_view key, std::string_view expected) const {
  const json* value = Find(key);
  return fmt::format("{}: \"{}{}\": expected {}, found {}", file_, prefix_, key, expected,
                     value == nullptr ? "nothing" : ShortDump(*value));
}

Error JsonFields::Expected(std::string_view key, std::string_view expected) const {
  return Error{ErrorCode::kInvalidArgument, Message(key, expected)};
}

Error JsonFields::Refused(std::string_view key, std::string_view expected) const {
  return Error{ErrorCode::kUnsupported, Message(key, expected)};
}

Result<std::optional<int64_t>> JsonFields::OptionalInteger(std::string_view key,
                                                           IntegerRange range) const {
  const json* value = Find(key);
  if (value == nullptr) return std::optional<int64_t>();
  const Error error = Expected(key, fmt::format("an integer from {} to {}", range.min, range.max));
  if (!value->is_number_integer()) return error;
  if (value->is_number_unsigned() && !std::in_range<int64_t>(value->get<uint64_t>())) return error;
  const auto number = value->get<int64_t>();
  if (number < range.min || number > range.max) return error;
  return std::optional<int64_t>(number);
}

Result<int64_t> JsonFields::Integer(std::string_view key, IntegerRange range) const {
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> number, OptionalInteger(key, range));
  if (!number) {
    return Expected(key, fmt::format("an integer from {} to {}", range.min, range.max));
  }
  return *number;
}

Result<std::optional<double>> JsonFields::OptionalNumber(std::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr) return std::optional<double>();
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    return Expected(key, "a finite number");
  }
  return std::optional<double>(value->get<double>());
}

Result<double> JsonFields::Number(std::string_view key) const {
  VX_ASSIGN_OR_RETURN(const std::optional<double> number, OptionalNumber(key));
  if (!number) return Expected(key, "a finite number");
  return *number;
}

Result<bool> JsonFields::BoolOr(std::string_view key, bool absent) const {
  const json* value = Find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) return Expected(key, "true or false");
  return value->get<bool>();
}

Result<std::optional<std::string>> JsonFields::OptionalString(std::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return Expected(key, "a string");
  return std::optional<std::string>(value->get<std::string>());
}

Result<std::optional<JsonFields>> JsonFields::OptionalObject(std::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr) return std::optional<JsonFields>();
  if (!value->is_object()) return Expected(key, "an object");
  return std::optional<JsonFields>(JsonFields(*value, file_, fmt::format("{}{}.", prefix_, key)));
}

}  // namespace vexact
