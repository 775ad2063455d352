// Filters of texts and numbers.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "chat/filters.h"
#include "chat/json.h"
#include "chat/operators.h"
#include "chat/text.h"

namespace vexact {
namespace {

template <std::string (*kMap)(std::string_view)>
Result<Value> Mapped(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  VX_ASSIGN_OR_RETURN(const std::string text, PrintedText(input, meter));
  VX_RETURN_IF_ERROR(meter.Work(1 + static_cast<int64_t>(text.size() / 8)));
  return MakeText(kMap(text), meter);
}

Result<Value> String(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  if (input.text() != nullptr) return input;
  VX_ASSIGN_OR_RETURN(std::string text, PrintedText(input, meter));
  return MakeText(std::move(text), meter);
}

Result<Value> Default(const Value& input, const Arguments& arguments, Meter& /*meter*/) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"default_value", Value::FromText("")},
                                                          {"boolean", Value::FromBool(false)}}));
  const bool replaces = input.is_undefined() || (values[1].IsTrue() && !input.IsTrue());
  return replaces ? values[0] : input;
}

Result<Value> Trim(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"chars", Value::FromNone()}}));
  VX_ASSIGN_OR_RETURN(const std::string text, PrintedText(input, meter));
  VX_RETURN_IF_ERROR(meter.TextWork(text.size()));
  if (values[0].is_none()) {
    return MakeText(std::string(Strip(text, std::nullopt, Sides::kBoth)), meter);
  }
  VX_ASSIGN_OR_RETURN(const std::string_view characters, TextArgument(values[0], "chars"));
  VX_RETURN_IF_ERROR(meter.Work(static_cast<int64_t>(text.size() * characters.size() / 64)));
  return MakeText(std::string(Strip(text, characters, Sides::kBoth)), meter);
}

Result<Value> Replace(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"old", std::nullopt},
                                                          {"new", std::nullopt},
                                                          {"count", Value::FromInteger(-1)}}));
  VX_ASSIGN_OR_RETURN(const std::string text, PrintedText(input, meter));
  VX_ASSIGN_OR_RETURN(const std::string part, PrintedText(values[0], meter));
  VX_ASSIGN_OR_RETURN(const std::string by, PrintedText(values[1], meter));
  VX_ASSIGN_OR_RETURN(const int64_t count, IntegerArgument(values[2], "count"));
  VX_ASSIGN_OR_RETURN(std::string replaced, ReplaceText(text, part, by, count, meter));
  return MakeText(std::move(replaced), meter);
}

// Every line after the first moves to the right; `first` and `blank` add the first and empty ones.
Result<Value> Indent(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"width", Value::FromInteger(4)},
                                                          {"first", Value::FromBool(false)},
                                                          {"blank", Value::FromBool(false)}}));
  VX_ASSIGN_OR_RETURN(std::string text, PrintedText(input, meter));
  VX_ASSIGN_OR_RETURN(const Value space,
                      values[0].text()
                          ? Result<Value>(values[0])
                          : Calculate(Operator::kMultiply, Value::FromText(" "), values[0], meter));
  VX_RETURN_IF_ERROR(meter.Work(1 + static_cast<int64_t>(text.size() / 8)));
  const std::string& indentation = *space.text();
  std::string out = values[1].IsTrue() ? indentation : "";
  text += '\n';  // so that a newline at the end begins one more line, an empty one
  bool is_first = true;
  for (const std::string_view line : SplitLines(text)) {
    VX_RETURN_IF_ERROR(meter.ValueBytes(line.size() + indentation.size() + 1));
    if (!std::exchange(is_first, false)) {
      out += '\n';
      if (!line.empty() || values[2].IsTrue()) out += indentation;
    }
    out += line;
  }
  return MakeText(std::move(out), meter);
}

Result<Value> ToJson(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"ensure_ascii", Value::FromBool(false)},
                                                          {"indent", Value::FromNone()},
                                                          {"separators", Value::FromNone()},
                                                          {"sort_keys", Value::FromBool(false)}}));
  JsonStyle style{.ensure_ascii = values[0].IsTrue(), .sort_keys = values[3].IsTrue()};
  if (!values[1].is_none()) {
    style.has_lines = true;
    style.item_separator = ",";
    VX_ASSIGN_OR_RETURN(
        const Value indent,
        values[1].text() ? Result<Value>(values[1])
                         : Calculate(Operator::kMultiply, Value::FromText(" "), values[1], meter));
    style.indent = *indent.text();
  }
  if (!values[2].is_none()) {
    const Sequence* pair = values[2].sequence();
    if (pair == nullptr || pair->items.size() != 2) {
      return InvalidArgument("separators: expected a tuple of two, found {}", values[2].TypeName());
    }
    VX_ASSIGN_OR_RETURN(style.item_separator, TextArgument(pair->items[0], "separators"));
    VX_ASSIGN_OR_RETURN(style.key_separator, TextArgument(pair->items[1], "separators"));
  }
  VX_ASSIGN_OR_RETURN(std::string json, WriteChatJson(input, style, meter));
  return MakeText(std::move(json), meter);
}

// The number that all of `text` writes, spaces around it aside.
template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  text = Strip(text, std::nullopt, Sides::kBoth);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stop == end ? std::optional(number) : std::nullopt;
}

std::optional<int64_t> Truncate(double value) {
  constexpr double kBound = 9223372036854775808.0;  // 2^63
  if (!(value >= -kBound && value < kBound)) return std::nullopt;
  return static_cast<int64_t>(value);
}

Result<Value> Int(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"default", Value::FromInteger(0)},
                                                          {"base", Value::FromInteger(10)}}));
  if (values[1].AsInteger() != 10) return Unsupported("a base other than 10: not supported");
  if (input.is_undefined()) return UndefinedError(input);
  if (const auto integer = input.AsInteger()) return Value::FromInteger(*integer);
  std::optional<double> number = input.AsFloat();
  if (const std::string* text = input.text()) {
    VX_RETURN_IF_ERROR(meter.TextWork(text->size()));
    if (const auto integer = ParseNumber<int64_t>(*text)) return Value::FromInteger(*integer);
    number = ParseNumber<double>(*text);
  }
  const std::optional<int64_t> whole = number ? Truncate(*number) : std::nullopt;
  return whole ? Value::FromInteger(*whole) : values[0];
}

Result<Value> Float(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"default", Value::FromFloat(0.0)}}));
  if (input.is_undefined()) return UndefinedError(input);
  std::optional<double> number = input.AsFloat();
  if (const std::string* text = input.text()) {
    VX_RETURN_IF_ERROR(meter.TextWork(text->size()));
    number = ParseNumber<double>(*text);
  }
  return number ? Value::FromFloat(*number) : values[0];
}

Result<Value> Abs(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  VX_ASSIGN_OR_RETURN(const bool negative, IsLess(input, Value::FromInteger(0), meter));
  if (negative) return Calculate(Operator::kSubtract, Value::FromInteger(0), input, meter);
  return Calculate(Operator::kAdd, Value::FromInteger(0), input, meter);
}

// Half to even on the decimal digits, as Python rounds: through the exact decimal text.
double RoundDecimals(double value, int precision) {
  std::array<char, 400> text;  // the largest double has 309 digits before the point
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value,
                                     std::chars_format::fixed, precision);
  double rounded = value;
  std::from_chars(text.data(), written.ptr, rounded);
  return rounded;
}

Result<Value> Round(const Value& input, const Arguments& arguments, Meter& /*meter*/) {
  constexpr int64_t kMaxPrecision = 30;
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"precision", Value::FromInteger(0)},
                                                          {"method", Value::FromText("common")}}));
  VX_ASSIGN_OR_RETURN(const int64_t precision, IntegerArgument(values[0], "precision"));
  VX_ASSIGN_OR_RETURN(const std::string_view method, TextArgument(values[1], "method"));
  if (precision < 0 || precision > kMaxPrecision) {
    return Unsupported("a precision outside of 0 to {}: not supported", kMaxPrecision);
  }
  if (method != "common" && method != "ceil" && method != "floor") {
    return InvalidArgument("method: expected common, ceil or floor, found \"{}\"", method);
  }
  if (input.is_undefined()) return UndefinedError(input);
  const std::optional<double> number = input.AsFloat();
  if (!number) return InvalidArgument("expected a number, found {}", input.TypeName());
  if (method == "common") {
    if (input.AsInteger()) return Value::FromInteger(*input.AsInteger());
    if (!std::isfinite(*number)) return input;
    return Value::FromFloat(RoundDecimals(*number, static_cast<int>(precision)));
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = *number * scale;
  return Value::FromFloat((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

struct Entry {
  std::string_view name;
  Filter filter;
};

constexpr Entry kFilters[] = {
    {"abs", Abs},
    {"capitalize", Mapped<Capitalize>},
    {"d", Default},
    {"default", Default},
    {"float", Float},
    {"indent", Indent},
    {"int", Int},
    {"lower", Mapped<Lower>},
    {"replace", Replace},
    {"round", Round},
    {"safe", String},  // filters.h
    {"string", String},
    {"title", Mapped<TitleFilter>},
    {"tojson", ToJson},
    {"trim", Trim},
    {"upper", Mapped<Upper>},
};

}  // namespace

Filter FindTextFilter(std::string_view name) {
  const auto* const found = std::ranges::find(kFilters, name, &Entry::name);
  return found == std::end(kFilters) ? nullptr : found->filter;
}

}  // namespace vexact
