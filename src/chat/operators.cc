#include "chat/operators.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "chat/methods.h"
#include "chat/text.h"

namespace vexact {
namespace {

Error Overflow(Operator op) {
  return InvalidArgument("{}: expected an integer of 64 bits, found a larger one",
                         OperatorText(op));
}

Error NoOperator(Operator op, const Value& a, const Value& b) {
  if (a.is_undefined()) return UndefinedError(a);
  if (b.is_undefined()) return UndefinedError(b);
  return InvalidArgument("{}: expected operands that it takes, found {} and {}", OperatorText(op),
                         a.TypeName(), b.TypeName());
}

Error DivisionByZero(Operator op) {
  return InvalidArgument("{}: expected a divisor, found zero", OperatorText(op));
}

// Rounded down, as in Python.
Result<int64_t> DivideIntegers(Operator op, int64_t a, int64_t b) {
  if (b == 0) return DivisionByZero(op);
  if (b == -1) {
    if (op == Operator::kModulo) return int64_t{0};
    if (a == std::numeric_limits<int64_t>::min()) return Overflow(op);
    return -a;
  }
  const bool rounds_down = a % b != 0 && (a < 0) != (b < 0);
  if (op == Operator::kFloorDivide) return a / b - (rounds_down ? 1 : 0);
  return a % b + (rounds_down ? b : 0);
}

Result<int64_t> PowerOfIntegers(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      return Overflow(Operator::kPower);
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      return Overflow(Operator::kPower);
    }
  }
  return result;
}

Result<Value> CalculateIntegers(Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflows = false;
  switch (op) {
    case Operator::kAdd:
      overflows = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::kSubtract:
      overflows = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::kMultiply:
      overflows = __builtin_mul_overflow(a, b, &result);
      break;
    case Operator::kPower: {
      VX_ASSIGN_OR_RETURN(result, PowerOfIntegers(a, b));
      break;
    }
    default: {
      VX_ASSIGN_OR_RETURN(result, DivideIntegers(op, a, b));
    }
  }
  if (overflows) return Overflow(op);
  return Value::FromInteger(result);
}

Result<Value> CalculateFloats(Operator op, double a, double b) {
  const bool divides =
      op == Operator::kDivide || op == Operator::kFloorDivide || op == Operator::kModulo;
  if (divides && b == 0) return DivisionByZero(op);
  switch (op) {
    case Operator::kAdd:
      return Value::FromFloat(a + b);
    case Operator::kSubtract:
      return Value::FromFloat(a - b);
    case Operator::kMultiply:
      return Value::FromFloat(a * b);
    case Operator::kDivide:
      return Value::FromFloat(a / b);
    case Operator::kFloorDivide:
      return Value::FromFloat(std::floor(a / b));
    case Operator::kModulo: {
      const double remainder = std::fmod(a, b);
      return Value::FromFloat(remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b
                                                                           : remainder);
    }
    default:
      if (a == 0 && b < 0) return DivisionByZero(op);
      return Value::FromFloat(std::pow(a, b));
  }
}

// text * count, list * count.
Result<Value> Repeat(const Value& value, int64_t count, Meter& meter) {
  const auto times = static_cast<size_t>(std::max<int64_t>(count, 0));
  const size_t size =
      value.text() ? value.text()->size() : value.sequence()->items.size() * sizeof(Value);
  const auto limit = static_cast<size_t>(meter.limits().max_value_bytes);
  if (size != 0 && times > limit / size) {
    return MakeError(ErrorCode::kResourceExhausted, "*: expected at most {} bytes, found more",
                     limit);
  }
  VX_RETURN_IF_ERROR(meter.ValueBytes(size * times));
  if (const std::string* text = value.text()) {
    std::string repeated;
    repeated.reserve(size * times);
    if (size != 0) {
      for (size_t i = 0; i < times; ++i) repeated += *text;
    }
    return Value::FromText(std::move(repeated));
  }
  std::vector<Value> repeated;
  const std::vector<Value>& items = value.sequence()->items;
  if (!items.empty()) {
    for (size_t i = 0; i < times; ++i) repeated.insert(repeated.end(), items.begin(), items.end());
  }
  return MakeSequence(std::move(repeated), value.sequence()->kind, meter);
}

bool IsListOrTuple(const Value& value) {
  return value.IsSequence(SequenceKind::kList) || value.IsSequence(SequenceKind::kTuple);
}

Result<Value> Add(const Value& a, const Value& b, Meter& meter) {
  if (a.text() && b.text()) return MakeText(*a.text() + *b.text(), meter);
  if (IsListOrTuple(a) && IsListOrTuple(b) && a.sequence()->kind == b.sequence()->kind) {
    std::vector<Value> items = a.sequence()->items;
    const std::vector<Value>& more = b.sequence()->items;
    items.insert(items.end(), more.begin(), more.end());
    return MakeSequence(std::move(items), a.sequence()->kind, meter);
  }
  return NoOperator(Operator::kAdd, a, b);
}

// What Python cannot hash, and so cannot look for among keys.
bool IsListOrDict(const Value& value) {
  return value.IsSequence(SequenceKind::kList) || value.dict() != nullptr;
}

Result<bool> Contains(const Value& item, const Value& container, Meter& meter) {
  if (const std::string* text = container.text()) {
    if (item.text() == nullptr) return NoOperator(Operator::kIn, item, container);
    VX_RETURN_IF_ERROR(meter.TextWork(text->size()));
    return FindText(*text, *item.text(), 0) != std::string_view::npos;
  }
  if (const Dict* dict = container.dict()) {
    if (IsListOrDict(item)) return NoOperator(Operator::kIn, item, container);
    return item.text() != nullptr && dict->Find(*item.text()) != nullptr;
  }
  if (container.sequence() == nullptr && !container.is_undefined()) {
    return NoOperator(Operator::kIn, item, container);
  }
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, ItemsOf(container, meter));
  for (const Value& other : items) {
    VX_ASSIGN_OR_RETURN(const bool equal, AreEqual(item, other, meter));
    if (equal) return true;
  }
  return false;
}

// The positions that a slice takes, of `size` in all.
Result<std::vector<size_t>> SlicePositions(const Slice& slice, int64_t size) {
  const int64_t step = slice.step.value_or(1);
  if (step == 0) return InvalidArgument("slice: expected a step, found zero");
  const int64_t first = step > 0 ? 0 : -1;
  const int64_t last = step > 0 ? size : size - 1;
  const auto place = [&](std::optional<int64_t> index, int64_t absent) {
    if (!index) return absent;
    return std::clamp(*index < 0 ? std::max(*index, -size - 1) + size : *index, first, last);
  };
  const int64_t start = place(slice.start, step > 0 ? first : last);
  const int64_t stop = place(slice.stop, step > 0 ? last : first);
  std::vector<size_t> positions;
  const int64_t stride = std::clamp(step, -size - 1, size + 1);
  for (int64_t at = start; step > 0 ? at < stop : at > stop; at += stride) {
    positions.push_back(static_cast<size_t>(at));
  }
  return positions;
}

// The place of `index`, from the end if it is negative; none outside.
std::optional<size_t> PlaceOf(int64_t index, size_t size) {
  const auto count = static_cast<int64_t>(size);
  if (index < -count || index >= count) return std::nullopt;
  return static_cast<size_t>(index < 0 ? index + count : index);
}

Value NoSuchItem(const Value& object, const Value& key, Meter& meter) {
  const Result<std::string> printed = PrintedText(key, meter);
  return Value::FromUndefined(fmt::format("{} object has no element {}", object.TypeName(),
                                          printed.ok() ? *printed : key.TypeName()));
}

bool IsIndexed(const Value& value) {
  return IsListOrTuple(value) || value.IsSequence(SequenceKind::kRange);
}

// A method, or that there is no such attribute; none if Python would look for a key.
std::optional<Value> FindPythonAttribute(const Value& object, std::string_view name) {
  if (!HasPythonAttribute(object, name)) return std::nullopt;
  static constexpr std::array<std::string_view, 12> kMutating = {
      "append", "clear", "extend", "insert",  "pop",        "popitem",
      "remove", "sort",  "update", "reverse", "setdefault", "fromkeys"};
  if (std::ranges::find(kMutating, name) != kMutating.end()) {
    return Value::FromUndefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, object.TypeName()));
  }
  return Value(Value::Variant(Callable{}));
}

}  // namespace

std::string_view OperatorText(Operator op) {
  static constexpr std::string_view kTexts[] = {
      "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};
  return kTexts[static_cast<size_t>(op)];
}

Result<Value> Calculate(Operator op, const Value& a, const Value& b, Meter& meter) {
  if (a.IsNumber() && b.IsNumber()) {
    const auto x = a.AsInteger();
    const auto y = b.AsInteger();
    const bool gives_float = op == Operator::kDivide || (op == Operator::kPower && y && *y < 0);
    if (x && y && !gives_float) return CalculateIntegers(op, *x, *y);
    return CalculateFloats(op, *a.AsFloat(), *b.AsFloat());
  }
  if (op == Operator::kAdd) return Add(a, b, meter);
  if (op == Operator::kMultiply) {
    if ((a.text() || IsListOrTuple(a)) && b.AsInteger()) return Repeat(a, *b.AsInteger(), meter);
    if ((b.text() || IsListOrTuple(b)) && a.AsInteger()) return Repeat(b, *a.AsInteger(), meter);
  }
  if (op == Operator::kModulo && a.text()) {
    return Unsupported("% after a text (formatting): not supported");
  }
  return NoOperator(op, a, b);
}

Result<bool> Compare(Operator op, const Value& a, const Value& b, Meter& meter) {
  bool result = false;
  switch (op) {
    case Operator::kEqual:
      return AreEqual(a, b, meter);
    case Operator::kNotEqual: {
      VX_ASSIGN_OR_RETURN(result, AreEqual(a, b, meter));
      return !result;
    }
    case Operator::kLess:
      return IsLess(a, b, meter);
    case Operator::kGreater:
      return IsLess(b, a, meter);
    case Operator::kLessOrEqual:
    case Operator::kGreaterOrEqual: {
      // Not the other order's opposite: both are false for a NaN.
      VX_ASSIGN_OR_RETURN(result,
                          op == Operator::kLessOrEqual ? IsLess(a, b, meter) : IsLess(b, a, meter));
      if (result) return true;
      return AreEqual(a, b, meter);
    }
    case Operator::kIn:
      return Contains(a, b, meter);
    default: {
      VX_ASSIGN_OR_RETURN(result, Contains(a, b, meter));
      return !result;
    }
  }
}

Result<Value> GetItem(const Value& object, const Value& key, Meter& meter) {
  VX_RETURN_IF_ERROR(meter.Work(1));
  if (object.is_undefined()) return UndefinedError(object);
  const std::optional<int64_t> index = key.AsInteger();
  if (const std::string* name = key.text()) {
    const Value* value = object.dict() ? object.dict()->Find(*name) : nullptr;
    if (value != nullptr) return *value;
    if (std::optional<Value> attribute = FindPythonAttribute(object, *name)) return *attribute;
    return Value::FromUndefined(
        fmt::format("'{} object' has no attribute '{}'", object.TypeName(), *name));
  }
  if (index && IsIndexed(object)) {
    const std::vector<Value>& items = object.sequence()->items;
    const std::optional<size_t> place = PlaceOf(*index, items.size());
    return place ? items[*place] : NoSuchItem(object, key, meter);
  }
  if (index && object.text()) {
    VX_RETURN_IF_ERROR(meter.TextWork(object.text()->size()));
    const std::string& text = *object.text();
    const std::optional<size_t> place = PlaceOf(*index, CountCharacters(text));
    if (!place) return NoSuchItem(object, key, meter);
    const size_t offset = OffsetOfCharacter(text, *place);
    const size_t size = OffsetOfCharacter(std::string_view(text).substr(offset), 1);
    return MakeText(text.substr(offset, size), meter);
  }
  return NoSuchItem(object, key, meter);
}

Result<Value> GetAttribute(const Value& object, std::string_view name, Meter& meter) {
  VX_RETURN_IF_ERROR(meter.Work(1));
  if (object.is_undefined()) return UndefinedError(object);
  if (std::optional<Value> attribute = FindPythonAttribute(object, name)) return *attribute;
  const Value* value = object.dict() ? object.dict()->Find(name) : nullptr;
  if (value != nullptr) return *value;
  return Value::FromUndefined(
      fmt::format("'{} object' has no attribute '{}'", object.TypeName(), name));
}

Result<Value> GetSlice(const Value& object, const Slice& slice, Meter& meter) {
  if (const std::string* text = object.text()) {
    VX_RETURN_IF_ERROR(meter.Work(1 + static_cast<int64_t>(text->size())));
    std::vector<size_t> offsets;  // of every character
    for (size_t at = 0; at < text->size(); ++at) {
      if (((*text)[at] & 0xc0) != 0x80) offsets.push_back(at);
    }
    const auto count = static_cast<int64_t>(offsets.size());
    offsets.push_back(text->size());
    VX_ASSIGN_OR_RETURN(const std::vector<size_t> positions, SlicePositions(slice, count));
    std::string part;
    for (const size_t at : positions) {
      part.append(*text, offsets[at], offsets[at + 1] - offsets[at]);
    }
    return MakeText(std::move(part), meter);
  }
  if (object.is_undefined()) return UndefinedError(object);
  if (!IsIndexed(object)) {
    return InvalidArgument("slice: expected a list, tuple or str, found {}", object.TypeName());
  }
  const std::vector<Value>& items = object.sequence()->items;
  VX_RETURN_IF_ERROR(meter.Work(static_cast<int64_t>(items.size())));
  VX_ASSIGN_OR_RETURN(const std::vector<size_t> positions,
                      SlicePositions(slice, static_cast<int64_t>(items.size())));
  std::vector<Value> part;
  part.reserve(positions.size());
  for (const size_t at : positions) part.push_back(items[at]);
  return MakeSequence(std::move(part), object.sequence()->kind, meter);
}

}  // namespace vexact
