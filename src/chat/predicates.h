// Tests: {% if value is name(arguments) %}, as Jinja defines them.
#ifndef VEXACT_CHAT_PREDICATES_H_
#define VEXACT_CHAT_PREDICATES_H_

#include <string_view>

#include "chat/arguments.h"
#include "chat/value.h"

namespace vexact {

using Predicate = Result<bool> (*)(const Value& value, const Arguments& arguments, Meter& meter);

// Null if there is none of this name here.
Predicate FindPredicate(std::string_view name);

}  // namespace vexact

#endif  // VEXACT_CHAT_PREDICATES_H_
