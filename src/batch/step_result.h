// StepResult: what one step found out, in the order of its plan's sequences.
#ifndef VEXACT_BATCH_STEP_RESULT_H_
#define VEXACT_BATCH_STEP_RESULT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "request/request.h"
#include "tensor/stream.h"

namespace vexact {

// Why a sequence fails; without a message it does not.
struct SequenceFault {
  std::string message;
  FaultCause cause = FaultCause::kWeights;
  bool empty() const { return message.empty(); }
};

struct SequenceResult {
  TokenLogprob drawn;                 // meaningful if the sequence draws and fault is empty
  std::vector<TokenLogprob> targets;  // of the plan's targets, in order of position
  std::vector<int32_t> redrawn;       // of the targets that redraw, in order of position
  SequenceFault fault;
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
