// StepInputs: a step's BatchInputs in the backend's memory, at addresses that depend on the padded
// size of the step alone, so that recorded work can read them again in every step of that size.
#ifndef VEXACT_ENGINE_STEP_INPUTS_H_
#define VEXACT_ENGINE_STEP_INPUTS_H_

#include <array>
#include <cstdint>

#include "batch/batch_inputs.h"
#include "kernels/backend.h"
#include "model/model.h"

namespace vexact {

struct StepInputsLimits {
  int64_t max_tokens = 0;
  int64_t max_sequences = 0;
  int64_t max_blocks_per_sequence = 0;
  AttentionMask mask = {};  // of every step; its reach is the steps' own
};

// Thread contract: one thread. Two steps may be on their way at a time: Upload's copy of the step
// before the last must have finished when Upload is called again.
class StepInputs {
 public:
  static Result<StepInputs> Create(const Backend& backend, const StepInputsLimits& limits);

  // Queues the copy of `inputs`, padded to `padded_tokens` tokens that belong to no sequence.
  // Rows of kv faults start as 0.
  void Upload(const BatchInputs& inputs, int64_t padded_tokens, const Backend& backend,
              Stream& stream);

  // What Model::Forward reads, for a step of this padded size; newest_tokens is left to the caller.
  ForwardInputs Forward(int64_t padded_tokens) const;
  // The token row of each row of logits.
  const int32_t* LogitTokenRows(int64_t padded_tokens) const;

 private:
  // Where arrays begin, in bytes.
  struct Layout {
    int64_t num_sequences;
    size_t token_ids, pending_slots, positions, kv_slots, query_start, context_len;
    size_t block_table_start, mask_reach, logit_token_rows, row_faults, block_tables;
  };
  Layout LayoutOf(int64_t padded_tokens) const;

  StepInputsLimits limits_;
  std::array<Buffer, 2> host_;
  int next_host_ = 0;
  Buffer device_;
};

}  // namespace vexact

#endif  // VEXACT_ENGINE_STEP_INPUTS_H_
