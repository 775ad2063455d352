// Tokens and their log-probabilities as the APIs' JSON; appended, as in common/request_result.h.
#ifndef VEXACT_SERVER_TOKEN_JSON_H_
#define VEXACT_SERVER_TOKEN_JSON_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "request/request.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

// A token as a text of its own, different for every token: its characters; OpenAI's
// `bytes:\xe2\x80` if they are part of a character; `token_id:7` without a tokenizer or a token.
std::string TokenName(const Tokenizer* tokenizer, int32_t id);

// What the token adds to a text; "" if it is none.
std::string_view BytesOfToken(const Tokenizer* tokenizer, int32_t id);

// The shortest decimal with the same fp32 word; -inf is -9999.0, as in vLLM, since JSON has none.
void AppendLogprob(float logprob, std::string& json);

// {NAME: LOGPROB, ...} of the token and its top list, as /v1/completions has it.
void AppendTopObject(const Tokenizer* tokenizer, const TokenLogprob& token, std::string& json);

// vLLM's {"ID": {"logprob", "rank", "decoded_token"}, ...} of the token and its top list.
void AppendPromptLogprob(const Tokenizer* tokenizer, const TokenLogprob& token, std::string& json);

// {"token", "logprob", "bytes", "top_logprobs": [...]}, as chats have it.
void AppendChatLogprob(const Tokenizer* tokenizer, const TokenLogprob& token, std::string& json);

// SGLang's [LOGPROB, ID, TEXT]: none is null; so is the text where `texts` is.
void AppendSglangLogprob(const Tokenizer* texts, std::optional<float> logprob, int32_t id,
                         std::string& json);

}  // namespace vexact

#endif  // VEXACT_SERVER_TOKEN_JSON_H_
