// SamplerSlot: what the sampler knows of one sequence on the host, and the parameters of a row at
// any length of its output. The tokens themselves are in the backend's memory, where Sample reads
// and appends them.
#ifndef VEXACT_SAMPLER_SAMPLER_SLOT_H_
#define VEXACT_SAMPLER_SAMPLER_SLOT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "batch/batch_inputs.h"
#include "batch/step_plan.h"
#include "batch/step_result.h"
#include "kernels/sampling/sampling.h"

namespace vexact {

class SamplerSlot {
 public:
  // `owner` is not 0, and another one each time that the slot is given away.
  SamplerSlot(const StartedSequence& started, int64_t vocab_size, int64_t owner);

  const SamplingParams& params() const { return *params_; }

  // Why the sequence may not go on, or empty.
  const SequenceFault& fault() const { return fault_; }
  void Fail(const SequenceFault& fault) { fault_ = fault; }

  // What the backend has to be told before the sequence's first row: the arrays of its parameters,
  // one after the other, and the tokens known at the start, if a parameter reads them.
  bool is_placed() const { return is_placed_; }
  const std::vector<uint32_t>& constants() const { return constants_; }
  const std::vector<int32_t>& known_tokens() const { return known_tokens_; }
  // Where they will be, in the backend's memory; `tokens` has room for the longest sequence.
  void Place(const uint32_t* constants, int32_t* tokens);

  // The parameters of the row that follows the first row.output_len output tokens; a row that draws
  // makes the output longer. `row`, `slot` and `keeps_processed` are left to the caller. Requires:
  // is_placed().
  SampleRow RowAt(const LogitRow& row);

 private:
  // Adds an array to the constants; where it begins there.
  template <typename T>
  size_t AddConstants(const std::vector<T>& values);

  std::shared_ptr<const SamplingParams> params_;
  SequenceFault fault_;
  bool is_placed_ = false;
  std::vector<uint32_t> constants_;
  std::vector<int32_t> known_tokens_;
  size_t allowed_begin_ = 0;  // in constants_
  size_t bias_begin_ = 0;
  size_t bad_words_begin_ = 0;
  size_t bad_word_ids_begin_ = 0;
  size_t banned_begin_ = 0;

  SampleRow resolved_;        // what no length changes
  int32_t num_output_ = 0;    // output tokens, those of queued rows included
  int32_t num_stop_ids_ = 0;  // banned before min_tokens
};

}  // namespace vexact

#endif  // VEXACT_SAMPLER_SAMPLER_SLOT_H_
