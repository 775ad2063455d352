// /generate: bodies in SGLang's words.

#include <algorithm>
#include <array>
#include <utility>

#include "server/api_call.h"
#include "server/call_json.h"
#include "server/error_response.h"

namespace vexact {
namespace {

using nlohmann::json;

constexpr int32_t kDefaultNewTokens = 128;

// SGLang's name, ours.
constexpr std::array<std::pair<const char*, const char*>, 4> kOtherNames{{
    {"max_new_tokens", "max_tokens"},
    {"min_new_tokens", "min_tokens"},
    {"sampling_seed", "seed"},
    {"no_stop_trim", "include_stop_str_in_output"},
}};

// Valid there, refused here by name.
constexpr std::array<std::pair<const char*, const char*>, 12> kRefused{{
    {"json_schema", "structured output"},
    {"regex", "structured output"},
    {"ebnf", "structured output"},
    {"structural_tag", "structured output"},
    {"lora_path", "LoRA adapters"},
    {"custom_logit_processor", "logits processors"},
    {"custom_params", "logits processors"},
    {"image_data", "other media than text"},
    {"input_embeds", "prompt embeddings"},
    {"session_params", "sessions"},
    {"return_hidden_states", "hidden states"},
    {"token_ids_logprob", "log-probabilities of chosen ids"},
}};

Status CheckRefused(const json& object) {
  for (const auto& [name, what] : kRefused) {
    if (object.contains(name)) {
      return Unsupported("{}: \"{}\": {}: not supported yet", kBodyName, name, what);
    }
  }
  return {};
}

// {"temperature", "max_new_tokens", ...} to our names; `names` are those that it says otherwise.
Result<Request> ReadSglangSampling(json params, const CallContext& context, FieldNames& names) {
  if (!params.is_object()) return FieldError("sampling_params", "an object", params);
  EraseNulls(params);
  VX_RETURN_IF_ERROR(CheckRefused(params));
  for (const auto& [theirs, ours] : kOtherNames) {
    std::optional<json> value = Take(params, theirs);
    if (!value) continue;
    if (params.contains(ours)) {
      return InvalidArgument("{}: \"{}\": expected it or \"{}\", found both", kBodyName, theirs,
                             ours);
    }
    params[ours] = std::move(*value);
    names.emplace_back(ours, theirs);
  }
  if (!params.contains("max_tokens")) params["max_tokens"] = kDefaultNewTokens;
  Take(params, "spaces_between_special_tokens");  // has no meaning for byte-level tokens
  Result<Request> request = ReadSamplingRequest(std::move(params), context);
  return request.ok() ? std::move(request) : InBodysWords(request.error(), names);
}

// Prompts without answers, to score them: all of the call's, or none.
Status TakeUnseen(ApiCall& call) {
  const auto is_unseen = [](const Request& request) { return request.sampling.max_tokens == 0; };
  const auto count = std::ranges::count_if(call.requests, is_unseen);
  if (count == 0) return {};
  if (count != static_cast<int64_t>(call.requests.size())) {
    return InvalidArgument(
        "{}: \"max_new_tokens\": expected 0 of all prompts or of none, found both", kBodyName);
  }
  for (Request& request : call.requests) DrawUnseen(request.sampling);
  call.options.hides_output = true;
  return {};
}

Result<json> TakePrompt(json& object) {
  std::optional<json> text = Take(object, "text");
  std::optional<json> ids = Take(object, "input_ids");
  if (text.has_value() == ids.has_value()) {
    return InvalidArgument("{}: expected \"text\" or \"input_ids\", found {}", kBodyName,
                           text ? "both" : "neither");
  }
  return text ? std::move(*text) : std::move(*ids);
}

struct Reports {
  bool logprobs = false;
  int32_t top = 0;
  int32_t start = -1;  // of the prompt's; -1: none of them
};

Result<Reports> TakeReports(json& object, const CallContext& context) {
  Reports reports;
  VX_ASSIGN_OR_RETURN(reports.logprobs, TakeBool(object, "return_logprob", false));
  VX_ASSIGN_OR_RETURN(const std::optional<int32_t> top, TakeInteger(object, "top_logprobs_num"));
  VX_ASSIGN_OR_RETURN(const std::optional<int32_t> start, TakeInteger(object, "logprob_start_len"));
  VX_RETURN_IF_ERROR(CheckLogprobs("top_logprobs_num", top, context));
  if (start && *start < -1) {
    return InvalidArgument(
        "{}: \"logprob_start_len\": expected a prompt token from 0 on, or -1 (none), found {}",
        kBodyName, *start);
  }
  reports.top = top.value_or(0);
  reports.start = start.value_or(-1);
  return reports;
}

}  // namespace

Result<ApiCall> ParseSglang(const std::string& body, const CallContext& context) {
  VX_ASSIGN_OR_RETURN(json object, ParseBody(body));
  VX_RETURN_IF_ERROR(CheckRefused(object));
  ApiCall call;
  VX_RETURN_IF_ERROR(TakeModel(object, context));
  VX_ASSIGN_OR_RETURN(call.options.stream, TakeBool(object, "stream", false));
  VX_ASSIGN_OR_RETURN(const Reports reports, TakeReports(object, context));
  VX_ASSIGN_OR_RETURN(call.options.text_in_logprobs,
                      TakeBool(object, "return_text_in_logprobs", false));
  if (call.options.text_in_logprobs && context.tokenizer == nullptr) {
    return InvalidArgument(
        "{}: \"return_text_in_logprobs\": expected a model with a tokenizer, found none",
        kBodyName);
  }
  const std::string prompt_field = object.contains("text") ? "text" : "input_ids";
  call.field_names = NamesOfPrompt(prompt_field);
  VX_ASSIGN_OR_RETURN(const json prompt, TakePrompt(object));
  const json params = Take(object, "sampling_params").value_or(json::object());
  Take(object, "rid");  // a name for aborts, which a closed connection says here
  if (!object.empty()) {
    return InvalidArgument("{}: \"{}\": unknown field", kBodyName, object.begin().key());
  }
  const bool is_list = params.is_array();  // one for each prompt
  VX_ASSIGN_OR_RETURN(Request request, ReadSglangSampling(is_list ? json::object() : params,
                                                          context, call.field_names));
  VX_ASSIGN_OR_RETURN(call.requests,
                      WithPrompts(request, prompt, prompt_field, context, &call.options.is_batch));
  if (is_list && params.size() != call.requests.size()) {
    return InvalidArgument("{}: \"sampling_params\": expected one for each of {} prompts, found {}",
                           kBodyName, call.requests.size(), params.size());
  }
  for (size_t i = 0; i < call.requests.size(); ++i) {
    SamplingParams& sampling = call.requests[i].sampling;
    if (is_list) {
      VX_ASSIGN_OR_RETURN(request, ReadSglangSampling(params[i], context, call.field_names));
      sampling = std::move(request.sampling);
    }
    if (!reports.logprobs) continue;
    sampling.logprobs = reports.top;
    if (reports.start >= 0) sampling.prompt_logprobs = reports.top;
  }
  call.options.logprob_start = std::max(reports.start, 0);
  VX_RETURN_IF_ERROR(TakeUnseen(call));
  return call;
}

}  // namespace vexact
