// StepStats: what one step did; a line of the batch probe.
#ifndef VEXACT_BATCH_STEP_STATS_H_
#define VEXACT_BATCH_STEP_STATS_H_

#include <cstdint>

namespace vexact {

struct StepStats {
  int64_t step = 0;
  int32_t num_requests = 0;        // sequences in the step
  int32_t num_prefill_tokens = 0;  // of prompts, and of outputs that preemption made prompts again
  int32_t num_decode_tokens = 0;
  int32_t num_waiting = 0;        // sequences in the queue after the step was planned
  int32_t kv_blocks_used = 0;     // referenced by sequences after the step was planned
  int32_t num_preempted = 0;      // sequences that lost their place while it was planned
  int32_t num_cached_tokens = 0;  // of sequences admitted in it, found in the prefix cache
  double milliseconds = 0.0;      // from the start of its computation to its last result
  // The host's time for it, not waiting: planning, queueing on a device of its own, committing. On
  // a CPU queueing is computing and not counted.
  double host_ms = 0.0;
  // The device's time between the end of the step before and its start; 0 for the first step.
  double idle_ms = 0.0;
};

}  // namespace vexact

#endif  // VEXACT_BATCH_STEP_STATS_H_
