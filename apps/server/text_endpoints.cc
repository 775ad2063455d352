#include "server/text_endpoints.h"

#include <utility>

#include "common/request_json.h"
#include "common/request_result.h"
#include "server/call_json.h"
#include "server/error_response.h"

namespace vexact {
namespace {

using nlohmann::json;

Result<json> ParseTextBody(const std::string& body, const CallContext& context) {
  VX_ASSIGN_OR_RETURN(json object, ParseBody(body));
  VX_RETURN_IF_ERROR(TakeModel(object, context));
  if (context.tokenizer == nullptr) {
    return Unsupported("{}: expected a model with a tokenizer, found none", kBodyName);
  }
  return object;
}

// Of a prompt or, with "messages", a chat.
Result<std::vector<int32_t>> TakeIds(const std::string& body, json object,
                                     const CallContext& context) {
  if (object.contains("messages")) {
    VX_ASSIGN_OR_RETURN(std::vector<int32_t> ids, TakeChatPrompt(body, object, context));
    if (object.empty()) return ids;
    return InvalidArgument("{}: \"{}\": expected a chat's fields alone", kBodyName,
                           object.begin().key());
  }
  VX_ASSIGN_OR_RETURN(const bool add_special_tokens, TakeBool(object, "add_special_tokens", true));
  if (!object.contains("prompt")) {
    return InvalidArgument("{}: \"prompt\": expected a text, found none", kBodyName);
  }
  VX_ASSIGN_OR_RETURN(const std::string prompt, ParsePromptLine(object.dump(), kBodyName));
  return context.tokenizer->Encode(prompt, {.add_special_tokens = add_special_tokens});
}

}  // namespace

Result<std::string> TokenizeAnswer(const std::string& body, const CallContext& context) {
  VX_ASSIGN_OR_RETURN(json object, ParseTextBody(body, context));
  VX_ASSIGN_OR_RETURN(const bool with_texts, TakeBool(object, "return_token_strs", false));
  VX_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, TakeIds(body, std::move(object), context));
  std::string answer = fmt::format("{{\"count\":{},\"max_model_len\":{},\"tokens\":", ids.size(),
                                   context.max_model_len);
  AppendJsonIds(ids, answer);
  answer += ",\"token_strs\":";
  if (!with_texts) return answer + "null}";
  answer += '[';
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) answer += ',';
    AppendJsonString(context.tokenizer->TokenText(ids[i]), answer);
  }
  return answer + "]}";
}

Result<std::string> DetokenizeAnswer(const std::string& body, const CallContext& context) {
  VX_ASSIGN_OR_RETURN(json object, ParseTextBody(body, context));
  std::optional<json> tokens = Take(object, "tokens");
  if (!tokens) return InvalidArgument("{}: \"tokens\": expected token ids, found none", kBodyName);
  if (!object.empty()) {
    return InvalidArgument("{}: \"{}\": unknown field", kBodyName, object.begin().key());
  }
  const auto ids =
      ParseTokenIdsLine(json::object({{"prompt_token_ids", *tokens}}).dump(), kBodyName);
  if (!ids.ok()) return InBodysWords(ids.error(), {{"prompt_token_ids", "tokens"}});
  const auto text = context.tokenizer->Decode(*ids, /*skip_special_tokens=*/false);
  if (!text.ok()) return MakeError(text.error().code, "tokens: {}", text.error().message);
  std::string answer = "{\"prompt\":";
  AppendJsonString(*text, answer);
  return answer + "}";
}

}  // namespace vexact
