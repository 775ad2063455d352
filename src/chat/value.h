// Value: what a chat template computes with. The kinds, and what operators do with them, are
// Python's, since templates were written for Jinja. Values are immutable and cheap to copy: text,
// sequences and dicts are shared. Nothing refers to itself: a namespace, which can be assigned to,
// is a number that the interpreter knows.
#ifndef VEXACT_CHAT_VALUE_H_
#define VEXACT_CHAT_VALUE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "chat/meter.h"

namespace vexact {

struct MacroStatement;  // ast.h
class Value;

using SharedText = std::shared_ptr<const std::string>;

// What a name or attribute is that is not there. It prints as nothing; most other uses fail with
// `reason`.
struct Undefined {
  SharedText reason;
};

struct None {};

enum class SequenceKind {
  kList,
  kTuple,
  kRange,     // what range() gives
  kView,      // what dict.items(), keys() and values() give: neither indexed nor printed
  kIterator,  // what map, select, reverse and their like give: always true, without a length
};

struct Sequence {
  SequenceKind kind = SequenceKind::kList;
  int depth = 1;  // 1 + the deepest item's
  std::vector<Value> items;
  // An iterator is empty when it is read again; it is an error here, so that no prompt depends on
  // how much of it the first reader took.
  mutable bool consumed = false;
};

// Insertion order, as in Python.
struct Dict {
  struct Entry;
  std::vector<Entry> entries;
  std::map<std::string_view, size_t> places;  // of keys in entries; views of the shared keys
  int depth = 1;

  const Value* Find(std::string_view key) const;
  void Set(SharedText key, Value value);  // a key that is there keeps its place
};

struct NamespaceReference {
  size_t index = 0;
};

// A macro of the template, or (null) a function or method that the interpreter knows by name. Only
// macros can be called through a value.
struct Callable {
  const MacroStatement* macro = nullptr;
};

class Value {
 public:
  using Variant = std::variant<Undefined, None, bool, int64_t, double, SharedText,
                               std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>,
                               NamespaceReference, Callable>;

  Value() = default;  // undefined, without a reason
  explicit Value(Variant variant) : variant_(std::move(variant)) {}
  static Value FromBool(bool value) { return Value(Variant(value)); }
  static Value FromInteger(int64_t value) { return Value(Variant(value)); }
  static Value FromFloat(double value) { return Value(Variant(value)); }
  static Value FromText(std::string text) {
    return Value(Variant(std::make_shared<const std::string>(std::move(text))));
  }
  static Value FromShared(SharedText text) { return Value(Variant(std::move(text))); }
  static Value FromNone() { return Value(Variant(None())); }
  static Value FromUndefined(std::string reason) {
    return Value(Variant(Undefined{std::make_shared<const std::string>(std::move(reason))}));
  }
  // Without limits, for values that the program makes itself.
  static Value FromDict(Dict dict) {
    return Value(Variant(std::make_shared<const Dict>(std::move(dict))));
  }
  static Value FromList(std::vector<Value> items);

  bool is_undefined() const { return std::holds_alternative<Undefined>(variant_); }
  bool is_none() const { return std::holds_alternative<None>(variant_); }

  // Null if it is of another kind.
  const bool* boolean() const { return std::get_if<bool>(&variant_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&variant_); }  // not a boolean
  const double* floating() const { return std::get_if<double>(&variant_); }
  const std::string* text() const {
    const SharedText* text = std::get_if<SharedText>(&variant_);
    return text == nullptr ? nullptr : text->get();
  }
  const Sequence* sequence() const {
    const auto* sequence = std::get_if<std::shared_ptr<const Sequence>>(&variant_);
    return sequence == nullptr ? nullptr : sequence->get();
  }
  const Dict* dict() const {
    const auto* dict = std::get_if<std::shared_ptr<const Dict>>(&variant_);
    return dict == nullptr ? nullptr : dict->get();
  }
  const Variant& variant() const { return variant_; }

  bool IsSequence(SequenceKind kind) const {
    return sequence() != nullptr && sequence()->kind == kind;
  }
  bool IsNumber() const { return boolean() || integer() || floating(); }
  // Booleans and integers, as Python counts with them.
  std::optional<int64_t> AsInteger() const;
  // Every number.
  std::optional<double> AsFloat() const;

  bool IsTrue() const;
  int depth() const;  // 0 for what holds no values
  // Python's name of its type: "str", "NoneType".
  std::string_view TypeName() const;

 private:
  Variant variant_;
};

struct Dict::Entry {
  SharedText key;
  Value value;
};

// Deepest nesting of values: they are compared, printed and freed by recursion.
inline constexpr int kMaxValueDepth = 64;

// Values made while rendering are paid for; an error says what ran out.
Result<Value> MakeText(std::string text, Meter& meter);
Result<Value> MakeSequence(std::vector<Value> items, SequenceKind kind, Meter& meter);
Result<Value> MakeDict(Dict dict, Meter& meter);

// "'x' is undefined", the error of an operation that needs more than an undefined value.
Error UndefinedError(const Value& undefined);

// Python's ==. Work is paid for every element looked at.
Result<bool> AreEqual(const Value& a, const Value& b, Meter& meter);
// Python's <: numbers, texts (by code point) and sequences of those. Error: others.
Result<bool> IsLess(const Value& a, const Value& b, Meter& meter);

// What a loop over it sees: items, a dict's keys, a text's characters; nothing if it is undefined.
// An iterator is consumed. Error: a kind without items.
Result<std::vector<Value>> ItemsOf(const Value& value, Meter& meter);

}  // namespace vexact

#endif  // VEXACT_CHAT_VALUE_H_
