// Chat templates to their AST.
#ifndef VEXACT_CHAT_PARSER_H_
#define VEXACT_CHAT_PARSER_H_

#include <string_view>

#include "base/result.h"
#include "chat/ast.h"

namespace vexact {

// Parses a whole template. Errors begin with "line N: "; what Jinja has and this does not is
// refused by name (kUnsupported). Requires: source is valid UTF-8.
Result<Block> ParseTemplate(std::string_view source);

}  // namespace vexact

#endif  // VEXACT_CHAT_PARSER_H_
