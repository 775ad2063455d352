#include "output/output_processor.h"

namespace vexact {

void OutputProcessor::Add(SampleSpec spec) {
  const SequenceId id = spec.sequence_id;
  const bool is_new = samples_.emplace(id, SampleOutput(std::move(spec), tokenizer_.get())).second;
  VX_CHECK(is_new, "a SequenceId is used twice");
}

Stops OutputProcessor::Append(const StepPlan& plan, const StepResult& result,
                              std::vector<SequenceOutput>* outputs) {
  Stops stops(plan.sequences.size(), FinishReason::kNone);
  for (size_t i = 0; i < plan.sequences.size(); ++i) {
    const SequenceId id = plan.sequences[i].id;
    const auto sample = samples_.find(id);
    if (sample == samples_.end()) continue;
    Output output = sample->second.Append(plan.sequences[i], result.sequences[i]);
    stops[i] = output.finish_reason;
    if (output.finished()) samples_.erase(sample);
    if (output.finished() || !output.token_ids.empty() || !output.prompt_logprobs.empty()) {
      outputs->push_back({id, std::move(output)});
    }
  }
  return stops;
}

Output OutputProcessor::End(SequenceId id, FinishReason reason) {
  const auto sample = samples_.find(id);
  VX_CHECK(sample != samples_.end(), "a sample is ended twice");
  Output output = sample->second.End(reason);
  samples_.erase(sample);
  return output;
}

}  // namespace vexact
