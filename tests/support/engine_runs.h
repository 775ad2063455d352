// Runs of requests through an engine, and their answers put together.
#ifndef VEXACT_SUPPORT_ENGINE_RUNS_H_
#define VEXACT_SUPPORT_ENGINE_RUNS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "request/output.h"

namespace vexact {

// All outputs of one sample, joined.
struct Answer {
  std::string text;
  std::vector<int32_t> token_ids;
  std::vector<int32_t> redrawn_token_ids;
  std::vector<TokenLogprob> logprobs;
  std::vector<TokenLogprob> prompt_logprobs;
  FinishReason finish_reason = FinishReason::kNone;
  StopReason stop_reason;
  std::string error;
  double cumulative_logprob = 0.0;
  int64_t seed = 0;
  int32_t num_output_tokens = 0;
  int32_t num_cached_tokens = 0;

  void Append(const Output& output);
};

// "" if two answers are the same words, or what differs first. The number of cached tokens is not
// part of an answer.
std::string Difference(const Answer& a, const Answer& b);

// When a request comes and, perhaps, goes.
struct Arrival {
  Request request;
  int step = 0;         // added before this step
  int abort_step = -1;  // aborted before this step
};

// Answers of all samples of all arrivals, in their order: [arrival][sample]. Checks the engine's
// invariants after every step, and that no block stays in use. A refused request is a CHECK.
std::vector<std::vector<Answer>> RunArrivals(Engine* engine, const std::vector<Arrival>& arrivals);

// All at once.
std::vector<std::vector<Answer>> RunAll(Engine* engine, const std::vector<Request>& requests);

// The first sample of one request, in an engine without anything else.
Answer RunAlone(Engine* engine, const Request& request);

}  // namespace vexact

#endif  // VEXACT_SUPPORT_ENGINE_RUNS_H_
