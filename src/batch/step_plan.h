// StepPlan: what one step computes, decided by the scheduler. It owns its data, because a step runs
// while the next one is planned.
#ifndef VEXACT_BATCH_STEP_PLAN_H_
#define VEXACT_BATCH_STEP_PLAN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "request/sampling_params.h"

namespace vexact {

using SequenceId = int64_t;

// Stands for a token that a step in flight is drawing; the sampler fills it in from its own
// history (BatchInputs::pending_slots).
inline constexpr int32_t kPendingToken = -1;

// A sequence that takes a sampler slot in this step: new, or back after preemption.
struct StartedSequence {
  SequenceId id = 0;
  int32_t slot = 0;  // [0, max_num_seqs), its own until it is released
  std::shared_ptr<const SamplingParams> params;
  int64_t seed = 0;
  int32_t sample_index = 0;
  std::shared_ptr<const std::vector<int32_t>> prompt_ids;
  std::vector<int32_t> output_ids;  // drawn so far; for a score request, the whole completion
  std::vector<int32_t> stop_ids;    // forbidden before min_tokens
};

// The part of a sequence that one step computes.
struct PlannedSequence {
  SequenceId id = 0;
  int32_t slot = 0;
  int32_t first_position = 0;
  std::vector<int32_t> tokens;       // of positions first_position...; kPendingToken allowed last
  std::vector<int32_t> block_table;  // KV blocks covering every position up to the last token's
  std::vector<int32_t> mask_reach;   // of each token, if the mask has one: AttentionMask::reach
  int32_t num_prompt_tokens = 0;     // tells output positions from the prompt's
  bool draws = false;                // the last token's logits choose the next token
  // Known tokens whose logprobs are wanted: target t is the token at position t; its logits come
  // from the row of position t - 1, which this step computes. An empty range asks for none.
  int32_t targets_begin = 0;
  int32_t targets_end = 0;
  std::vector<int32_t> target_ids;  // [targets_end - targets_begin]
  bool redraws = false;             // also choose a token at each target past the prompt
};

struct StepPlan {
  int64_t step = 0;
  std::vector<StartedSequence> started;
  std::vector<PlannedSequence> sequences;
  bool empty() const { return sequences.empty(); }
};

}  // namespace vexact

#endif  // VEXACT_BATCH_STEP_PLAN_H_
