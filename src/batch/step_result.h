// StepResult: what one step found out, in the order of its plan's sequences.
#ifndef VEXACT_BATCH_STEP_RESULT_H_
#define VEXACT_BATCH_STEP_RESULT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "request/request.h"
#include "tensor/stream.h"

namespace vexact {

struct SequenceResult {
  TokenLogprob drawn;                 // meaningful if the sequence draws and fault is empty
  std::vector<TokenLogprob> targets;  // of the plan's targets, in order of position
  std::vector<int32_t> redrawn;       // of the targets that redraw, in order of position
  // Why the sequence fails (a logit, a K or a V that is not finite; nothing allowed), or empty.
  std::string fault;
  bool engine_failed = false;  // the fault is the step's (a device's error), not the sequence's
};

struct StepResult {
  int64_t step = 0;
  std::vector<SequenceResult> sequences;
  double milliseconds = 0.0;  // from launch to the last result
  double host_ms = 0.0;       // StepStats', without planning and committing
  double idle_ms = 0.0;       // StepStats'
  CallCounts calls;           // of operators, since the engine was made
};

// Which of a step's sequences end with it, in the order of its plan's sequences; kNone goes on.
using Stops = std::vector<FinishReason>;

}  // namespace vexact

#endif  // VEXACT_BATCH_STEP_RESULT_H_
