// Bodies of /v1/completions, /v1/chat/completions and /generate, read into requests.
//
// A body's own fields (model, stream, messages, ...) are taken out first; what is left goes through
// common/request_json.h, so that a sampling parameter means here what it means to `vexact
// generate`, and an unknown or refused one is named in the same words.
#ifndef VEXACT_SERVER_API_CALL_H_
#define VEXACT_SERVER_API_CALL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "chat/chat_template.h"
#include "request/request.h"
#include "server/error_response.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

// What reading a call depends on, beside its body.
struct CallContext {
  std::string model_name;                // the one name that "model" may have
  const Tokenizer* tokenizer = nullptr;  // may be null
  SamplingParams defaults;
  // The model's, or why it has none; may be null, which is none.
  const Result<ChatTemplate>* chat_template = nullptr;
  int32_t max_model_len = 0;
  int32_t max_logprobs = 20;  // of "logprobs", "top_logprobs", "prompt_logprobs"
  int32_t max_prompts = 256;  // of one call
  bool has_receipts = false;
};

// How a call wants to be answered.
struct AnswerOptions {
  bool is_batch = false;  // the body's prompt was a list of prompts
  bool stream = false;
  bool include_usage = false;
  bool echo = false;
  bool hides_output = false;  // DrawUnseen
  bool return_token_ids = false;
  bool return_receipt = false;
  // Of /generate alone: where reported prompt log-probabilities begin, and whether there are any.
  int32_t logprob_start = 0;
  bool text_in_logprobs = false;  // of /generate alone
};

struct ApiCall {
  std::vector<Request> requests;
  FieldNames field_names;  // where the body's are others than the engine's
  AnswerOptions options;
};

// Errors: kNotFound: another model; kUnsupported: a field that is refused by name; kInternal:
// never.
Result<ApiCall> ParseCompletion(const std::string& body, const CallContext& context);
Result<ApiCall> ParseChat(const std::string& body, const CallContext& context);
Result<ApiCall> ParseSglang(const std::string& body, const CallContext& context);

// Error: no tokenizer, or no chat template; says why.
Status CheckChats(const CallContext& context);

}  // namespace vexact

#endif  // VEXACT_SERVER_API_CALL_H_
