// /tokenize and /detokenize, in vLLM's words.
#ifndef VEXACT_SERVER_TEXT_ENDPOINTS_H_
#define VEXACT_SERVER_TEXT_ENDPOINTS_H_

#include <string>

#include "base/result.h"
#include "server/api_call.h"

namespace vexact {

// {"model", "prompt", "add_special_tokens", "return_token_strs"}, or a chat's fields instead of the
// prompt (its template writes special tokens), to
// {"count", "max_model_len", "tokens", "token_strs"}.
Result<std::string> TokenizeAnswer(const std::string& body, const CallContext& context);

// {"model", "tokens"} to {"prompt"}.
Result<std::string> DetokenizeAnswer(const std::string& body, const CallContext& context);

}  // namespace vexact

#endif  // VEXACT_SERVER_TEXT_ENDPOINTS_H_
