#include "chat/functions.h"

#include <array>

#include "chat/text.h"

namespace vexact {

bool IsFunction(std::string_view name) {
  return name == "range" || name == "namespace" || name == "raise_exception" ||
         name == "strftime_now";
}

Result<Value> Range(const Arguments& arguments, Meter& meter) {
  constexpr int64_t kMaxItems = 100'000;  // Jinja's sandbox has the same limit
  constexpr int64_t kMaxBound = int64_t{1} << 62;
  if (arguments.positional.empty() || arguments.positional.size() > 3 || !arguments.named.empty()) {
    return InvalidArgument("expected 1 to 3 arguments by position, found others");
  }
  std::array<int64_t, 3> bounds = {0, 0, 1};  // start, stop, step
  const bool has_start = arguments.positional.size() > 1;
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    VX_ASSIGN_OR_RETURN(const int64_t bound, IntegerArgument(arguments.positional[i], "bound"));
    if (bound < -kMaxBound || bound > kMaxBound) {
      return InvalidArgument("expected bounds of 62 bits, found {}", bound);
    }
    bounds[has_start ? i : 1] = bound;
  }
  const auto [start, stop, step] = bounds;
  if (step == 0) return InvalidArgument("expected a step, found zero");
  std::vector<Value> items;
  for (int64_t at = start; step > 0 ? at < stop : at > stop; at += step) {
    if (items.size() == kMaxItems) {
      return MakeError(ErrorCode::kResourceExhausted, "expected at most {} items, found more",
                       kMaxItems);
    }
    items.push_back(Value::FromInteger(at));
  }
  VX_RETURN_IF_ERROR(meter.Work(static_cast<int64_t>(items.size())));
  return MakeSequence(std::move(items), SequenceKind::kRange, meter);
}

Result<Value> StrftimeNow(const Arguments& arguments, const std::tm& now, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"format", std::nullopt}}));
  VX_ASSIGN_OR_RETURN(const std::string_view format, TextArgument(values[0], "format"));
  // A character before the format, so that an empty result is not taken for a failure.
  const std::string marked = fmt::format("x{}", format);
  std::array<char, 1024> text;
  const size_t size = std::strftime(text.data(), text.size(), marked.c_str(), &now);
  if (size == 0) {
    return InvalidArgument("expected a time of at most {} bytes, found more", text.size());
  }
  return MakeText(std::string(text.data() + 1, size - 1), meter);
}

Error RaiseException(const Arguments& arguments, Meter& meter) {
  const Result<std::vector<Value>> values = Bind(arguments, {{"message", std::nullopt}});
  if (!values.ok()) return values.error();
  const Result<std::string> message = PrintedText((*values)[0], meter);
  return message.ok() ? InvalidArgument("{}", *message) : message.error();
}

}  // namespace vexact
