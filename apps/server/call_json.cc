#include "server/call_json.h"

#include <array>
#include <limits>
#include <utility>

#include "checkpoint/json_fields.h"
#include "common/chat_prompt.h"
#include "common/request_json.h"
#include "server/error_response.h"

namespace vexact {
namespace {

using nlohmann::json;

// What makes a chat's prompt, beside "tool_choice".
constexpr std::array<const char*, 4> kChatFields{"messages", "tools", "chat_template_kwargs",
                                                 "add_generation_prompt"};

bool IsIntegerList(const json& value) {
  return value.is_array() && !value.empty() && value[0].is_number_integer();
}

// A text, or a list of token ids.
Status SetPrompt(const json& prompt, std::string_view field, Request& request) {
  if (prompt.is_string()) {
    request.prompt = prompt.get<std::string>();
    return {};
  }
  constexpr std::string_view kExpected = "a text or a list of token ids, or a list of either";
  if (!prompt.is_array()) return FieldError(field, kExpected, prompt);
  std::vector<int32_t> ids;
  ids.reserve(prompt.size());
  for (const json& id : prompt) {
    const bool good =
        id.is_number_unsigned() && id.get<uint64_t>() <= std::numeric_limits<int32_t>::max();
    if (!good) return FieldError(field, kExpected, id);
    ids.push_back(id.get<int32_t>());
  }
  request.prompt_token_ids = std::move(ids);
  return {};
}

// "auto" and "none" are what a server that does not parse calls can mean: a call is in the answer's
// text; "none" keeps the tools out of the prompt, so that the model knows of none to call.
Status TakeToolChoice(json& object, ChatInput& chat) {
  const std::optional<json> choice = Take(object, "tool_choice");
  if (!choice || *choice == "auto") return {};
  if (*choice != "none") {
    return Unsupported("{}: \"tool_choice\": expected \"auto\" or \"none\", found {}", kBodyName,
                       ShortDump(*choice));
  }
  chat.tools = Value::FromNone();
  return {};
}

}  // namespace

Error FieldError(std::string_view field, std::string_view expected, const json& found) {
  return InvalidArgument("{}: \"{}\": expected {}, found {}", kBodyName, field, expected,
                         ShortDump(found));
}

Result<json> ParseBody(const std::string& body) {
  VX_ASSIGN_OR_RETURN(json object, ParseJsonObject(body, kBodyName));
  EraseNulls(object);
  return object;
}

void EraseNulls(json& object) {
  for (auto it = object.begin(); it != object.end();) {
    it = it->is_null() ? object.erase(it) : std::next(it);
  }
}

std::optional<json> Take(json& object, std::string_view key) {
  const auto it = object.find(std::string(key));
  if (it == object.end()) return std::nullopt;
  std::optional<json> value = std::move(*it);
  object.erase(it);
  return value;
}

Result<bool> TakeBool(json& object, std::string_view key, bool absent) {
  const std::optional<json> value = Take(object, key);
  if (!value) return absent;
  if (!value->is_boolean()) return FieldError(key, "true or false", *value);
  return value->get<bool>();
}

Result<std::optional<int32_t>> TakeInteger(json& object, std::string_view key) {
  constexpr IntegerRange kInt32{std::numeric_limits<int32_t>::min(),
                                std::numeric_limits<int32_t>::max()};
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> number,
                      JsonFields(object, kBodyName, "").OptionalInteger(key, kInt32));
  object.erase(std::string(key));
  if (!number) return std::optional<int32_t>();
  return std::optional<int32_t>(static_cast<int32_t>(*number));
}

Status TakeModel(json& object, const CallContext& context) {
  const std::optional<json> model = Take(object, "model");
  if (!model) return {};
  if (!model->is_string()) return FieldError("model", "a string", *model);
  if (model->get<std::string>() == context.model_name) return {};
  return NotFound("{}: \"model\": expected \"{}\", found {}", kBodyName, context.model_name,
                  ShortDump(*model));
}

Result<std::vector<Request>> WithPrompts(const Request& request, const json& prompt,
                                         std::string_view field, const CallContext& context,
                                         bool* is_batch) {
  *is_batch = prompt.is_array() && !IsIntegerList(prompt);
  const json prompts = *is_batch ? prompt : json::array({prompt});
  if (prompts.empty() || prompts.size() > static_cast<size_t>(context.max_prompts)) {
    return InvalidArgument("{}: \"{}\": expected 1 to {} prompts, found {}", kBodyName, field,
                           context.max_prompts, prompts.size());
  }
  std::vector<Request> requests(prompts.size(), request);
  for (size_t i = 0; i < prompts.size(); ++i) {
    VX_RETURN_IF_ERROR(SetPrompt(prompts[i], field, requests[i]));
  }
  return requests;
}

FieldNames NamesOfPrompt(const std::string& field) {
  return {{"prompt", field}, {"prompt_token_ids", field}};
}

void DrawUnseen(SamplingParams& sampling) {
  sampling.max_tokens = 1;
  sampling.ignore_eos = true;
  sampling.stop.clear();
  sampling.stop_token_ids.clear();
}

Status CheckChats(const CallContext& context) {
  const bool has_both = context.tokenizer != nullptr && context.chat_template != nullptr;
  if (has_both && context.chat_template->ok()) return {};
  return Unsupported(
      "{}: \"messages\": expected a model with a chat template, found none{}; use /v1/completions",
      kBodyName, has_both ? fmt::format(" ({})", context.chat_template->error().message) : "");
}

Result<std::vector<int32_t>> TakeChatPrompt(const std::string& body, json& object,
                                            const CallContext& context) {
  VX_RETURN_IF_ERROR(CheckChats(context));
  VX_ASSIGN_OR_RETURN(std::optional<ChatInput> chat, ReadChat(body, object, kBodyName));
  if (!chat) {
    return InvalidArgument("{}: \"messages\": expected a list of messages, found none", kBodyName);
  }
  VX_RETURN_IF_ERROR(TakeToolChoice(object, *chat));
  for (const char* name : kChatFields) object.erase(name);
  chat->now = LocalTime();
  Result<std::vector<int32_t>> ids = EncodeChat(*context.chat_template, *chat, context.tokenizer);
  // A template says what it does not like of the messages (raise_exception) without naming a field.
  if (ids.ok() || !ids.error().message.starts_with("chat template")) return ids;
  return MakeError(ids.error().code, "{}: \"messages\": {}", kBodyName, ids.error().message);
}

Status CheckLogprobs(std::string_view field, std::optional<int32_t> k, const CallContext& context) {
  if (!k || (*k >= 0 && *k <= context.max_logprobs)) return {};
  return InvalidArgument("{}: \"{}\": expected 0 to {} (--max-logprobs), found {}", kBodyName,
                         field, context.max_logprobs, *k);
}

Result<Request> ReadSamplingRequest(json object, const CallContext& context) {
  for (const char* name : {"prompt", "prompt_token_ids"}) {
    if (!object.contains(name)) continue;
    return InvalidArgument("{}: \"{}\": expected the prompt in the endpoint's own field", kBodyName,
                           name);
  }
  for (const char* name : kChatFields) {
    if (!object.contains(name)) continue;
    return InvalidArgument("{}: \"{}\": expected in chats (/v1/chat/completions) only", kBodyName,
                           name);
  }
  object["prompt_token_ids"] = json::array();  // the prompts follow
  VX_ASSIGN_OR_RETURN(ParsedRequest parsed,
                      ReadRequest(object, RequestKind::kGenerate, context.defaults, kBodyName));
  parsed.request.prompt_token_ids.reset();
  VX_RETURN_IF_ERROR(
      CheckLogprobs("prompt_logprobs", parsed.request.sampling.prompt_logprobs, context));
  return std::move(parsed.request);
}

}  // namespace vexact
