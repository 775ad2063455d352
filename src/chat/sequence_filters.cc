// Filters of lists and dicts.
#include <algorithm>

#include "chat/attribute_path.h"
#include "chat/filters.h"
#include "chat/operators.h"
#include "chat/text.h"

namespace vexact {
namespace {

Result<Value> Length(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  size_t length = 0;
  if (const std::string* text = input.text()) {
    VX_RETURN_IF_ERROR(meter.TextWork(text->size()));
    length = CountCharacters(*text);
  } else if (const Dict* dict = input.dict()) {
    length = dict->entries.size();
  } else if (input.sequence() && !input.IsSequence(SequenceKind::kIterator)) {
    length = input.sequence()->items.size();
  } else if (!input.is_undefined()) {
    return InvalidArgument("expected something with a length, found {}", input.TypeName());
  }
  return Value::FromInteger(static_cast<int64_t>(length));
}

Result<Value> First(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, ItemsOf(input, meter));
  return items.empty() ? Value::FromUndefined("No first item, sequence was empty.") : items.front();
}

Result<Value> Last(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  if (input.IsSequence(SequenceKind::kIterator)) {
    return InvalidArgument("expected something that can be read backwards, found a generator");
  }
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, ItemsOf(input, meter));
  return items.empty() ? Value::FromUndefined("No last item, sequence was empty.") : items.back();
}

Result<Value> List(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  VX_ASSIGN_OR_RETURN(std::vector<Value> items, ItemsOf(input, meter));
  return MakeSequence(std::move(items), SequenceKind::kList, meter);
}

Result<Value> Reverse(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  if (input.text() != nullptr) return GetSlice(input, {.start = {}, .stop = {}, .step = -1}, meter);
  const bool was_iterator = input.IsSequence(SequenceKind::kIterator);
  VX_ASSIGN_OR_RETURN(std::vector<Value> items, ItemsOf(input, meter));
  std::reverse(items.begin(), items.end());
  return MakeSequence(std::move(items),
                      was_iterator ? SequenceKind::kList : SequenceKind::kIterator, meter);
}

Result<Value> Join(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"d", Value::FromText("")},
                                                          {"attribute", Value::FromNone()}}));
  VX_ASSIGN_OR_RETURN(const std::string separator, PrintedText(values[0], meter));
  VX_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Parse(values[1]));
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, ItemsOf(input, meter));
  std::string joined;
  for (const Value& item : items) {
    VX_ASSIGN_OR_RETURN(const Value part, path.Of(item, {}, meter));
    VX_ASSIGN_OR_RETURN(const std::string text, PrintedText(part, meter));
    VX_RETURN_IF_ERROR(meter.ValueBytes(separator.size()));
    if (&item != items.data()) joined += separator;
    joined += text;
  }
  return MakeText(std::move(joined), meter);
}

Result<std::vector<Value>> PairsOf(const Dict& dict, Meter& meter) {
  std::vector<Value> pairs;
  for (const Dict::Entry& entry : dict.entries) {
    VX_ASSIGN_OR_RETURN(Value pair, MakeSequence({Value::FromShared(entry.key), entry.value},
                                                 SequenceKind::kTuple, meter));
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

Result<Value> Items(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  std::vector<Value> pairs;
  if (const Dict* dict = input.dict()) {
    VX_ASSIGN_OR_RETURN(pairs, PairsOf(*dict, meter));
  } else if (!input.is_undefined()) {
    return InvalidArgument("expected a dict, found {}", input.TypeName());
  }
  return MakeSequence(std::move(pairs), SequenceKind::kIterator, meter);
}

// What an item is compared by: what lies at `path`, in small letters unless case counts.
Result<Value> SortKey(const Value& item, const AttributePath& path, bool case_sensitive,
                      Meter& meter) {
  VX_ASSIGN_OR_RETURN(Value key, path.Of(item, {}, meter));
  if (case_sensitive || key.text() == nullptr) return key;
  VX_RETURN_IF_ERROR(meter.Work(static_cast<int64_t>(key.text()->size() / 8)));
  return MakeText(Lower(*key.text()), meter);
}

struct Keyed {
  Value key;
  Value item;
};

Result<std::vector<Keyed>> WithKeys(const std::vector<Value>& items, const AttributePath& path,
                                    bool case_sensitive, Meter& meter) {
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    VX_ASSIGN_OR_RETURN(Value key, SortKey(item, path, case_sensitive, meter));
    keyed.push_back({std::move(key), item});
  }
  return keyed;
}

// Stable, also when reversed, as Python's.
Result<std::vector<Value>> Sorted(std::vector<Keyed> keyed, bool reverse, Meter& meter) {
  Status status;
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    if (!status.ok()) return false;
    const Result<bool> less = reverse ? IsLess(b.key, a.key, meter) : IsLess(a.key, b.key, meter);
    if (!less.ok()) status = less.error();
    return less.ok() && *less;
  });
  if (!status.ok()) return status.error();
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (Keyed& entry : keyed) items.push_back(std::move(entry.item));
  return items;
}

Result<Value> Sort(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values,
                      Bind(arguments, {{"reverse", Value::FromBool(false)},
                                       {"case_sensitive", Value::FromBool(false)},
                                       {"attribute", Value::FromNone()}}));
  if (values[2].text() && values[2].text()->find(',') != std::string::npos) {
    return Unsupported("several attributes: not supported");
  }
  VX_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Parse(values[2]));
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, ItemsOf(input, meter));
  VX_ASSIGN_OR_RETURN(auto keyed, WithKeys(items, path, values[1].IsTrue(), meter));
  VX_ASSIGN_OR_RETURN(auto sorted, Sorted(std::move(keyed), values[0].IsTrue(), meter));
  return MakeSequence(std::move(sorted), SequenceKind::kList, meter);
}

Result<Value> DictSort(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values,
                      Bind(arguments, {{"case_sensitive", Value::FromBool(false)},
                                       {"by", Value::FromText("key")},
                                       {"reverse", Value::FromBool(false)}}));
  VX_ASSIGN_OR_RETURN(const std::string_view by, TextArgument(values[1], "by"));
  if (by != "key" && by != "value") {
    return InvalidArgument("by: expected key or value, found \"{}\"", by);
  }
  if (input.is_undefined()) return UndefinedError(input);
  if (!input.dict()) {
    return InvalidArgument("expected a dict, found {}", input.TypeName());
  }
  VX_ASSIGN_OR_RETURN(const AttributePath path,
                      AttributePath::Parse(Value::FromInteger(by == "key" ? 0 : 1)));
  VX_ASSIGN_OR_RETURN(const std::vector<Value> pairs, PairsOf(*input.dict(), meter));
  VX_ASSIGN_OR_RETURN(auto keyed, WithKeys(pairs, path, values[0].IsTrue(), meter));
  VX_ASSIGN_OR_RETURN(auto sorted, Sorted(std::move(keyed), values[2].IsTrue(), meter));
  return MakeSequence(std::move(sorted), SequenceKind::kList, meter);
}

Result<Value> Unique(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values,
                      Bind(arguments, {{"case_sensitive", Value::FromBool(false)},
                                       {"attribute", Value::FromNone()}}));
  VX_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Parse(values[1]));
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, ItemsOf(input, meter));
  VX_ASSIGN_OR_RETURN(auto keyed, WithKeys(items, path, values[0].IsTrue(), meter));
  std::vector<Keyed> kept;
  std::vector<Value> unique;
  for (Keyed& entry : keyed) {
    bool seen = false;
    for (size_t i = 0; i < kept.size() && !seen; ++i) {
      VX_ASSIGN_OR_RETURN(seen, AreEqual(kept[i].key, entry.key, meter));
    }
    if (seen) continue;
    unique.push_back(entry.item);
    kept.push_back(std::move(entry));
  }
  return MakeSequence(std::move(unique), SequenceKind::kIterator, meter);
}

// The first of the smallest or largest.
template <bool kLargest>
Result<Value> Extreme(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values,
                      Bind(arguments, {{"case_sensitive", Value::FromBool(false)},
                                       {"attribute", Value::FromNone()}}));
  VX_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Parse(values[1]));
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, ItemsOf(input, meter));
  if (items.empty()) return Value::FromUndefined("No aggregated item, sequence was empty.");
  VX_ASSIGN_OR_RETURN(auto keyed, WithKeys(items, path, values[0].IsTrue(), meter));
  const Keyed* best = keyed.data();
  for (const Keyed& entry : keyed) {
    VX_ASSIGN_OR_RETURN(const bool better, kLargest ? IsLess(best->key, entry.key, meter)
                                                    : IsLess(entry.key, best->key, meter));
    if (better) best = &entry;
  }
  return best->item;
}

Result<Value> Sum(const Value& input, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"attribute", Value::FromNone()},
                                                          {"start", Value::FromInteger(0)}}));
  VX_ASSIGN_OR_RETURN(const AttributePath path, AttributePath::Parse(values[0]));
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, ItemsOf(input, meter));
  Value sum = values[1];
  for (const Value& item : items) {
    VX_ASSIGN_OR_RETURN(const Value part, path.Of(item, {}, meter));
    VX_ASSIGN_OR_RETURN(sum, Calculate(Operator::kAdd, sum, part, meter));
  }
  return sum;
}

struct Entry {
  std::string_view name;
  Filter filter;
};

constexpr Entry kFilters[] = {
    {"count", Length},      {"dictsort", DictSort},  {"first", First},     {"items", Items},
    {"join", Join},         {"last", Last},          {"length", Length},   {"list", List},
    {"max", Extreme<true>}, {"min", Extreme<false>}, {"reverse", Reverse}, {"sort", Sort},
    {"sum", Sum},           {"unique", Unique},
};

}  // namespace

Filter FindSequenceFilter(std::string_view name) {
  const auto* const found = std::ranges::find(kFilters, name, &Entry::name);
  return found == std::end(kFilters) ? nullptr : found->filter;
}

}  // namespace vexact
