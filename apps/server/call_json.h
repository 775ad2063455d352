// What the readers of bodies share; for .cc files of this folder, since it brings in nlohmann/json.
#ifndef VEXACT_SERVER_CALL_JSON_H_
#define VEXACT_SERVER_CALL_JSON_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "request/request.h"
#include "server/api_call.h"

namespace vexact {

// The body's object; a null field counts as not said and is left out.
Result<nlohmann::json> ParseBody(const std::string& body);

void EraseNulls(nlohmann::json& object);

// Takes a field out of the object: its value, or nothing.
std::optional<nlohmann::json> Take(nlohmann::json& object, std::string_view key);
// A field that is true or false, or `absent`.
Result<bool> TakeBool(nlohmann::json& object, std::string_view key, bool absent);
Result<std::optional<int32_t>> TakeInteger(nlohmann::json& object, std::string_view key);

// Takes "model" out: kNotFound if it names another one than the context's.
Status TakeModel(nlohmann::json& object, const CallContext& context);

// Copies of `request`, one for each prompt: a text or a list of token ids, or a list of either;
// `is_batch` says whether it was such a list. `field` names the prompt in errors.
Result<std::vector<Request>> WithPrompts(const Request& request, const nlohmann::json& prompt,
                                         std::string_view field, const CallContext& context,
                                         bool* is_batch);

// Of errors, where the body's `field` is the prompt.
FieldNames NamesOfPrompt(const std::string& field);

// For an answer of no tokens: one is drawn, since the engine has to, which ends the answer by its
// length, and is not shown (AnswerOptions::hides_output).
void DrawUnseen(SamplingParams& sampling);

// Takes a chat's fields out ("messages", "tools", "chat_template_kwargs", ...) and makes its prompt
// of them. `body` is the text that `object` was read from.
Result<std::vector<int32_t>> TakeChatPrompt(const std::string& body, nlohmann::json& object,
                                            const CallContext& context);

// Reports of log-probabilities are at most the context's long.
Status CheckLogprobs(std::string_view field, std::optional<int32_t> k, const CallContext& context);

// The sampling parameters that are left in a body, without a prompt.
Result<Request> ReadSamplingRequest(nlohmann::json object, const CallContext& context);

Error FieldError(std::string_view field, std::string_view expected, const nlohmann::json& found);

}  // namespace vexact

#endif  // VEXACT_SERVER_CALL_JSON_H_
