// What a client gets back: pieces of answers, in the order in which they became known.
#ifndef VEXACT_REQUEST_OUTPUT_H_
#define VEXACT_REQUEST_OUTPUT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "request/request.h"

namespace vexact {

// Seconds of the engine's clock since the request was added; negative: it did not come to that.
struct OutputTimings {
  double queued_s = -1.0;       // until the sample's first step was launched
  double first_token_s = -1.0;  // until its first token was known
  double total_s = -1.0;        // until it finished
};

// Why a sample stopped: nothing (end-of-sequence id, length, ...), a stop id, or a stop string.
using StopReason = std::variant<std::monostate, int32_t, std::string>;

// News of one sample of one request. The last one of a sample has `finish_reason` set; a request
// has ended when all its `num_samples` have. Concatenated over a sample, `text`, `token_ids`,
// `logprobs` and `prompt_logprobs` are the whole answer.
struct Output {
  RequestId request_id = 0;
  int32_t sample_index = 0;
  int32_t num_samples = 1;

  std::string text;                    // new text; held back while it may begin a stop string
  std::vector<int32_t> token_ids;      // new output tokens; for a score request, of its completion
  std::vector<TokenLogprob> logprobs;  // one for each of token_ids, if asked for
  std::vector<int32_t> redrawn_token_ids;  // one for each of token_ids, if asked for
  // Of prompt tokens 1, 2, ... (the first token has none), if asked for: all with the first output
  // of sample 0 that has tokens.
  std::vector<TokenLogprob> prompt_logprobs;

  FinishReason finish_reason = FinishReason::kNone;
  StopReason stop_reason;
  std::string error;  // what went wrong, if finish_reason is kError; kRequest's begins with a field
  FaultCause fault_cause = FaultCause::kWeights;

  // Totals so far. cumulative_logprob is the left fold, in fp64, of the fp32 log-probabilities of
  // the sample's output tokens; kept when `logprobs` or `completion_token_ids` was asked for.
  int32_t num_output_tokens = 0;
  double cumulative_logprob = 0.0;
  int64_t seed = 0;               // the request's, or the one that it was given
  int32_t num_cached_tokens = 0;  // prompt tokens whose KV came from the prefix cache
  OutputTimings timings;
  std::shared_ptr<const std::vector<int32_t>> prompt_token_ids;

  bool finished() const { return finish_reason != FinishReason::kNone; }
};

}  // namespace vexact

#endif  // VEXACT_REQUEST_OUTPUT_H_
