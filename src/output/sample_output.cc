#include "output/sample_output.h"

#include <algorithm>
#include <utility>

namespace vexact {
namespace {

bool Contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::ranges::find(ids, id) != ids.end();
}

}  // namespace

SampleOutput::SampleOutput(SampleSpec spec, const Tokenizer* tokenizer)
    : spec_(std::move(spec)), stop_strings_(spec_.params->stop) {
  if (tokenizer != nullptr && spec_.params->detokenize) {
    decoder_.emplace(*tokenizer, spec_.params->skip_special_tokens);
  }
}

Output SampleOutput::NewOutput() const {
  Output output;
  output.request_id = spec_.request_id;
  output.sample_index = spec_.sample_index;
  output.num_samples = spec_.params->n;
  output.seed = spec_.seed;
  output.prompt_token_ids = spec_.prompt_ids;
  output.num_output_tokens = num_output_tokens_;
  output.cumulative_logprob = cumulative_logprob_;
  return output;
}

Output SampleOutput::Append(const PlannedSequence& part, const SequenceResult& result) {
  if (!result.fault.empty()) {
    Output output = End(FinishReason::kError);
    output.error = result.fault.message;
    output.fault_cause = result.fault.cause;
    return output;
  }
  Output output = NewOutput();
  given_.insert(given_.end(), result.targets.begin(), result.targets.end());
  redrawn_.insert(redrawn_.end(), result.redrawn.begin(), result.redrawn.end());
  const bool has_scored_all = part.targets_end == part.num_prompt_tokens + spec_.max_output_tokens;
  if (part.draws || has_scored_all) {
    const auto prompt_end = given_.end() - (has_scored_all ? spec_.max_output_tokens : 0);
    output.prompt_logprobs.assign(given_.begin(), prompt_end);
    for (auto token = prompt_end; token != given_.end(); ++token) AppendScored(*token, &output);
    given_.clear();
    output.redrawn_token_ids = std::exchange(redrawn_, {});
  }
  if (part.draws) AppendDrawn(result.drawn, &output);
  output.num_output_tokens = num_output_tokens_;
  output.cumulative_logprob = cumulative_logprob_;
  return output;
}

void SampleOutput::AppendScored(const TokenLogprob& token, Output* output) {
  AppendToken(token, output);
  if (decoder_) output->text += decoder_->Append(token.token_id);
  if (num_output_tokens_ < spec_.max_output_tokens) return;
  output->finish_reason = FinishReason::kLength;
  FlushText(output);
}

void SampleOutput::AppendToken(const TokenLogprob& token, Output* output) {
  ++num_output_tokens_;
  output->token_ids.push_back(token.token_id);
  if (!spec_.params->logprobs) return;
  output->logprobs.push_back(token);
  cumulative_logprob_ += static_cast<double>(token.logprob);
}

void SampleOutput::AppendDrawn(const TokenLogprob& token, Output* output) {
  AppendToken(token, output);
  const bool stopped = StopsAtId(token.token_id, output);
  // The text of a stop id belongs to the answer only if stop strings do, as in vLLM.
  if (decoder_ && (!stopped || spec_.params->include_stop_str_in_output)) {
    AppendText(decoder_->Append(token.token_id), output);
  }
  if (!output->finished() && num_output_tokens_ == spec_.max_output_tokens) {
    output->finish_reason = FinishReason::kLength;
  }
  const bool at_stop_string = std::holds_alternative<std::string>(output->stop_reason);
  if (output->finished() && !at_stop_string) FlushText(output);
}

bool SampleOutput::StopsAtId(int32_t id, Output* output) const {
  const bool is_eos = !spec_.params->ignore_eos && Contains(spec_.eos_ids, id);
  if (!is_eos && !Contains(spec_.params->stop_token_ids, id)) return false;
  output->finish_reason = FinishReason::kStop;
  if (!is_eos) output->stop_reason = id;
  return true;
}

void SampleOutput::AppendText(const std::string& piece, Output* output) {
  held_back_ += piece;
  const bool may_stop = !output->finished() && num_output_tokens_ > spec_.params->min_tokens;
  const std::optional<StopStringHit> hit = stop_strings_.Append(piece, may_stop);
  size_t ready = held_back_.size();
  if (hit) {
    const std::string& stop = stop_strings_[hit->index];
    output->finish_reason = FinishReason::kStop;
    output->stop_reason = stop;
    ready -= hit->bytes_after + (spec_.params->include_stop_str_in_output ? 0 : stop.size());
  } else {
    ready -= stop_strings_.num_held_back();
  }
  output->text.append(held_back_, 0, ready);
  held_back_.erase(0, ready);
}

void SampleOutput::FlushText(Output* output) {
  output->text += std::exchange(held_back_, {});
  if (decoder_) output->text += decoder_->Flush();
}

Output SampleOutput::End(FinishReason reason) {
  Output output = NewOutput();
  output.finish_reason = reason;
  FlushText(&output);
  return output;
}

}  // namespace vexact
