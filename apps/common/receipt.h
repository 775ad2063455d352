// Receipts: an answer with all that is needed to compute it again, as a JSON line.
//
//   {"engine_version", "profile", "weights_id", "tokenizer_id" (null without one), "eos_token_ids",
//    "index", "logprobs_mode", "request": a line that `vexact generate` takes, every field said,
//    with the prompt's token ids and the seed that was used; max_tokens and min_tokens are cut to
//    the room that the context left, "mask": attention's, only where it is not causal,
//    "prompt_logprobs": TOKENS of the prompt's second token on, or null if not asked for,
//    "outputs": [{"tokens": TOKENS, "finish_reason", "stop_reason",
//                 "error" (only with finish_reason "error")}]}
//
// TOKENS is a list of {"token_id", "logprob", "rank", "top": [{"token_id", "logprob"}]}, where
// every log-probability is its fp32 word in 8 hexadecimal digits. The chosen tokens' are there
// whether the request asked for them or not.
#ifndef VEXACT_COMMON_RECEIPT_H_
#define VEXACT_COMMON_RECEIPT_H_

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "common/model_identity.h"
#include "common/request_result.h"
#include "request/request.h"

namespace vexact {

struct Receipt {
  ModelIdentity model;
  Request request;       // prompt_token_ids and seed are there
  RequestResult answer;  // index, prompt_logprobs; of samples: token_ids, logprobs, how it finished
};

// Of a result that the engine computed: result.request and result.prompt_token_ids are there, and a
// log-probability for every token. `max_model_len` is the engine's.
Receipt MakeReceipt(const ModelIdentity& model, const RequestResult& result, int32_t max_model_len);

// Without line end.
std::string ReceiptJson(const Receipt& receipt);

// Strict, as ParseRequest is; errors begin with `where` ("line 3").
Result<Receipt> ParseReceipt(std::string_view line, const std::string& where);

// The first model field, or nothing, in which a receipt's model is not this one: then a replay
// would prove nothing. engine_version may differ: every version of one profile has the same bits.
// The error names field, the model's value as expected and the receipt's as found.
Status CheckModel(const ModelIdentity& model, const ModelIdentity& of_receipt);

// The first place at which an answer and its replay differ.
struct Difference {
  std::optional<int32_t> output;    // the sample; none: in prompt_logprobs
  std::optional<int32_t> position;  // from 0, in the output or in the prompt
  std::string field;                // "token_id", "logprob", "top[2].logprob", "finish_reason", ...
  std::string receipt;              // the values, as JSON
  std::string replay;
};

// Prompt first, then sample by sample, position by position. An output that was ended from outside
// (abort, timeout) has to be the beginning of the replay's. finish_reason "" in a replay: it goes
// on.
std::optional<Difference> FirstDifference(const RequestResult& receipt,
                                          const RequestResult& replay);

}  // namespace vexact

#endif  // VEXACT_COMMON_RECEIPT_H_
