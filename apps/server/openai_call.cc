// /v1/completions and /v1/chat/completions: bodies.

#include <utility>

#include "common/request_json.h"
#include "server/api_call.h"
#include "server/call_json.h"
#include "server/error_response.h"

namespace vexact {
namespace {

using nlohmann::json;

Status TakeStreamOptions(json& object, AnswerOptions& options) {
  VX_ASSIGN_OR_RETURN(options.stream, TakeBool(object, "stream", false));
  std::optional<json> stream = Take(object, "stream_options");
  if (!stream) return {};
  if (!options.stream || !stream->is_object()) {
    return FieldError("stream_options", "an object, beside \"stream\": true", *stream);
  }
  VX_ASSIGN_OR_RETURN(options.include_usage, TakeBool(*stream, "include_usage", false));
  if (stream->empty()) return {};
  return Unsupported("{}: \"stream_options\": expected include_usage alone, found {}", kBodyName,
                     stream->begin().key());
}

// The fields that both endpoints have beside sampling parameters.
Status TakeCallFields(json& object, const CallContext& context, AnswerOptions& options) {
  VX_RETURN_IF_ERROR(TakeModel(object, context));
  VX_RETURN_IF_ERROR(TakeStreamOptions(object, options));
  VX_ASSIGN_OR_RETURN(options.return_token_ids, TakeBool(object, "return_token_ids", false));
  VX_ASSIGN_OR_RETURN(options.return_receipt, TakeBool(object, "return_receipt", false));
  if (options.return_receipt && !context.has_receipts) {
    return Unsupported(
        "{}: \"return_receipt\": expected a server with receipts, found --no-receipts or --mode "
        "variant",
        kBodyName);
  }
  Take(object, "user");  // says who asks, which changes nothing
  return {};
}

// OpenAI's "logprobs" of a chat is a switch, and "top_logprobs" the number.
Status TakeChatLogprobs(json& object, const CallContext& context, std::optional<int32_t>& k) {
  VX_ASSIGN_OR_RETURN(const bool wanted, TakeBool(object, "logprobs", false));
  VX_ASSIGN_OR_RETURN(const std::optional<int32_t> top, TakeInteger(object, "top_logprobs"));
  if (top && !wanted) {
    return InvalidArgument("{}: \"top_logprobs\": expected \"logprobs\": true beside it",
                           kBodyName);
  }
  if (wanted) k = top.value_or(0);
  return CheckLogprobs("top_logprobs", k, context);
}

}  // namespace

Result<ApiCall> ParseCompletion(const std::string& body, const CallContext& context) {
  VX_ASSIGN_OR_RETURN(json object, ParseBody(body));
  ApiCall call;
  VX_RETURN_IF_ERROR(TakeCallFields(object, context, call.options));
  VX_ASSIGN_OR_RETURN(call.options.echo, TakeBool(object, "echo", false));
  const std::optional<json> prompt = Take(object, "prompt");
  if (!prompt) return InvalidArgument("{}: \"prompt\": expected a prompt, found none", kBodyName);
  VX_ASSIGN_OR_RETURN(Request request, ReadSamplingRequest(std::move(object), context));
  SamplingParams& sampling = request.sampling;
  VX_RETURN_IF_ERROR(CheckLogprobs("logprobs", sampling.logprobs, context));
  call.options.hides_output = call.options.echo && sampling.max_tokens == 0;
  if (call.options.hides_output) DrawUnseen(sampling);
  if (call.options.echo && sampling.logprobs && !sampling.prompt_logprobs) {
    sampling.prompt_logprobs = sampling.logprobs;
  }
  VX_ASSIGN_OR_RETURN(call.requests,
                      WithPrompts(request, *prompt, "prompt", context, &call.options.is_batch));
  call.field_names = NamesOfPrompt("prompt");
  return call;
}

Result<ApiCall> ParseChat(const std::string& body, const CallContext& context) {
  VX_ASSIGN_OR_RETURN(json object, ParseBody(body));
  ApiCall call;
  VX_RETURN_IF_ERROR(TakeCallFields(object, context, call.options));
  VX_ASSIGN_OR_RETURN(std::vector<int32_t> prompt, TakeChatPrompt(body, object, context));
  std::optional<int32_t> logprobs;
  VX_RETURN_IF_ERROR(TakeChatLogprobs(object, context, logprobs));
  VX_ASSIGN_OR_RETURN(const std::optional<int32_t> max_completion_tokens,
                      TakeInteger(object, "max_completion_tokens"));
  if (max_completion_tokens && *max_completion_tokens < 1) {
    return FieldError("max_completion_tokens", "at least 1", *max_completion_tokens);
  }
  const bool says_max_tokens = max_completion_tokens || object.contains("max_tokens");
  VX_ASSIGN_OR_RETURN(Request request, ReadSamplingRequest(std::move(object), context));
  request.sampling.logprobs = logprobs;
  if (max_completion_tokens) request.sampling.max_tokens = *max_completion_tokens;
  if (!says_max_tokens) request.sampling.max_tokens = context.max_model_len;
  request.prompt_token_ids = std::move(prompt);
  call.requests.push_back(std::move(request));
  call.field_names = NamesOfPrompt("messages");
  return call;
}

}  // namespace vexact
