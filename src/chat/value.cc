#include "chat/value.h"

#include <algorithm>
#include <utility>

#include "tokenizer/utf8.h"

namespace vexact {
namespace {

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

int DepthOver(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

Status CheckDepth(int depth) {
  if (depth <= kMaxValueDepth) return {};
  return MakeError(ErrorCode::kResourceExhausted,
                   "expected values nested at most {} deep, found {}", kMaxValueDepth, depth);
}

// Two integers are compared as such, else both as floats.
template <typename Compare>
bool CompareNumbers(const Value& a, const Value& b, Compare compare) {
  const auto x = a.AsInteger();
  const auto y = b.AsInteger();
  return x && y ? compare(*x, *y) : compare(*a.AsFloat(), *b.AsFloat());
}

Result<bool> AreEqualDicts(const Dict& a, const Dict& b, Meter& meter) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const Dict::Entry& entry : a.entries) {
    const Value* other = b.Find(*entry.key);
    if (other == nullptr) return false;
    VX_ASSIGN_OR_RETURN(const bool equal, AreEqual(entry.value, *other, meter));
    if (!equal) return false;
  }
  return true;
}

Result<bool> AreEqualSequences(const Sequence& a, const Sequence& b, Meter& meter) {
  if (a.kind != b.kind || a.items.size() != b.items.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    VX_ASSIGN_OR_RETURN(const bool equal, AreEqual(a.items[i], b.items[i], meter));
    if (!equal) return false;
  }
  return true;
}

}  // namespace

const Value* Dict::Find(std::string_view key) const {
  const auto place = places.find(key);
  return place == places.end() ? nullptr : &entries[place->second].value;
}

void Dict::Set(SharedText key, Value value) {
  depth = std::max(depth, value.depth() + 1);
  const auto [place, is_new] = places.try_emplace(*key, entries.size());
  if (is_new) {
    entries.push_back({std::move(key), std::move(value)});
  } else {
    entries[place->second].value = std::move(value);
  }
}

Value Value::FromList(std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  sequence->depth = DepthOver(items);
  sequence->items = std::move(items);
  return Value(Variant(std::shared_ptr<const Sequence>(std::move(sequence))));
}

std::optional<int64_t> Value::AsInteger() const {
  if (const bool* value = boolean()) return *value ? 1 : 0;
  if (const int64_t* value = integer()) return *value;
  return std::nullopt;
}

std::optional<double> Value::AsFloat() const {
  if (const double* value = floating()) return *value;
  const std::optional<int64_t> value = AsInteger();
  return value ? std::optional<double>(static_cast<double>(*value)) : std::nullopt;
}

bool Value::IsTrue() const {
  return std::visit(
      Overloaded{
          [](const Undefined&) { return false; },
          [](const None&) { return false; },
          [](bool value) { return value; },
          [](int64_t value) { return value != 0; },
          [](double value) { return value != 0; },
          [](const SharedText& text) { return !text->empty(); },
          [](const std::shared_ptr<const Sequence>& sequence) {
            return sequence->kind == SequenceKind::kIterator || !sequence->items.empty();
          },
          [](const std::shared_ptr<const Dict>& dict) { return !dict->entries.empty(); },
          [](const NamespaceReference&) { return true; },
          [](const Callable&) { return true; },
      },
      variant_);
}

int Value::depth() const {
  if (const Sequence* items = sequence()) return items->depth;
  if (const Dict* entries = dict()) return entries->depth;
  return 0;
}

std::string_view Value::TypeName() const {
  static constexpr std::string_view kSequenceNames[] = {"list", "tuple", "range", "dict view",
                                                        "generator"};
  return std::visit(
      Overloaded{
          [](const Undefined&) -> std::string_view { return "Undefined"; },
          [](const None&) -> std::string_view { return "NoneType"; },
          [](bool) -> std::string_view { return "bool"; },
          [](int64_t) -> std::string_view { return "int"; },
          [](double) -> std::string_view { return "float"; },
          [](const SharedText&) -> std::string_view { return "str"; },
          [](const std::shared_ptr<const Sequence>& sequence) {
            return kSequenceNames[static_cast<size_t>(sequence->kind)];
          },
          [](const std::shared_ptr<const Dict>&) -> std::string_view { return "dict"; },
          [](const NamespaceReference&) -> std::string_view { return "namespace"; },
          [](const Callable&) -> std::string_view { return "function"; },
      },
      variant_);
}

Result<Value> MakeText(std::string text, Meter& meter) {
  VX_RETURN_IF_ERROR(meter.ValueBytes(sizeof(std::string) + text.size()));
  return Value::FromText(std::move(text));
}

Result<Value> MakeSequence(std::vector<Value> items, SequenceKind kind, Meter& meter) {
  VX_RETURN_IF_ERROR(meter.ValueBytes(sizeof(Sequence) + items.size() * sizeof(Value)));
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = kind;
  sequence->depth = DepthOver(items);
  VX_RETURN_IF_ERROR(CheckDepth(sequence->depth));
  sequence->items = std::move(items);
  return Value(Value::Variant(std::shared_ptr<const Sequence>(std::move(sequence))));
}

Result<Value> MakeDict(Dict dict, Meter& meter) {
  constexpr size_t kEntryBytes = sizeof(Dict::Entry) + 64;  // with its node of `places`
  VX_RETURN_IF_ERROR(meter.ValueBytes(sizeof(Dict) + dict.entries.size() * kEntryBytes));
  VX_RETURN_IF_ERROR(CheckDepth(dict.depth));
  return Value::FromDict(std::move(dict));
}

Error UndefinedError(const Value& undefined) {
  const SharedText& reason = std::get<Undefined>(undefined.variant()).reason;
  return InvalidArgument("{}", reason == nullptr ? "a value is undefined" : *reason);
}

Result<bool> AreEqual(const Value& a, const Value& b, Meter& meter) {
  VX_RETURN_IF_ERROR(meter.Work(1));
  if (a.IsNumber() && b.IsNumber()) {
    return CompareNumbers(a, b, [](auto x, auto y) { return x == y; });
  }
  if (a.variant().index() != b.variant().index()) return false;
  if (a.text() != nullptr) {
    VX_RETURN_IF_ERROR(meter.TextWork(std::min(a.text()->size(), b.text()->size())));
    return *a.text() == *b.text();
  }
  if (a.sequence() != nullptr) return AreEqualSequences(*a.sequence(), *b.sequence(), meter);
  if (a.dict() != nullptr) return AreEqualDicts(*a.dict(), *b.dict(), meter);
  if (const auto* reference = std::get_if<NamespaceReference>(&a.variant())) {
    return reference->index == std::get<NamespaceReference>(b.variant()).index;
  }
  if (const auto* callable = std::get_if<Callable>(&a.variant())) {
    return callable->macro == std::get<Callable>(b.variant()).macro;
  }
  return true;  // undefined and undefined, none and none
}

Result<bool> IsLess(const Value& a, const Value& b, Meter& meter) {
  VX_RETURN_IF_ERROR(meter.Work(1));
  if (a.IsNumber() && b.IsNumber()) {
    return CompareNumbers(a, b, [](auto x, auto y) { return x < y; });
  }
  if (a.text() != nullptr && b.text() != nullptr) {
    VX_RETURN_IF_ERROR(meter.TextWork(std::min(a.text()->size(), b.text()->size())));
    return *a.text() < *b.text();  // the order of UTF-8 bytes is that of code points
  }
  const auto is_ordered = [](const Value& value) {
    return value.IsSequence(SequenceKind::kList) || value.IsSequence(SequenceKind::kTuple);
  };
  if (is_ordered(a) && is_ordered(b) && a.sequence()->kind == b.sequence()->kind) {
    const std::vector<Value>& x = a.sequence()->items;
    const std::vector<Value>& y = b.sequence()->items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      VX_ASSIGN_OR_RETURN(const bool equal, AreEqual(x[i], y[i], meter));
      if (!equal) return IsLess(x[i], y[i], meter);
    }
    return x.size() < y.size();
  }
  if (a.is_undefined()) return UndefinedError(a);
  if (b.is_undefined()) return UndefinedError(b);
  return InvalidArgument("expected values that have an order, found {} and {}", a.TypeName(),
                         b.TypeName());
}

Result<std::vector<Value>> ItemsOf(const Value& value, Meter& meter) {
  std::vector<Value> items;
  if (value.is_undefined()) return items;
  if (const Sequence* sequence = value.sequence()) {
    VX_RETURN_IF_ERROR(meter.Work(static_cast<int64_t>(sequence->items.size())));
    if (sequence->kind == SequenceKind::kIterator && std::exchange(sequence->consumed, true)) {
      return Unsupported(
          "an iterator (the result of map, select, reverse or the like) is read a second time: not "
          "supported; a |list behind it makes it a list");
    }
    VX_RETURN_IF_ERROR(meter.ValueBytes(sequence->items.size() * sizeof(Value)));
    return sequence->items;
  }
  if (const Dict* dict = value.dict()) {
    VX_RETURN_IF_ERROR(meter.Work(static_cast<int64_t>(dict->entries.size())));
    VX_RETURN_IF_ERROR(meter.ValueBytes(dict->entries.size() * sizeof(Value)));
    for (const Dict::Entry& entry : dict->entries) items.push_back(Value::FromShared(entry.key));
    return items;
  }
  if (const std::string* text = value.text()) {
    VX_RETURN_IF_ERROR(meter.Work(static_cast<int64_t>(text->size())));
    for (size_t at = 0; at < text->size();) {
      const size_t size = DecodeUtf8(*text, at).size;
      VX_ASSIGN_OR_RETURN(Value item, MakeText(text->substr(at, size), meter));
      items.push_back(std::move(item));
      at += size;
    }
    return items;
  }
  return InvalidArgument("expected something with items, found {}", value.TypeName());
}

}  // namespace vexact
