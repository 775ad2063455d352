// SampleOutput: the answer of one sample as its tokens come: text, stops, log-probabilities.
#ifndef VEXACT_OUTPUT_SAMPLE_OUTPUT_H_
#define VEXACT_OUTPUT_SAMPLE_OUTPUT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "batch/step_plan.h"
#include "batch/step_result.h"
#include "output/stop_strings.h"
#include "request/output.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

struct SampleSpec {
  SequenceId sequence_id = 0;
  RequestId request_id = 0;
  int32_t sample_index = 0;
  std::shared_ptr<const SamplingParams> params;
  std::shared_ptr<const std::vector<int32_t>> prompt_ids;
  std::vector<int32_t> eos_ids;  // end the answer, without a stop_reason
  int64_t seed = 0;
  int32_t max_output_tokens = 0;
};

class SampleOutput {
 public:
  // `tokenizer` may be null: no text.
  SampleOutput(SampleSpec spec, const Tokenizer* tokenizer);

  // What one step found out about this sample; `part` is the step's plan for it. The output says
  // whether the sample has finished: with the first of a stop id, the end of a stop string, or the
  // last token there may be; or with the result's fault. Log-probabilities of given tokens (prompt,
  // completion) come all at once, or never: how far a request came before it failed depends on how
  // its prompt was cut.
  Output Append(const PlannedSequence& part, const SequenceResult& result);

  // Ends the sample from outside, with the text that was held back.
  Output End(FinishReason reason);

  const SampleSpec& spec() const { return spec_; }

 private:
  Output NewOutput() const;
  void AppendToken(const TokenLogprob& token, Output* output);
  void AppendScored(const TokenLogprob& token, Output* output);
  void AppendDrawn(const TokenLogprob& token, Output* output);
  bool StopsAtId(int32_t id, Output* output) const;
  // Moves text that cannot begin a stop string to the output; at a stop string, ends it there.
  void AppendText(const std::string& piece, Output* output);
  // Moves all text to the output; bytes that never became a character are U+FFFD.
  void FlushText(Output* output);

  SampleSpec spec_;
  std::optional<StreamDecoder> decoder_;
  StopStrings stop_strings_;
  std::string held_back_;
  std::vector<TokenLogprob> given_;  // of prompt and completion, until all are known
  std::vector<int32_t> redrawn_;     // of the completion, likewise
  int32_t num_output_tokens_ = 0;
  double cumulative_logprob_ = 0.0;
};

}  // namespace vexact

#endif  // VEXACT_OUTPUT_SAMPLE_OUTPUT_H_
