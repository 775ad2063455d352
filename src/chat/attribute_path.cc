#include "chat/attribute_path.h"

#include <algorithm>
#include <charconv>

#include "chat/arguments.h"
#include "chat/operators.h"
#include "chat/text.h"

namespace vexact {

Result<AttributePath> AttributePath::Parse(const Value& attribute) {
  AttributePath path;
  if (attribute.is_none()) return path;
  if (attribute.AsInteger()) {
    path.keys_.push_back(attribute);
    return path;
  }
  VX_ASSIGN_OR_RETURN(const std::string_view text, TextArgument(attribute, "attribute"));
  for (const std::string_view part : SplitAt(text, ".", -1, CutFrom::kLeft)) {
    int64_t index = 0;
    const char* const end = part.data() + part.size();
    const auto [stop, error] = std::from_chars(part.data(), end, index);
    const bool is_index = error == std::errc() && stop == end && part[0] != '-';
    path.keys_.push_back(is_index ? Value::FromInteger(index) : Value::FromText(std::string(part)));
  }
  return path;
}

Result<Value> AttributePath::Of(const Value& item, const Value& absent, Meter& meter) const {
  Value value = item;
  for (const Value& key : keys_) {
    VX_ASSIGN_OR_RETURN(value, GetItem(value, key, meter));
    if (value.is_undefined() && !absent.is_undefined()) value = absent;
  }
  return value;
}

}  // namespace vexact
