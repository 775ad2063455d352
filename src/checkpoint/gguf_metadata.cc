#include <cmath>
#include <cstring>
#include <utility>

#include "checkpoint/gguf.h"

namespace vexact {
namespace {

template <typename T>
T ElementAs(const GgufValue& value, uint64_t index) {
  T element;
  std::memcpy(&element, value.payload.data() + index * sizeof(T), sizeof(T));
  return element;
}

// Element `index`; empty when it is not an integer or does not fit in int64.
std::optional<int64_t> IntegerAt(const GgufValue& value, uint64_t index) {
  switch (value.type) {
    case GgufType::kUint8:
      return ElementAs<uint8_t>(value, index);
    case GgufType::kInt8:
      return ElementAs<int8_t>(value, index);
    case GgufType::kUint16:
      return ElementAs<uint16_t>(value, index);
    case GgufType::kInt16:
      return ElementAs<int16_t>(value, index);
    case GgufType::kUint32:
      return ElementAs<uint32_t>(value, index);
    case GgufType::kInt32:
      return ElementAs<int32_t>(value, index);
    case GgufType::kInt64:
      return ElementAs<int64_t>(value, index);
    case GgufType::kUint64: {
      const auto element = ElementAs<uint64_t>(value, index);
      if (!std::in_range<int64_t>(element)) return std::nullopt;
      return static_cast<int64_t>(element);
    }
    default:
      return std::nullopt;
  }
}

std::string_view TakeString(std::span<const std::byte>& payload) {
  uint64_t length = 0;
  std::memcpy(&length, payload.data(), sizeof(length));
  const std::string_view text(reinterpret_cast<const char*>(payload.data()) + sizeof(length),
                              length);
  payload = payload.subspan(sizeof(length) + length);
  return text;
}

std::string Describe(const GgufValue& value) {
  if (value.is_array) {
    return fmt::format("an array of {} values of type {}", value.count,
                       static_cast<uint32_t>(value.type));
  }
  if (const std::optional<int64_t> integer = IntegerAt(value, 0)) return fmt::to_string(*integer);
  switch (value.type) {
    case GgufType::kFloat32:
      return fmt::to_string(ElementAs<float>(value, 0));
    case GgufType::kFloat64:
      return fmt::to_string(ElementAs<double>(value, 0));
    case GgufType::kBool:
      return ElementAs<uint8_t>(value, 0) != 0 ? "true" : "false";
    case GgufType::kUint64:
      return fmt::to_string(ElementAs<uint64_t>(value, 0));
    default: {
      auto payload = value.payload;
      return fmt::format("\"{}\"", TakeString(payload).substr(0, 60));
    }
  }
}

}  // namespace

const GgufValue* GgufMetadata::Find(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

std::string GgufMetadata::Message(std::string_view key, std::string_view expected) const {
  const GgufValue* value = Find(key);
  return fmt::format("{}: \"{}\": expected {}, found {}", file_, key, expected,
                     value == nullptr ? "nothing" : Describe(*value));
}

Error GgufMetadata::Expected(std::string_view key, std::string_view expected) const {
  return Error{ErrorCode::kInvalidArgument, Message(key, expected)};
}

Error GgufMetadata::Refused(std::string_view key, std::string_view expected) const {
  return Error{ErrorCode::kUnsupported, Message(key, expected)};
}

Result<std::optional<int64_t>> GgufMetadata::OptionalInteger(std::string_view key,
                                                             IntegerRange range) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<int64_t>();
  std::optional<int64_t> integer;
  if (!value->is_array) integer = IntegerAt(*value, 0);
  if (!integer || *integer < range.min || *integer > range.max) {
    return Expected(key, fmt::format("an integer from {} to {}", range.min, range.max));
  }
  return integer;
}

Result<int64_t> GgufMetadata::Integer(std::string_view key, IntegerRange range) const {
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> integer, OptionalInteger(key, range));
  if (!integer) {
    return Expected(key, fmt::format("an integer from {} to {}", range.min, range.max));
  }
  return *integer;
}

Result<std::optional<float>> GgufMetadata::OptionalFloat(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<float>();
  if (value->is_array || value->type != GgufType::kFloat32 ||
      !std::isfinite(ElementAs<float>(*value, 0))) {
    return Expected(key, "a finite float32");
  }
  return std::optional<float>(ElementAs<float>(*value, 0));
}

Result<std::optional<bool>> GgufMetadata::OptionalBool(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<bool>();
  if (value->is_array || value->type != GgufType::kBool) return Expected(key, "true or false");
  return std::optional<bool>(ElementAs<uint8_t>(*value, 0) != 0);
}

Result<std::optional<std::string>> GgufMetadata::OptionalString(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::optional<std::string>();
  if (value->is_array || value->type != GgufType::kString) return Expected(key, "a string");
  auto payload = value->payload;
  return std::optional<std::string>(TakeString(payload));
}

Result<std::vector<std::string>> GgufMetadata::Strings(std::string_view key) const {
  std::vector<std::string> strings;
  const GgufValue* value = Find(key);
  if (value == nullptr) return strings;
  if (!value->is_array || value->type != GgufType::kString) {
    return Expected(key, "an array of strings");
  }
  strings.reserve(value->count);
  auto payload = value->payload;
  for (uint64_t i = 0; i < value->count; ++i) strings.emplace_back(TakeString(payload));
  return strings;
}

Result<std::vector<int32_t>> GgufMetadata::Integers(std::string_view key) const {
  std::vector<int32_t> integers;
  const GgufValue* value = Find(key);
  if (value == nullptr) return integers;
  if (!value->is_array) return Expected(key, "an array of int32");
  integers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    const std::optional<int64_t> integer = IntegerAt(*value, i);
    if (!integer || !std::in_range<int32_t>(*integer)) return Expected(key, "an array of int32");
    integers.push_back(static_cast<int32_t>(*integer));
  }
  return integers;
}

Result<std::vector<float>> GgufMetadata::Floats(std::string_view key) const {
  std::vector<float> floats;
  const GgufValue* value = Find(key);
  if (value == nullptr) return floats;
  if (!value->is_array || value->type != GgufType::kFloat32) {
    return Expected(key, "an array of float32");
  }
  floats.resize(value->count);
  if (!floats.empty()) std::memcpy(floats.data(), value->payload.data(), value->payload.size());
  return floats;
}

}  // namespace vexact
