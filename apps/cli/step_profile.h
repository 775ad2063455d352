// `bench throughput --profile`: the steps of an engine and every kernel of its GPU on one clock, as
// a Chrome trace (chrome://tracing, Perfetto). tools/kernel_table.py sums it.
#ifndef VEXACT_CLI_STEP_PROFILE_H_
#define VEXACT_CLI_STEP_PROFILE_H_

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine_config.h"
#include "tensor/kernel_trace.h"

namespace vexact {

// A step was collected at `end_ns`: the kernels that it waited for have ended.
struct ProfiledStep {
  uint64_t end_ns = 0;
  StepStats stats;
};

// {"traceEvents": [...]}, times in microseconds since `begin_ns`. Thread 0 is the host's, one event
// a step, from the end of the step before; the others are the device's streams, one event a kernel
// with the step that its launch belongs to: the first that was collected after the last kernel of
// the launch. Kernels after the last step are left out.
std::string ChromeTrace(uint64_t begin_ns, const std::vector<ProfiledStep>& steps,
                        const std::vector<KernelRecord>& kernels);

class StepProfile {
 public:
  // Before anything uses the GPU. Leaves the first `delay` steps after Begin out and records
  // `most_steps` after them (0: all).
  static Result<std::unique_ptr<StepProfile>> Start(std::string path, int64_t delay,
                                                    int64_t most_steps);

  // Steps from here on count.
  void Begin();
  // On the engine's thread.
  void NoteStep(const StepStats& stats);
  // After the last step. Errors: no step in the window; what KernelTrace and the file say.
  Status Write();

 private:
  StepProfile(std::string path, int64_t delay, int64_t most_steps)
      : path_(std::move(path)), delay_(delay), most_steps_(most_steps) {}

  const std::string path_;
  const int64_t delay_;
  const int64_t most_steps_;
  std::unique_ptr<KernelTrace> trace_;
  std::mutex mutex_;  // guards what is below
  int64_t num_steps_ = 0;
  uint64_t begin_ns_ = 0;  // the end of the last step that is left out
  std::vector<ProfiledStep> steps_;
};

}  // namespace vexact

#endif  // VEXACT_CLI_STEP_PROFILE_H_
