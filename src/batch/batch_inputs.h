// BatchInputs: a StepPlan as the flat arrays that operators read.
#ifndef VEXACT_BATCH_BATCH_INPUTS_H_
#define VEXACT_BATCH_BATCH_INPUTS_H_

#include <cstdint>
#include <vector>

#include "batch/step_plan.h"

namespace vexact {

// A row of logits that the step needs.
struct LogitRow {
  int32_t token_row = 0;   // which of the step's token rows
  int32_t sequence = 0;    // index in StepPlan::sequences
  int32_t slot = 0;        // the sequence's sampler slot
  int32_t position = 0;    // that the chosen or scored token takes
  int32_t output_len = 0;  // output tokens before that position; 0 inside the prompt
  bool in_prompt = false;  // scores a prompt token: raw logits, no penalties
  bool draws = false;      // choose a token
  int32_t target_id = 0;   // the token to score, if it does not draw
  bool redraws = false;    // a target: also choose a token, which goes into no history
};

struct BatchInputs {
  std::vector<int32_t> token_ids;      // [tokens]
  std::vector<int32_t> pending_slots;  // [tokens]: sampler slot whose newest token this is, or -1
  std::vector<int32_t> positions;      // [tokens]
  std::vector<int32_t> kv_slots;       // [tokens]: block * block_size + slot
  // PagedSequences of kernels/paged_kv.h.
  std::vector<int32_t> query_start;        // [sequences + 1]
  std::vector<int32_t> context_len;        // [sequences]
  std::vector<int32_t> block_table_start;  // [sequences]
  std::vector<int32_t> block_tables;       // of all sequences, one after the other
  std::vector<int32_t> mask_reach;         // [tokens], or empty: AttentionMask::reach
  std::vector<LogitRow> logit_rows;        // ascending token_row

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
  int64_t num_sequences() const { return static_cast<int64_t>(context_len.size()); }
};

BatchInputs BuildBatch(const StepPlan& plan, int32_t block_size);

}  // namespace vexact

#endif  // VEXACT_BATCH_BATCH_INPUTS_H_
