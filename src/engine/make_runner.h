// MakeRunner: what an engine computes on, KV pool included, from what its configuration asks for.
#ifndef VEXACT_ENGINE_MAKE_RUNNER_H_
#define VEXACT_ENGINE_MAKE_RUNNER_H_

#include <memory>

#include "engine/engine_config.h"
#include "engine/model_runner.h"

namespace vexact {

struct ReadyRunner {
  ResolvedConfig resolved;
  std::unique_ptr<ModelRunner> runner;
};

// Errors: an option out of range, a combination that contradicts itself; memory that is not there,
// with what to lower.
Result<ReadyRunner> MakeRunner(EngineConfig config, const std::shared_ptr<const Model>& model);

}  // namespace vexact

#endif  // VEXACT_ENGINE_MAKE_RUNNER_H_
