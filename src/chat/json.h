// JSON to values and back: what a chat template is given, and its filter tojson.
#ifndef VEXACT_CHAT_JSON_H_
#define VEXACT_CHAT_JSON_H_

#include <string>
#include <string_view>

#include "chat/meter.h"
#include "chat/value.h"

namespace vexact {

// The value in `text`: keys keep their order (one that comes twice keeps its first place and last
// value, as in Python), integers stay integers. Errors begin with `where`; they are text that is
// not JSON, integers beyond 64 bits, and nesting over kMaxValueDepth.
Result<Value> ParseChatJson(std::string_view text, const std::string& where);

struct JsonStyle {
  std::string indent = {};  // of one level
  bool has_lines = false;   // with `indent`: every item on a line of its own
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool ensure_ascii = false;
  bool sort_keys = false;
};

// Python's json.dumps. Error: a value that JSON does not have, as an undefined one.
Result<std::string> WriteChatJson(const Value& value, const JsonStyle& style, Meter& meter);

}  // namespace vexact

#endif  // VEXACT_CHAT_JSON_H_
