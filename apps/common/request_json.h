// Requests as JSON lines, in the words of vLLM and OpenAI. Strict: every field is known, has its
// type, and appears once; what is wrong is named.
#ifndef VEXACT_COMMON_REQUEST_JSON_H_
#define VEXACT_COMMON_REQUEST_JSON_H_

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "chat/chat_template.h"
#include "request/request.h"

namespace vexact {

enum class RequestKind {
  kGenerate,
  kScore,  // also takes "completion" or "completion_token_ids", and needs one of them
};

struct ParsedRequest {
  Request request;
  // A chat, instead of a prompt ("messages", "tools", "chat_template_kwargs",
  // "add_generation_prompt"): its template makes the prompt. Without a time.
  std::optional<ChatInput> chat = {};
  // Text whose log-probabilities are asked for; absent when the line gave its token ids.
  std::optional<std::string> completion = {};
};

// Parses one line, starting from `defaults` for what it does not say; a null field counts as not
// said. Ranges that need a vocabulary or several fields are left to the engine.
// Errors begin with `where` ("line 3") and name field, expected and found.
Result<ParsedRequest> ParseRequest(std::string_view line, RequestKind kind,
                                   const SamplingParams& defaults, const std::string& where);

// The same from an object that ParseJsonObject gave, but for what only a line's text tells: `chat`.
Result<ParsedRequest> ReadRequest(const nlohmann::json& object, RequestKind kind,
                                  const SamplingParams& defaults, const std::string& where);

// That chat: of a line and its object; none without "messages". Reads the text again: the keys of
// what a template writes out have to keep their order, which a `json` loses.
Result<std::optional<ChatInput>> ReadChat(std::string_view line, const nlohmann::json& object,
                                          const std::string& where);

// "raw_logprobs" or "processed_logprobs".
Result<LogprobsMode> ParseLogprobsMode(std::string_view name);

// {"prompt": TEXT} or, when decoding, {"prompt_token_ids": [...]}: what `tokenize` reads.
Result<std::string> ParsePromptLine(std::string_view line, const std::string& where);
Result<std::vector<int32_t>> ParseTokenIdsLine(std::string_view line, const std::string& where);

}  // namespace vexact

#endif  // VEXACT_COMMON_REQUEST_JSON_H_
