#include "cli/replay.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "output/sample_output.h"

namespace vexact {
namespace {

bool IsGenerated(const Receipt& receipt) { return receipt.answer.failed(); }

// Finishes the sample where its tokens make it finish, if they do.
void Finish(const Receipt& receipt, const Tokenizer* tokenizer, SampleResult& sample) {
  const auto params = std::make_shared<const SamplingParams>(receipt.request.sampling);
  SampleSpec spec;
  spec.params = params;
  spec.eos_ids = receipt.model.eos_token_ids;
  spec.max_output_tokens = params->max_tokens;
  SampleOutput output(std::move(spec), tokenizer);
  PlannedSequence part;
  part.draws = true;
  SequenceResult result;
  for (size_t i = 0; i < sample.logprobs.size(); ++i) {
    result.drawn = sample.logprobs[i];
    const Output news = output.Append(part, result);
    if (!news.finished()) continue;
    sample.finish_reason = news.finish_reason;
    sample.stop_reason = news.stop_reason;
    sample.logprobs.resize(i + 1);
    return;
  }
  sample.finish_reason = FinishReason::kNone;
}

}  // namespace

std::vector<Request> ReplayRequests(const Receipt& receipt) {
  Request request = receipt.request;
  if (!request.sampling.logprobs) request.sampling.logprobs = 0;
  if (IsGenerated(receipt)) return {request};
  request.sampling.n = 1;
  request.sampling.stop.clear();
  request.sampling.detokenize = false;
  std::vector<Request> requests;
  for (size_t i = 0; i < receipt.answer.samples.size(); ++i) {
    if (!receipt.answer.samples[i].token_ids.empty()) {
      request.completion_token_ids = receipt.answer.samples[i].token_ids;
      request.redraw_sample_index = static_cast<int32_t>(i);
      requests.push_back(request);
    }
    request.sampling.prompt_logprobs.reset();  // sample 0's alone
  }
  return requests;
}

RequestResult JoinReplay(const Receipt& receipt, std::vector<RequestResult> results,
                         const Tokenizer* tokenizer) {
  if (IsGenerated(receipt)) return std::move(results.at(0));
  RequestResult joined;
  joined.samples.resize(receipt.answer.samples.size());
  size_t next = 0;
  for (size_t i = 0; i < joined.samples.size(); ++i) {
    if (receipt.answer.samples[i].token_ids.empty()) continue;
    RequestResult& result = results.at(next++);
    SampleResult& sample = joined.samples[i];
    sample = std::move(result.samples.at(0));
    if (i == 0) joined.prompt_logprobs = std::move(result.prompt_logprobs);
    if (sample.finish_reason == FinishReason::kError) continue;
    Finish(receipt, tokenizer, sample);
    for (size_t p = 0; p < sample.logprobs.size(); ++p) {
      sample.logprobs[p].token_id = sample.redrawn_token_ids.at(p);
    }
  }
  return joined;
}

}  // namespace vexact
