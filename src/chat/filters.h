// Filters: {{ value | name(arguments) }}, as Jinja defines them and (tojson) transformers.
//
// What Jinja yields lazily is made at once here. `safe` does nothing: there is no HTML escaping in
// chat templates, and none in a text that was marked safe when it is joined to another.
#ifndef VEXACT_CHAT_FILTERS_H_
#define VEXACT_CHAT_FILTERS_H_

#include <string_view>

#include "chat/arguments.h"
#include "chat/value.h"

namespace vexact {

using Filter = Result<Value> (*)(const Value& input, const Arguments& arguments, Meter& meter);

// Null if there is none of this name here.
Filter FindFilter(std::string_view name);

// The filters by subject; each file has its own table.
Filter FindTextFilter(std::string_view name);
Filter FindSequenceFilter(std::string_view name);
Filter FindSelectionFilter(std::string_view name);

}  // namespace vexact

#endif  // VEXACT_CHAT_FILTERS_H_
