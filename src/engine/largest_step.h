// LargestStep: the step that needs the most memory, for measuring it before the KV pool is sized.
#ifndef VEXACT_ENGINE_LARGEST_STEP_H_
#define VEXACT_ENGINE_LARGEST_STEP_H_

#include "batch/step_plan.h"
#include "engine/model_runner.h"

namespace vexact {

// max_num_batched_tokens tokens of as many new sequences as may run, of equal lengths, each with
// blocks of its own. Every sequence that has room for another token draws it, with penalties,
// filters and processed log-probabilities: what sampling needs memory for.
StepPlan LargestStep(const ModelRunnerOptions& options);

// The size of the smallest pool that holds the plan's blocks.
int32_t NumBlocksOf(const StepPlan& plan);

}  // namespace vexact

#endif  // VEXACT_ENGINE_LARGEST_STEP_H_
