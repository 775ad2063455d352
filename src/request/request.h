// A client's request, and the words in which it is answered (output.h holds the answer).
#ifndef VEXACT_REQUEST_REQUEST_H_
#define VEXACT_REQUEST_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "request/sampling_params.h"

namespace vexact {

using RequestId = int64_t;

struct Request {
  std::string prompt;  // used if prompt_token_ids is absent
  std::optional<std::vector<int32_t>> prompt_token_ids;
  // Score: log-probabilities of these tokens after the prompt, in one prefill; nothing is drawn.
  std::optional<std::vector<int32_t>> completion_token_ids;
  // With a completion: draw, too, at each of its positions, as this sample of the request would
  // have after the completion's tokens before it (Output::redrawn_token_ids). What was drawn token
  // by token is so checked in one prefill.
  std::optional<int32_t> redraw_sample_index;
  SamplingParams sampling;
  // Of an engine with mask prefix-lm: how many of the prompt's tokens all see each other. None: 0.
  std::optional<int32_t> prefix_len;
  // Of an engine with mask document: each prompt token's document, whose tokens lie side by side;
  // later tokens belong to the last one. None: the prompt is one document.
  std::optional<std::vector<int32_t>> document_ids;
  std::string cache_salt;  // requests of different salts share no cached block
  double timeout_s = 0.0;  // 0: the engine's request_timeout_s
  // What the seed of a request without one is drawn from, beside the engine's seed; none: its
  // RequestId. A client that numbers its requests keeps their seeds in any order of arrival.
  std::optional<int64_t> index;
};

struct TopLogprob {
  int32_t token_id = 0;
  float logprob = 0.0f;
};

// What is reported about one token.
struct TokenLogprob {
  int32_t token_id = 0;
  float logprob = 0.0f;         // -inf for a token that processing dropped
  int32_t rank = 0;             // 1 is the most likely; ties by lower id
  std::vector<TopLogprob> top;  // the k most likely, finite ones only
};

enum class FinishReason { kNone, kStop, kLength, kAbort, kTimeout, kError };

// "", "stop", "length", "abort", "timeout", "error".
std::string_view FinishReasonName(FinishReason reason);

// What an error (FinishReason::kError) comes of.
enum class FaultCause {
  kWeights,  // a value that this prompt gives is not finite: the same request fails anywhere
  kRequest,  // its parameters leave no token, or make a logit overflow: likewise
  kEngine,   // its step was lost (a device's error): no fault of this request
};

}  // namespace vexact

#endif  // VEXACT_REQUEST_REQUEST_H_
