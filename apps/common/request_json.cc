#include "common/request_json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "chat/json.h"
#include "checkpoint/json_fields.h"

namespace vexact {
namespace {

using nlohmann::json;

constexpr IntegerRange kInt32{std::numeric_limits<int32_t>::min(),
                              std::numeric_limits<int32_t>::max()};
constexpr IntegerRange kInt64{std::numeric_limits<int64_t>::min(),
                              std::numeric_limits<int64_t>::max()};
constexpr IntegerRange kTokenId{0, std::numeric_limits<int32_t>::max()};

// Known elsewhere, here in a later time: (field, what it is).
constexpr std::array<std::pair<std::string_view, std::string_view>, 35> kLaterFields{{
    {"tool_choice", "tool calls"},
    {"parallel_tool_calls", "tool calls"},
    {"functions", "tool calls"},
    {"function_call", "tool calls"},
    {"response_format", "structured output"},
    {"structured_outputs", "structured output"},
    {"guided_json", "structured output"},
    {"guided_regex", "structured output"},
    {"guided_choice", "structured output"},
    {"guided_grammar", "structured output"},
    {"guided_decoding", "structured output"},
    {"best_of", "best-of sampling"},
    {"use_beam_search", "beam search"},
    {"beam_width", "beam search"},
    {"beams", "beam search"},
    {"num_beams", "beam search"},
    {"length_penalty", "beam search"},
    {"early_stopping", "beam search"},
    {"lora", "LoRA adapters"},
    {"lora_request", "LoRA adapters"},
    {"lora_name", "LoRA adapters"},
    {"lora_path", "LoRA adapters"},
    {"adapter", "LoRA adapters"},
    {"chat_template", "a chat template in a request"},
    {"suffix", "infilling"},
    {"echo", "echoing the prompt"},
    {"stream", "streaming by request"},
    {"stream_options", "streaming by request"},
    {"model", "choosing a model by request"},
    {"priority", "priorities"},
    {"truncate_prompt_tokens", "truncation"},
    {"prompt_embeds", "prompt embeddings"},
    {"multi_modal_data", "other media than text"},
    {"logits_processors", "logits processors"},
    {"thinking_token_budget", "thinking budgets"},
}};

// What some clients send of them always: nothing is asked for.
constexpr std::array<std::pair<std::string_view, const char*>, 3> kNothingAsked{{
    {"response_format", R"({"type": "text"})"},
    {"use_beam_search", "false"},
    {"priority", "0"},
}};

constexpr std::array<std::string_view, 31> kFields{"prompt",
                                                   "prompt_token_ids",
                                                   "messages",
                                                   "tools",
                                                   "chat_template_kwargs",
                                                   "add_generation_prompt",
                                                   "max_tokens",
                                                   "min_tokens",
                                                   "temperature",
                                                   "top_p",
                                                   "top_k",
                                                   "min_p",
                                                   "seed",
                                                   "n",
                                                   "stop",
                                                   "stop_token_ids",
                                                   "ignore_eos",
                                                   "skip_special_tokens",
                                                   "detokenize",
                                                   "include_stop_str_in_output",
                                                   "logprobs",
                                                   "prompt_logprobs",
                                                   "presence_penalty",
                                                   "frequency_penalty",
                                                   "logit_bias",
                                                   "repetition_penalty",
                                                   "allowed_token_ids",
                                                   "bad_words",
                                                   "prefix_len",
                                                   "document_ids",
                                                   "cache_salt"};
constexpr std::array<std::string_view, 2> kScoreFields{"completion", "completion_token_ids"};

template <size_t kCount>
bool Contains(const std::array<std::string_view, kCount>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool AsksForNothing(const std::string& name, const json& value) {
  return std::ranges::any_of(kNothingAsked, [&](const auto& nothing) {
    return nothing.first == name && json::parse(nothing.second) == value;
  });
}

Status CheckFieldNames(const json& object, RequestKind kind, const std::string& where) {
  for (const auto& item : object.items()) {
    const std::string& name = item.key();
    if (Contains(kFields, name) || AsksForNothing(name, item.value())) continue;
    if (Contains(kScoreFields, name)) {
      if (kind == RequestKind::kScore) continue;
      return InvalidArgument("{}: \"{}\": expected in requests of `vexact score` only", where,
                             name);
    }
    for (const auto& [later, what] : kLaterFields) {
      if (later == name) {
        return Unsupported("{}: \"{}\": {}: not supported yet", where, name, what);
      }
    }
    return InvalidArgument("{}: \"{}\": unknown field", where,
                           ShortDump(json(name)).substr(1, std::min<size_t>(name.size(), 60)));
  }
  return {};
}

// Assigns a field that is present; leaves `out` alone otherwise.
Status ReadInteger(const JsonFields& fields, std::string_view key, int32_t& out) {
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> number, fields.OptionalInteger(key, kInt32));
  if (number) out = static_cast<int32_t>(*number);
  return {};
}

Status ReadInteger(const JsonFields& fields, std::string_view key, std::optional<int32_t>& out) {
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> number, fields.OptionalInteger(key, kInt32));
  if (number) out = static_cast<int32_t>(*number);
  return {};
}

Status ReadNumber(const JsonFields& fields, std::string_view key, double& out) {
  VX_ASSIGN_OR_RETURN(const std::optional<double> number, fields.OptionalNumber(key));
  if (number) out = *number;
  return {};
}

Status ReadBool(const JsonFields& fields, std::string_view key, bool& out) {
  VX_ASSIGN_OR_RETURN(out, fields.BoolOr(key, out));
  return {};
}

Status ReadString(const JsonFields& fields, std::string_view key, std::string& out) {
  VX_ASSIGN_OR_RETURN(std::optional<std::string> text, fields.OptionalString(key));
  if (text) out = std::move(*text);
  return {};
}

bool IsTokenId(const json& value) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned()) {
    return value.get<uint64_t>() <= static_cast<uint64_t>(kTokenId.max);
  }
  return value.get<int64_t>() >= 0 && value.get<int64_t>() <= kTokenId.max;
}

// `what` are ids of: "token ids", "document ids".
Status ReadIds(const JsonFields& fields, std::string_view key, std::string_view what,
               std::optional<std::vector<int32_t>>& out) {
  const json* value = fields.Find(key);
  if (value == nullptr) return {};
  const std::string expected = fmt::format("a list of {}", what);
  if (!value->is_array()) return fields.Expected(key, expected);
  std::vector<int32_t> ids;
  ids.reserve(value->size());
  for (const json& item : *value) {
    if (!IsTokenId(item)) {
      return InvalidArgument("{}, at place {}: {}", fields.Expected(key, expected).message,
                             ids.size(), ShortDump(item));
    }
    ids.push_back(item.get<int32_t>());
  }
  out = std::move(ids);
  return {};
}

Status ReadTokenIds(const JsonFields& fields, std::string_view key,
                    std::optional<std::vector<int32_t>>& out) {
  return ReadIds(fields, key, "token ids", out);
}

Status ReadTokenIds(const JsonFields& fields, std::string_view key, std::vector<int32_t>& out) {
  std::optional<std::vector<int32_t>> ids;
  VX_RETURN_IF_ERROR(ReadTokenIds(fields, key, ids));
  if (ids) out = std::move(*ids);
  return {};
}

// A list of strings; a single string stands for a list of one, as in the OpenAI API.
Status ReadStrings(const JsonFields& fields, std::string_view key, std::vector<std::string>& out) {
  const json* value = fields.Find(key);
  if (value == nullptr) return {};
  if (value->is_string()) {
    out = {value->get<std::string>()};
    return {};
  }
  if (!value->is_array()) return fields.Expected(key, "a list of strings");
  std::vector<std::string> texts;
  for (const json& item : *value) {
    if (!item.is_string()) return fields.Expected(key, "a list of strings");
    texts.push_back(item.get<std::string>());
  }
  out = std::move(texts);
  return {};
}

// {"token id": bias}, as in the OpenAI API.
Status ReadLogitBias(const JsonFields& fields, std::vector<std::pair<int32_t, double>>& out) {
  constexpr std::string_view kKey = "logit_bias";
  constexpr std::string_view kExpected = "an object of token ids and finite numbers";
  const json* value = fields.Find(kKey);
  if (value == nullptr) return {};
  if (!value->is_object()) return fields.Expected(kKey, kExpected);
  std::vector<std::pair<int32_t, double>> biases;
  for (const auto& [name, bias] : value->items()) {
    int32_t id = -1;
    const char* const name_end = name.data() + name.size();
    const auto [end, error] = std::from_chars(name.data(), name_end, id);
    if (error != std::errc() || end != name_end || id < 0 || !bias.is_number()) {
      return fields.Expected(kKey, kExpected);
    }
    biases.emplace_back(id, bias.get<double>());
  }
  std::sort(biases.begin(), biases.end());
  for (size_t i = 1; i < biases.size(); ++i) {
    if (biases[i].first == biases[i - 1].first) {  // "7" and "07"
      return fields.Expected(kKey, "each token id once");
    }
  }
  out = std::move(biases);
  return {};
}

Status ReadSampling(const JsonFields& fields, SamplingParams& params) {
  VX_RETURN_IF_ERROR(ReadInteger(fields, "max_tokens", params.max_tokens));
  VX_RETURN_IF_ERROR(ReadInteger(fields, "min_tokens", params.min_tokens));
  VX_RETURN_IF_ERROR(ReadNumber(fields, "temperature", params.temperature));
  VX_RETURN_IF_ERROR(ReadNumber(fields, "top_p", params.top_p));
  VX_RETURN_IF_ERROR(ReadInteger(fields, "top_k", params.top_k));
  VX_RETURN_IF_ERROR(ReadNumber(fields, "min_p", params.min_p));
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> seed, fields.OptionalInteger("seed", kInt64));
  if (seed) params.seed = seed;
  VX_RETURN_IF_ERROR(ReadInteger(fields, "n", params.n));
  VX_RETURN_IF_ERROR(ReadNumber(fields, "presence_penalty", params.presence_penalty));
  VX_RETURN_IF_ERROR(ReadNumber(fields, "frequency_penalty", params.frequency_penalty));
  VX_RETURN_IF_ERROR(ReadNumber(fields, "repetition_penalty", params.repetition_penalty));
  VX_RETURN_IF_ERROR(ReadLogitBias(fields, params.logit_bias));
  VX_RETURN_IF_ERROR(ReadTokenIds(fields, "allowed_token_ids", params.allowed_token_ids));
  VX_RETURN_IF_ERROR(ReadStrings(fields, "bad_words", params.bad_words));
  VX_RETURN_IF_ERROR(ReadStrings(fields, "stop", params.stop));
  VX_RETURN_IF_ERROR(ReadTokenIds(fields, "stop_token_ids", params.stop_token_ids));
  VX_RETURN_IF_ERROR(
      ReadBool(fields, "include_stop_str_in_output", params.include_stop_str_in_output));
  VX_RETURN_IF_ERROR(ReadBool(fields, "ignore_eos", params.ignore_eos));
  VX_RETURN_IF_ERROR(ReadBool(fields, "skip_special_tokens", params.skip_special_tokens));
  VX_RETURN_IF_ERROR(ReadBool(fields, "detokenize", params.detokenize));
  VX_RETURN_IF_ERROR(ReadInteger(fields, "logprobs", params.logprobs));
  return ReadInteger(fields, "prompt_logprobs", params.prompt_logprobs);
}

// Exactly one of the two fields must be there.
Status CheckOneOf(const JsonFields& fields, std::string_view text, std::string_view ids,
                  const std::string& where) {
  const bool has_text = fields.Find(text) != nullptr;
  const bool has_ids = fields.Find(ids) != nullptr;
  if (has_text != has_ids) return {};
  return InvalidArgument("{}: expected \"{}\" or \"{}\", found {}", where, text, ids,
                         has_text ? "both" : "neither");
}

// Exactly one of the fields that say what to continue must be there.
Status CheckOnePrompt(const JsonFields& fields, const std::string& where) {
  if (fields.Find("messages") == nullptr) {
    for (const std::string_view name : {"tools", "chat_template_kwargs", "add_generation_prompt"}) {
      if (fields.Find(name) == nullptr) continue;
      return InvalidArgument("{}: \"{}\": expected beside \"messages\" only", where, name);
    }
    return CheckOneOf(fields, "prompt", "prompt_token_ids", where);
  }
  for (const std::string_view name : {"prompt", "prompt_token_ids"}) {
    if (fields.Find(name) == nullptr) continue;
    return InvalidArgument("{}: expected \"{}\" or \"messages\", found both", where, name);
  }
  return {};
}

// The line's object, with no other field than `name`, which must be there.
Result<json> ParseLoneField(std::string_view line, std::string_view name,
                            const std::string& where) {
  VX_ASSIGN_OR_RETURN(json object, ParseJsonObject(line, where));
  for (const auto& item : object.items()) {
    if (item.key() != name) {
      return InvalidArgument("{}: expected \"{}\" alone, found {}", where, name,
                             ShortDump(json(item.key())));
    }
  }
  if (object.empty()) return InvalidArgument("{}: expected \"{}\", found nothing", where, name);
  return object;
}

}  // namespace

Result<ParsedRequest> ParseRequest(std::string_view line, RequestKind kind,
                                   const SamplingParams& defaults, const std::string& where) {
  VX_ASSIGN_OR_RETURN(const json object, ParseJsonObject(line, where));
  VX_ASSIGN_OR_RETURN(ParsedRequest parsed, ReadRequest(object, kind, defaults, where));
  VX_ASSIGN_OR_RETURN(parsed.chat, ReadChat(line, object, where));
  return parsed;
}

Result<std::optional<ChatInput>> ReadChat(std::string_view line, const json& object,
                                          const std::string& where) {
  const JsonFields fields(object, where, "");
  if (fields.Find("messages") == nullptr) return std::optional<ChatInput>();
  VX_ASSIGN_OR_RETURN(const Value ordered, ParseChatJson(line, where));
  const Dict& chat = *ordered.dict();
  ChatInput input;
  input.messages = *chat.Find("messages");
  if (const Value* tools = chat.Find("tools")) input.tools = *tools;
  VX_RETURN_IF_ERROR(ReadBool(fields, "add_generation_prompt", input.add_generation_prompt));
  const Value* variables = chat.Find("chat_template_kwargs");
  if (variables != nullptr && !variables->is_none()) {
    if (variables->dict() == nullptr) {
      return fields.Expected("chat_template_kwargs", "an object");
    }
    input.variables = *variables->dict();
  }
  return std::optional<ChatInput>(std::move(input));
}

Result<ParsedRequest> ReadRequest(const json& object, RequestKind kind,
                                  const SamplingParams& defaults, const std::string& where) {
  VX_RETURN_IF_ERROR(CheckFieldNames(object, kind, where));
  const JsonFields fields(object, where, "");
  ParsedRequest parsed;
  Request& request = parsed.request;
  request.sampling = defaults;
  VX_RETURN_IF_ERROR(CheckOnePrompt(fields, where));
  VX_RETURN_IF_ERROR(ReadString(fields, "prompt", request.prompt));
  VX_RETURN_IF_ERROR(ReadTokenIds(fields, "prompt_token_ids", request.prompt_token_ids));
  VX_RETURN_IF_ERROR(ReadInteger(fields, "prefix_len", request.prefix_len));
  VX_RETURN_IF_ERROR(ReadIds(fields, "document_ids", "document ids", request.document_ids));
  VX_RETURN_IF_ERROR(ReadString(fields, "cache_salt", request.cache_salt));
  VX_RETURN_IF_ERROR(ReadSampling(fields, request.sampling));
  if (kind == RequestKind::kScore) {
    VX_RETURN_IF_ERROR(CheckOneOf(fields, "completion", "completion_token_ids", where));
    VX_ASSIGN_OR_RETURN(parsed.completion, fields.OptionalString("completion"));
    VX_RETURN_IF_ERROR(ReadTokenIds(fields, "completion_token_ids", request.completion_token_ids));
    if (request.sampling.n != 1) {
      return InvalidArgument("{}: \"n\": expected 1 when scoring, found {}", where,
                             request.sampling.n);
    }
  }
  return parsed;
}

Result<LogprobsMode> ParseLogprobsMode(std::string_view name) {
  if (name == "raw_logprobs") return LogprobsMode::kRaw;
  if (name == "processed_logprobs") return LogprobsMode::kProcessed;
  if (name == "raw_logits" || name == "processed_logits") {
    return Unsupported("logprobs mode {}: not supported yet", name);
  }
  return InvalidArgument("logprobs mode: expected raw_logprobs or processed_logprobs, found {}",
                         name);
}

Result<std::string> ParsePromptLine(std::string_view line, const std::string& where) {
  VX_ASSIGN_OR_RETURN(const json object, ParseLoneField(line, "prompt", where));
  const JsonFields fields(object, where, "");
  VX_ASSIGN_OR_RETURN(std::optional<std::string> prompt, fields.OptionalString("prompt"));
  if (!prompt) return fields.Expected("prompt", "a string");
  return std::move(*prompt);
}

Result<std::vector<int32_t>> ParseTokenIdsLine(std::string_view line, const std::string& where) {
  VX_ASSIGN_OR_RETURN(const json object, ParseLoneField(line, "prompt_token_ids", where));
  const JsonFields fields(object, where, "");
  std::optional<std::vector<int32_t>> ids;
  VX_RETURN_IF_ERROR(ReadTokenIds(fields, "prompt_token_ids", ids));
  if (!ids) return fields.Expected("prompt_token_ids", "a list of token ids");
  return std::move(*ids);
}

}  // namespace vexact
