#include "chat/methods.h"

#include <algorithm>
#include <array>

#include "chat/text.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

constexpr auto kNone = std::string_view::npos;

Result<Value> TextList(const std::vector<std::string_view>& parts, Meter& meter) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) {
    VX_ASSIGN_OR_RETURN(Value item, MakeText(std::string(part), meter));
    items.push_back(std::move(item));
  }
  return MakeSequence(std::move(items), SequenceKind::kList, meter);
}

// Looking for `part` backwards compares it at every place.
Status BackwardWork(std::string_view text, std::string_view part, Meter& meter) {
  return meter.Work(1 + static_cast<int64_t>(text.size() * (1 + part.size()) / 64));
}

template <CutFrom kFrom>
Result<Value> Split(const std::string& text, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"sep", Value::FromNone()},
                                                          {"maxsplit", Value::FromInteger(-1)}}));
  VX_ASSIGN_OR_RETURN(const int64_t limit, IntegerArgument(values[1], "maxsplit"));
  VX_RETURN_IF_ERROR(meter.TextWork(text.size()));
  if (values[0].is_none()) return TextList(SplitAtWhitespace(text, limit, kFrom), meter);
  VX_ASSIGN_OR_RETURN(const std::string_view separator, TextArgument(values[0], "sep"));
  if (separator.empty()) return InvalidArgument("expected a separator, found \"\"");
  if (kFrom == CutFrom::kRight) VX_RETURN_IF_ERROR(BackwardWork(text, separator, meter));
  return TextList(SplitAt(text, separator, limit, kFrom), meter);
}

Result<Value> SplitLinesMethod(const std::string& text, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  VX_RETURN_IF_ERROR(meter.TextWork(text.size()));
  return TextList(SplitLines(text), meter);
}

template <Sides kSides>
Result<Value> StripMethod(const std::string& text, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"chars", Value::FromNone()}}));
  VX_RETURN_IF_ERROR(meter.TextWork(text.size()));
  if (values[0].is_none()) {
    return MakeText(std::string(Strip(text, std::nullopt, kSides)), meter);
  }
  VX_ASSIGN_OR_RETURN(const std::string_view characters, TextArgument(values[0], "chars"));
  VX_RETURN_IF_ERROR(meter.Work(static_cast<int64_t>(text.size() * characters.size() / 64)));
  return MakeText(std::string(Strip(text, characters, kSides)), meter);
}

template <bool kAtEnd>
bool HasAffix(std::string_view text, std::string_view affix) {
  return kAtEnd ? text.ends_with(affix) : text.starts_with(affix);
}

// startswith and endswith: of a text, or of any text of a tuple.
template <bool kAtEnd>
Result<Value> Affix(const std::string& text, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"affix", std::nullopt}}));
  if (!values[0].IsSequence(SequenceKind::kTuple)) {
    VX_ASSIGN_OR_RETURN(const std::string_view affix, TextArgument(values[0], "affix"));
    return Value::FromBool(HasAffix<kAtEnd>(text, affix));
  }
  for (const Value& item : values[0].sequence()->items) {
    VX_RETURN_IF_ERROR(meter.Work(1));
    VX_ASSIGN_OR_RETURN(const std::string_view affix, TextArgument(item, "affix"));
    if (HasAffix<kAtEnd>(text, affix)) return Value::FromBool(true);
  }
  return Value::FromBool(false);
}

template <bool kAtEnd>
Result<Value> RemoveAffix(const std::string& text, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"affix", std::nullopt}}));
  VX_ASSIGN_OR_RETURN(const std::string_view affix, TextArgument(values[0], "affix"));
  std::string_view rest = text;
  if (HasAffix<kAtEnd>(rest, affix)) {
    rest = rest.substr(kAtEnd ? 0 : affix.size(), rest.size() - affix.size());
  }
  return MakeText(std::string(rest), meter);
}

Result<Value> Replace(const std::string& text, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"old", std::nullopt},
                                                          {"new", std::nullopt},
                                                          {"count", Value::FromInteger(-1)}}));
  VX_ASSIGN_OR_RETURN(const std::string_view part, TextArgument(values[0], "old"));
  VX_ASSIGN_OR_RETURN(const std::string_view by, TextArgument(values[1], "new"));
  VX_ASSIGN_OR_RETURN(const int64_t count, IntegerArgument(values[2], "count"));
  VX_ASSIGN_OR_RETURN(std::string replaced, ReplaceText(text, part, by, count, meter));
  return MakeText(std::move(replaced), meter);
}

template <std::string (*kMap)(std::string_view)>
Result<Value> Mapped(const std::string& text, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  VX_RETURN_IF_ERROR(meter.Work(1 + static_cast<int64_t>(text.size() / 8)));
  return MakeText(kMap(text), meter);
}

template <bool (*kTest)(std::string_view)>
Result<Value> Tested(const std::string& text, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  VX_RETURN_IF_ERROR(meter.Work(1 + static_cast<int64_t>(text.size() / 8)));
  return Value::FromBool(kTest(text));
}

bool IsAsciiDigits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

bool IsOnlySpace(std::string_view text) {
  return !text.empty() && Strip(text, std::nullopt, Sides::kLeft).empty();
}

// The character's index of the first or last place, or -1.
template <bool kLast>
Result<Value> Find(const std::string& text, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"sub", std::nullopt}}));
  VX_ASSIGN_OR_RETURN(const std::string_view part, TextArgument(values[0], "sub"));
  VX_RETURN_IF_ERROR(kLast ? BackwardWork(text, part, meter) : meter.TextWork(text.size()));
  const size_t found = kLast ? text.rfind(part) : FindText(text, part, 0);
  if (found == kNone) return Value::FromInteger(-1);
  return Value::FromInteger(
      static_cast<int64_t>(CountCharacters(std::string_view(text).substr(0, found))));
}

Result<Value> CountInText(const std::string& text, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"sub", std::nullopt}}));
  VX_ASSIGN_OR_RETURN(const std::string_view part, TextArgument(values[0], "sub"));
  VX_RETURN_IF_ERROR(meter.TextWork(text.size()));
  if (part.empty()) return Value::FromInteger(static_cast<int64_t>(CountCharacters(text)) + 1);
  int64_t count = 0;
  for (size_t at = FindText(text, part, 0); at != kNone; ++count) {
    at = FindText(text, part, at + part.size());
  }
  return Value::FromInteger(count);
}

Result<Value> JoinMethod(const std::string& text, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"iterable", std::nullopt}}));
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, ItemsOf(values[0], meter));
  std::string joined;
  for (const Value& item : items) {
    VX_ASSIGN_OR_RETURN(const std::string_view part, TextArgument(item, "iterable"));
    VX_RETURN_IF_ERROR(meter.ValueBytes(part.size() + text.size()));
    if (&item != items.data()) joined += text;
    joined += part;
  }
  return MakeText(std::move(joined), meter);
}

Result<Value> DictItems(const Dict& dict, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  VX_RETURN_IF_ERROR(meter.Work(static_cast<int64_t>(dict.entries.size())));
  std::vector<Value> items;
  for (const Dict::Entry& entry : dict.entries) {
    VX_ASSIGN_OR_RETURN(Value item, MakeSequence({Value::FromShared(entry.key), entry.value},
                                                 SequenceKind::kTuple, meter));
    items.push_back(std::move(item));
  }
  return MakeSequence(std::move(items), SequenceKind::kView, meter);
}

template <bool kKeys>
Result<Value> DictPart(const Dict& dict, const Arguments& arguments, Meter& meter) {
  VX_RETURN_IF_ERROR(Bind(arguments, {}));
  VX_RETURN_IF_ERROR(meter.Work(static_cast<int64_t>(dict.entries.size())));
  std::vector<Value> items;
  for (const Dict::Entry& entry : dict.entries) {
    items.push_back(kKeys ? Value::FromShared(entry.key) : entry.value);
  }
  return MakeSequence(std::move(items), SequenceKind::kView, meter);
}

Result<Value> DictGet(const Dict& dict, const Arguments& arguments, Meter& /*meter*/) {
  VX_ASSIGN_OR_RETURN(const auto values,
                      Bind(arguments, {{"key", std::nullopt}, {"default", Value::FromNone()}}));
  const Value* found = values[0].text() ? dict.Find(*values[0].text()) : nullptr;
  return found != nullptr ? *found : values[1];
}

template <bool kFirstPlace>
Result<Value> SequenceFind(const Sequence& sequence, const Arguments& arguments, Meter& meter) {
  VX_ASSIGN_OR_RETURN(const auto values, Bind(arguments, {{"value", std::nullopt}}));
  int64_t count = 0;
  for (size_t i = 0; i < sequence.items.size(); ++i) {
    VX_ASSIGN_OR_RETURN(const bool equal, AreEqual(sequence.items[i], values[0], meter));
    if (equal && kFirstPlace) return Value::FromInteger(static_cast<int64_t>(i));
    count += equal ? 1 : 0;
  }
  if (kFirstPlace) return InvalidArgument("expected an item of the list, found another");
  return Value::FromInteger(count);
}

constexpr Method kMethods[] = {
    {.name = "capitalize", .on_text = Mapped<Capitalize>},
    {.name = "count", .on_text = CountInText, .on_sequence = SequenceFind<false>},
    {.name = "endswith", .on_text = Affix<true>},
    {.name = "find", .on_text = Find<false>},
    {.name = "get", .on_dict = DictGet},
    {.name = "index", .on_sequence = SequenceFind<true>},
    {.name = "isdigit", .on_text = Tested<IsAsciiDigits>},
    {.name = "islower", .on_text = Tested<IsLower>},
    {.name = "isspace", .on_text = Tested<IsOnlySpace>},
    {.name = "isupper", .on_text = Tested<IsUpper>},
    {.name = "items", .on_dict = DictItems},
    {.name = "join", .on_text = JoinMethod},
    {.name = "keys", .on_dict = DictPart<true>},
    {.name = "lower", .on_text = Mapped<Lower>},
    {.name = "lstrip", .on_text = StripMethod<Sides::kLeft>},
    {.name = "removeprefix", .on_text = RemoveAffix<false>},
    {.name = "removesuffix", .on_text = RemoveAffix<true>},
    {.name = "replace", .on_text = Replace},
    {.name = "rfind", .on_text = Find<true>},
    {.name = "rsplit", .on_text = Split<CutFrom::kRight>},
    {.name = "rstrip", .on_text = StripMethod<Sides::kRight>},
    {.name = "split", .on_text = Split<CutFrom::kLeft>},
    {.name = "splitlines", .on_text = SplitLinesMethod},
    {.name = "startswith", .on_text = Affix<false>},
    {.name = "strip", .on_text = StripMethod<Sides::kBoth>},
    {.name = "title", .on_text = Mapped<TitleMethod>},
    {.name = "upper", .on_text = Mapped<Upper>},
    {.name = "values", .on_dict = DictPart<false>},
};

constexpr std::array<std::string_view, 11> kDictAttributes = {
    "clear", "copy",    "fromkeys",   "get",    "items", "keys",
    "pop",   "popitem", "setdefault", "update", "values"};
constexpr std::array<std::string_view, 11> kListAttributes = {
    "append", "clear", "copy",   "count",   "extend", "index",
    "insert", "pop",   "remove", "reverse", "sort"};
constexpr std::array<std::string_view, 2> kTupleAttributes = {"count", "index"};
constexpr std::array<std::string_view, 47> kTextAttributes = {
    "capitalize",   "casefold",    "center",    "count",      "encode",       "endswith",
    "expandtabs",   "find",        "format",    "format_map", "index",        "isalnum",
    "isalpha",      "isascii",     "isdecimal", "isdigit",    "isidentifier", "islower",
    "isnumeric",    "isprintable", "isspace",   "istitle",    "isupper",      "join",
    "ljust",        "lower",       "lstrip",    "maketrans",  "partition",    "removeprefix",
    "removesuffix", "replace",     "rfind",     "rindex",     "rjust",        "rpartition",
    "rsplit",       "rstrip",      "split",     "splitlines", "startswith",   "strip",
    "swapcase",     "title",       "translate", "upper",      "zfill"};

}  // namespace

const Method* FindMethod(std::string_view name) {
  const auto* const found = std::ranges::find(kMethods, name, &Method::name);
  return found == std::end(kMethods) ? nullptr : found;
}

bool HasPythonAttribute(const Value& object, std::string_view name) {
  const auto contains = [name](const auto& names) {
    return std::ranges::find(names, name) != names.end();
  };
  if (object.text() != nullptr) return contains(kTextAttributes);
  if (object.dict() != nullptr) return contains(kDictAttributes);
  if (object.IsSequence(SequenceKind::kList)) return contains(kListAttributes);
  if (object.IsSequence(SequenceKind::kTuple)) return contains(kTupleAttributes);
  return false;
}

}  // namespace vexact
