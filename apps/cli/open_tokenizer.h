// The tokenizer of a model alone, for `tokenize`.
#ifndef VEXACT_CLI_OPEN_TOKENIZER_H_
#define VEXACT_CLI_OPEN_TOKENIZER_H_

#include <memory>
#include <string>

#include "base/result.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

// `path` is a GGUF file, a model directory, or a directory with nothing but tokenizer.json.
// No weights are read. Errors: no tokenizer there, or a tokenizer that is not understood.
Result<std::shared_ptr<const Tokenizer>> OpenTokenizer(const std::string& path);

}  // namespace vexact

#endif  // VEXACT_CLI_OPEN_TOKENIZER_H_
