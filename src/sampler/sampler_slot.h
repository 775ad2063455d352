// SamplerSlot: what the sampler knows of one sequence, and the parameters of a row at any length of
// its output.
#ifndef VEXACT_SAMPLER_SAMPLER_SLOT_H_
#define VEXACT_SAMPLER_SAMPLER_SLOT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "batch/batch_inputs.h"
#include "batch/step_plan.h"
#include "kernels/sampling/sampling.h"

namespace vexact {

// The arrays of a SampleRow that change with the length of the output.
struct RowArrays {
  std::vector<int32_t> banned;
  std::vector<TokenCount> history;
};

class SamplerSlot {
 public:
  SamplerSlot(const StartedSequence& started, int64_t vocab_size);

  const SamplingParams& params() const { return *params_; }
  int32_t output_len() const { return static_cast<int32_t>(output_ids_.size()); }
  void Append(int32_t token) { output_ids_.push_back(token); }

  // Why the sequence may not go on, or empty.
  const std::string& fault() const { return fault_; }
  void Fail(const std::string& fault) { fault_ = fault; }

  // The parameters of the row that follows the first row.output_len output tokens; `row` and
  // `keeps_processed` are left to the caller. The result points into this slot and `arrays`.
  // Cost: the distinct tokens of prompt and output if there are penalties, else O(bad words); rows
  // in ascending output_len count each token once.
  SampleRow RowAt(const LogitRow& row, RowArrays* arrays);

 private:
  void CountTo(int32_t output_len);
  void Count(int32_t id, int32_t occurrences);

  std::shared_ptr<const SamplingParams> params_;
  std::shared_ptr<const std::vector<int32_t>> prompt_ids_;
  std::vector<int32_t> output_ids_;
  std::vector<int32_t> stop_ids_;
  std::string fault_;

  SampleRow resolved_;             // what no length changes
  std::vector<uint32_t> allowed_;  // bit set, or empty: every id
  std::vector<TokenBias> bias_;
  bool has_penalties_ = false;

  std::vector<TokenCount> counts_;                    // of the first counted_len_ output tokens
  std::unordered_map<int32_t, int32_t> count_index_;  // id -> index in counts_
  int32_t counted_len_ = 0;
};

}  // namespace vexact

#endif  // VEXACT_SAMPLER_SAMPLER_SLOT_H_
