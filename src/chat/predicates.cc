#include "chat/predicates.h"

#include <algorithm>
#include <string>

#include "chat/operators.h"
#include "chat/text.h"

namespace vexact {
namespace {

// A test without arguments.
template <bool (*kHolds)(const Value&)>
Result<bool> Plain(const Value& value, const Arguments& arguments, Meter& /*meter*/) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  return kHolds(value);
}

bool IsDefined(const Value& value) { return !value.is_undefined(); }
bool IsUndefined(const Value& value) { return value.is_undefined(); }
bool IsNone(const Value& value) { return value.is_none(); }
bool IsBoolean(const Value& value) { return value.boolean() != nullptr; }
bool IsTrueItself(const Value& value) { return value.boolean() && *value.boolean(); }
bool IsFalseItself(const Value& value) { return value.boolean() && !*value.boolean(); }
bool IsInteger(const Value& value) { return value.integer() != nullptr; }
bool IsFloat(const Value& value) { return value.floating() != nullptr; }
bool IsNumber(const Value& value) { return value.IsNumber(); }
bool IsString(const Value& value) { return value.text() != nullptr; }
bool IsMapping(const Value& value) { return value.dict() != nullptr; }
bool IsCallable(const Value& value) { return std::holds_alternative<Callable>(value.variant()); }
// Jinja's undefined values have a length and items, too.
bool IsIterable(const Value& value) {
  return value.text() || value.sequence() || value.dict() || value.is_undefined();
}
bool IsSequence(const Value& value) {
  return IsIterable(value) && !value.IsSequence(SequenceKind::kView) &&
         !value.IsSequence(SequenceKind::kIterator);
}

template <bool (*kHolds)(std::string_view)>
Result<bool> OfText(const Value& value, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  VX_ASSIGN_OR_RETURN(const std::string text, PrintedText(value, meter));
  return kHolds(text);
}

template <Operator kOperator>
Result<bool> Compared(const Value& value, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"other", std::nullopt}}));
  return Compare(kOperator, value, values[0], meter);
}

Result<bool> HasRemainder(const Value& value, const Value& divisor, int64_t remainder,
                          Meter& meter) {
  VX_ASSIGN_OR_RETURN(const Value rest, Calculate(Operator::kModulo, value, divisor, meter));
  return AreEqual(rest, Value::FromInteger(remainder), meter);
}

template <int64_t kRemainder>
Result<bool> OfTwo(const Value& value, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  return HasRemainder(value, Value::FromInteger(2), kRemainder, meter);
}

Result<bool> IsDivisible(const Value& value, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"num", std::nullopt}}));
  return HasRemainder(value, values[0], 0, meter);
}

struct Entry {
  std::string_view name;
  Predicate predicate;
};

constexpr Entry kPredicates[] = {
    {"!=", Compared<Operator::kNotEqual>},
    {"<", Compared<Operator::kLess>},
    {"<=", Compared<Operator::kLessOrEqual>},
    {"==", Compared<Operator::kEqual>},
    {">", Compared<Operator::kGreater>},
    {">=", Compared<Operator::kGreaterOrEqual>},
    {"boolean", Plain<IsBoolean>},
    {"callable", Plain<IsCallable>},
    {"defined", Plain<IsDefined>},
    {"divisibleby", IsDivisible},
    {"eq", Compared<Operator::kEqual>},
    {"equalto", Compared<Operator::kEqual>},
    {"even", OfTwo<0>},
    {"false", Plain<IsFalseItself>},
    {"float", Plain<IsFloat>},
    {"ge", Compared<Operator::kGreaterOrEqual>},
    {"greaterthan", Compared<Operator::kGreater>},
    {"gt", Compared<Operator::kGreater>},
    {"in", Compared<Operator::kIn>},
    {"integer", Plain<IsInteger>},
    {"iterable", Plain<IsIterable>},
    {"le", Compared<Operator::kLessOrEqual>},
    {"lessthan", Compared<Operator::kLess>},
    {"lower", OfText<IsLower>},
    {"lt", Compared<Operator::kLess>},
    {"mapping", Plain<IsMapping>},
    {"ne", Compared<Operator::kNotEqual>},
    {"none", Plain<IsNone>},
    {"number", Plain<IsNumber>},
    {"odd", OfTwo<1>},
    {"sequence", Plain<IsSequence>},
    {"string", Plain<IsString>},
    {"true", Plain<IsTrueItself>},
    {"undefined", Plain<IsUndefined>},
    {"upper", OfText<IsUpper>},
};

}  // namespace

Predicate FindPredicate(std::string_view name) {
  const auto* const found = std::ranges::find(kPredicates, name, &Entry::name);
  return found == std::end(kPredicates) ? nullptr : found->predicate;
}

}  // namespace vexact
