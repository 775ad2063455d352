// What a tokenizer is made of, however its file wrote it down.
#ifndef VEXACT_TOKENIZER_TOKENIZER_PARTS_H_
#define VEXACT_TOKENIZER_TOKENIZER_PARTS_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/split.h"
#include "tokenizer/token_table.h"

namespace vexact {

struct TokenizerParts {
  TokenTable tokens;  // added tokens included
  std::vector<BpeMerge> merges;
  bool ignore_merges = false;  // a word that is a token is that token
  std::optional<int32_t> unknown_id;
  std::vector<AddedToken> added_tokens;
  bool nfc = false;
  std::vector<Splitter> splitters;  // each cuts the pieces of the one before
  std::vector<int32_t> prefix, suffix;
  std::optional<int32_t> bos_id, eos_id;
  std::vector<int32_t> stop_ids;
};

// The merge of two tokens' texts into the token of the joined text; an error names what is no
// token.
Result<BpeMerge> MakeMerge(const TokenTable& tokens, std::string_view left, std::string_view right);

// The merge written as "left right".
Result<BpeMerge> ParseMerge(const TokenTable& tokens, std::string_view line);

}  // namespace vexact

#endif  // VEXACT_TOKENIZER_TOKENIZER_PARTS_H_
