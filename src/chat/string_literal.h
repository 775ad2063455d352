// Escapes of string literals in templates.
#ifndef VEXACT_CHAT_STRING_LITERAL_H_
#define VEXACT_CHAT_STRING_LITERAL_H_

#include <string>
#include <string_view>

#include "base/result.h"

namespace vexact {

// What Python's codec unicode-escape makes of the text between the quotes: \n, \\, \x41, \u00e9,
// \U0001f600, \101 and the like; a backslash before another character stays. Error: a broken
// escape, a surrogate, \N{...}. Requires: valid UTF-8.
Result<std::string> UnescapeString(std::string_view literal);

}  // namespace vexact

#endif  // VEXACT_CHAT_STRING_LITERAL_H_
