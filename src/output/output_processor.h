// OutputProcessor: the answers of all samples that have not finished.
#ifndef VEXACT_OUTPUT_OUTPUT_PROCESSOR_H_
#define VEXACT_OUTPUT_OUTPUT_PROCESSOR_H_

#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "output/sample_output.h"

namespace vexact {

// News of one sequence.
struct SequenceOutput {
  SequenceId sequence_id = 0;
  Output output;
};

// Not thread-safe.
class OutputProcessor {
 public:
  // `tokenizer` may be null: no text.
  explicit OutputProcessor(std::shared_ptr<const Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)) {}

  void Add(SampleSpec spec);

  // What a step found out; appends to `outputs` in the plan's order. A sequence of the plan that
  // has already ended is passed over: its late token is in no output. Forgets those that end.
  Stops Append(const StepPlan& plan, const StepResult& result,
               std::vector<SequenceOutput>* outputs);

  // Ends and forgets a sample that was added and has not ended.
  Output End(SequenceId id, FinishReason reason);

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unordered_map<SequenceId, SampleOutput> samples_;
};

}  // namespace vexact

#endif  // VEXACT_OUTPUT_OUTPUT_PROCESSOR_H_
