// Sequence: one sample of one request as the scheduler sees it.
#ifndef VEXACT_SCHEDULER_SEQUENCE_H_
#define VEXACT_SCHEDULER_SEQUENCE_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "batch/sequence_mask.h"
#include "batch/step_plan.h"
#include "kvcache/block_pool.h"

namespace vexact {

// What the scheduler is asked to compute.
struct SequenceSpec {
  SequenceId id = 0;  // the order of service: lower ids first
  std::shared_ptr<const std::vector<int32_t>> prompt_ids;
  // A score request's completion: computed like a prompt, nothing is drawn.
  std::vector<int32_t> completion_ids;
  std::shared_ptr<const SamplingParams> params;
  int64_t seed = 0;
  int32_t sample_index = 0;
  std::vector<int32_t> stop_ids;
  int32_t max_output_tokens = 0;  // drawn at most; of a score request, its completion's length
  // Log-probabilities are wanted of the tokens at positions [targets_begin, targets_end).
  int32_t targets_begin = 0;
  int32_t targets_end = 0;
  bool redraws = false;    // a score request: also choose a token at each completion position
  SequenceMask mask = {};  // prefix_len is at most the prompt and a step's budget of tokens
  std::shared_ptr<const PrefixRoot> prefix_root;  // names the mask, and the tokens of its prefix

  bool is_score() const { return !completion_ids.empty(); }
};

enum class SequenceState {
  kWaiting,     // in the queue: no blocks, no slot, nothing in flight
  kRunning,     // holds blocks and a slot
  kPreempting,  // like kRunning, but goes back to the queue once nothing is in flight
  kFinished,    // holds blocks and a slot until nothing is in flight
};

struct Sequence {
  explicit Sequence(SequenceSpec s)
      : spec(std::move(s)), output_ids(spec.completion_ids), next_target(spec.targets_begin) {}

  SequenceSpec spec;
  SequenceState state = SequenceState::kWaiting;
  std::vector<int32_t> output_ids;  // known ones
  int32_t num_pending = 0;          // draws in flight, after output_ids
  int32_t num_planned = 0;          // positions computed or in flight
  int32_t num_committed = 0;        // positions computed and collected
  int32_t next_target = 0;          // first one that no step computes yet
  int32_t num_in_flight = 0;        // steps
  int32_t slot = -1;
  std::vector<int32_t> blocks;
  int32_t num_entered_blocks = 0;  // of `blocks`, offered to the prefix cache or from it
  PrefixNode last_entered;
  int32_t num_cached_tokens = -1;  // of the prompt, at first admission; -1: not yet admitted

  int32_t prompt_len() const { return static_cast<int32_t>(spec.prompt_ids->size()); }
  // Positions whose token is known or in flight.
  int32_t num_tokens() const {
    return prompt_len() + static_cast<int32_t>(output_ids.size()) + num_pending;
  }
  // Positions that have to be computed: not the last possible output token's, which no one reads.
  int32_t num_to_compute() const {
    return std::min(num_tokens(), prompt_len() + spec.max_output_tokens - 1);
  }
  int32_t num_remaining() const { return num_to_compute() - num_planned; }
  bool decodes() const {
    return !spec.is_score() && num_remaining() == 1 && num_planned >= prompt_len();
  }
  int32_t TokenAt(int32_t position) const {
    const int32_t output = position - prompt_len();
    if (output < 0) return (*spec.prompt_ids)[position];
    return output < static_cast<int32_t>(output_ids.size()) ? output_ids[output] : kPendingToken;
  }
  // What the prefix cache compares of a position: its token, and whether a document begins there.
  int32_t CacheKeyAt(int32_t position) const {
    const int32_t token = TokenAt(position);
    return spec.mask.BeginsDocument(position) ? ~token : token;
  }
};

}  // namespace vexact

#endif  // VEXACT_SCHEDULER_SEQUENCE_H_
