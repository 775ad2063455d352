// Strict reading of JSON that strangers wrote: bounded depth, no duplicate keys, and typed fields
// whose errors name file, field, expected and found. For .cc files of this folder only: it brings
// in all of nlohmann/json.hpp.
#ifndef VEXACT_CHECKPOINT_JSON_FIELDS_H_
#define VEXACT_CHECKPOINT_JSON_FIELDS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "checkpoint/integer_range.h"

namespace vexact {

inline constexpr int kMaxJsonDepth = 32;

// The object in `text`; `file` is for error messages. Refuses other values at the top, depth over
// kMaxJsonDepth, duplicate keys, invalid UTF-8 and anything after the object.
Result<nlohmann::json> ParseJsonObject(std::string_view text, const std::string& file);

// Fields of one object. A null field counts as absent. Does not own the object.
class JsonFields {
 public:
  // `prefix` goes before field names in errors ("rope_scaling."). `object` must be an object.
  JsonFields(const nlohmann::json& object, std::string file, std::string prefix);

  // Null when absent.
  const nlohmann::json* Find(std::string_view key) const;

  Result<int64_t> Integer(std::string_view key, IntegerRange range) const;
  Result<std::optional<int64_t>> OptionalInteger(std::string_view key, IntegerRange range) const;
  Result<double> Number(std::string_view key) const;  // finite
  Result<std::optional<double>> OptionalNumber(std::string_view key) const;
  Result<bool> BoolOr(std::string_view key, bool absent) const;
  Result<std::optional<std::string>> OptionalString(std::string_view key) const;
  Result<std::optional<JsonFields>> OptionalObject(std::string_view key) const;

  // `file: "prefix.key": expected ..., found <the field's value, shortened>`.
  Error Expected(std::string_view key, std::string_view expected) const;
  Error Refused(std::string_view key, std::string_view expected) const;  // the same, kUnsupported

  const nlohmann::json& object() const { return *object_; }

 private:
  std::string Message(std::string_view key, std::string_view expected) const;

  const nlohmann::json* object_;
  std::string file_;
  std::string prefix_;
};

// The value as JSON text, at most about 60 characters of it; never recursive beyond
// kMaxJsonDepth because the parser refused that.
std::string ShortDump(const nlohmann::json& value);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_JSON_FIELDS_H_
