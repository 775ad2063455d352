// Methods of Python's str, dict, list and tuple that change nothing.
#ifndef VEXACT_CHAT_METHODS_H_
#define VEXACT_CHAT_METHODS_H_

#include <string_view>

#include "chat/arguments.h"
#include "chat/value.h"

namespace vexact {

// What a method name does on each type; null where the type has no such method.
struct Method {
  using OnText = Result<Value> (*)(const std::string& text, const Arguments& arguments,
                                   Meter& meter);
  using OnDict = Result<Value> (*)(const Dict& dict, const Arguments& arguments, Meter& meter);
  using OnSequence = Result<Value> (*)(const Sequence& sequence, const Arguments& arguments,
                                       Meter& meter);
  std::string_view name;
  OnText on_text = nullptr;
  OnDict on_dict = nullptr;
  OnSequence on_sequence = nullptr;
};

// Null if no type has one of this name here.
const Method* FindMethod(std::string_view name);

// Whether Python's type of `object` has an attribute of this name, supported here or not: it hides
// a dict's value under the same key.
bool HasPythonAttribute(const Value& object, std::string_view name);

}  // namespace vexact

#endif  // VEXACT_CHAT_METHODS_H_
