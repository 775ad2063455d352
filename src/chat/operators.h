// Operators of expressions, as Python defines them.
#ifndef VEXACT_CHAT_OPERATORS_H_
#define VEXACT_CHAT_OPERATORS_H_

#include <optional>
#include <string_view>

#include "chat/value.h"

namespace vexact {

enum class Operator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kIn,
  kNotIn,
};

std::string_view OperatorText(Operator op);

// kAdd to kPower. Integers have 64 bits: a larger result is an error.
Result<Value> Calculate(Operator op, const Value& a, const Value& b, Meter& meter);
// kEqual to kNotIn.
Result<bool> Compare(Operator op, const Value& a, const Value& b, Meter& meter);

// What is at this place of a value: an item, a character, a dict's value; else undefined.
Result<Value> GetItem(const Value& object, const Value& key, Meter& meter);
// object.name: a method of that name first, then a dict's value; else undefined. Error: of an
// undefined value.
Result<Value> GetAttribute(const Value& object, std::string_view name, Meter& meter);
// Python's object[start:stop:step]; none of the three need be given.
struct Slice {
  std::optional<int64_t> start, stop, step;
};
Result<Value> GetSlice(const Value& object, const Slice& slice, Meter& meter);

}  // namespace vexact

#endif  // VEXACT_CHAT_OPERATORS_H_
