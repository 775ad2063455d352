#include "tokenizer/tokenizer_parts.h"

#include <string>

namespace vexact {

Result<BpeMerge> MakeMerge(const TokenTable& tokens, std::string_view left,
                           std::string_view right) {
  const std::string joined = std::string(left) + std::string(right);
  const std::optional<int32_t> left_id = tokens.FindText(left);
  const std::optional<int32_t> right_id = tokens.FindText(right);
  const std::optional<int32_t> joined_id = tokens.FindText(joined);
  if (!left_id || !right_id || !joined_id) {
    const std::string_view missing = !left_id ? left : !right_id ? right : joined;
    return InvalidArgument("merge of \"{}\" and \"{}\": expected tokens, but \"{}\" is none", left,
                           right, missing);
  }
  return BpeMerge{*left_id, *right_id, *joined_id};
}

Result<BpeMerge> ParseMerge(const TokenTable& tokens, std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    return InvalidArgument("merge \"{}\": expected two tokens with one space between", line);
  }
  return MakeMerge(tokens, line.substr(0, space), line.substr(space + 1));
}

}  // namespace vexact
