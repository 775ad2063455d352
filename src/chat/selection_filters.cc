// Filters that apply another filter or a test to every item: map, select, reject, selectattr,
// rejectattr.
#include <algorithm>

#include "chat/attribute_path.h"
#include "chat/filters.h"
#include "chat/predicates.h"

namespace vexact {
namespace {

// The arguments after the first `count` positional ones.
Arguments Rest(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + count);
  return rest;
}

Result<Value> MapAttribute(const std::vector<Value>& items, const Arguments& arguments,
                           Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"attribute", std::nullopt},
                                                          {"default", Value::FromNone()}}));
  VX_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Parse(values[0]));
  std::vector<Value> mapped;
  for (const Value& item : items) {
    VX_ASSIGN_OR_RETURN(Value value,
                        path.Of(item, values[1].is_none() ? Value() : values[1], meter));
    mapped.push_back(std::move(value));
  }
  return MakeSequence(std::move(mapped), SequenceKind::kIterator, meter);
}

Result<Value> Map(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, ItemsOf(input, meter));
  if (arguments.positional.empty()) return MapAttribute(items, arguments, meter);
  VX_ASSIGN_OR_RETURN(const std::string_view name, TextArgument(arguments.positional[0], "map"));
  const Filter filter = FindFilter(name);
  if (filter == nullptr) return Unsupported("filter \"{}\": not supported", name);
  const Arguments rest = Rest(arguments, 1);
  std::vector<Value> mapped;
  for (const Value& item : items) {
    VX_ASSIGN_OR_RETURN(Value value, filter(item, rest, meter));
    mapped.push_back(std::move(value));
  }
  return MakeSequence(std::move(mapped), SequenceKind::kIterator, meter);
}

// `kByAttribute`: the first argument says what of the item is tested. The next one, if there is
// one, is the test's name, and the others are its arguments; without, the truth is tested.
template <bool kByAttribute, bool kKept>
Result<Value> Select(const Value& input, const Arguments& arguments, Meter& meter) {
  constexpr size_t kTestAt = kByAttribute ? 1 : 0;
  if (arguments.positional.size() < kTestAt) {
    return InvalidArgument("expected the argument attribute, found none");
  }
  VX_ASSIGN_OR_RETURN(
      const AttributePath path,
      AttributePath::Parse(kByAttribute ? arguments.positional[0] : Value::FromNone()));
  Predicate predicate = nullptr;
  Arguments rest;
  if (arguments.positional.size() > kTestAt) {
    VX_ASSIGN_OR_RETURN(const std::string_view name,
                        TextArgument(arguments.positional[kTestAt], "test"));
    predicate = FindPredicate(name);
    if (predicate == nullptr) return Unsupported("test \"{}\": not supported", name);
    rest = Rest(arguments, kTestAt + 1);
  }
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, ItemsOf(input, meter));
  std::vector<Value> kept;
  for (const Value& item : items) {
    VX_ASSIGN_OR_RETURN(const Value tested, path.Of(item, {}, meter));
    VX_ASSIGN_OR_RETURN(const bool holds, predicate != nullptr ? predicate(tested, rest, meter)
                                                               : Result<bool>(tested.IsTrue()));
    if (holds == kKept) kept.push_back(item);
  }
  return MakeSequence(std::move(kept), SequenceKind::kIterator, meter);
}

struct Entry {
  std::string_view name;
  Filter filter;
};

constexpr Entry kFilters[] = {
    {"map", Map},
    {"reject", Select<false, false>},
    {"rejectattr", Select<true, false>},
    {"select", Select<false, true>},
    {"selectattr", Select<true, true>},
};

}  // namespace

Filter FindSelectionFilter(std::string_view name) {
  const auto* const found = std::ranges::find(kFilters, name, &Entry::name);
  return found == std::end(kFilters) ? nullptr : found->filter;
}

}  // namespace vexact
