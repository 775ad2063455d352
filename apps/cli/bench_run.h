// One timed run of requests that are all present at once.
#ifndef VEXACT_CLI_BENCH_RUN_H_
#define VEXACT_CLI_BENCH_RUN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/interrupt.h"
#include "engine/engine_front.h"

namespace vexact {

// What a run measured. Seconds are since the first request was submitted.
struct Measurement {
  int64_t num_requests = 0;
  int64_t num_failed = 0;
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  double wall_s = 0.0;
  int64_t num_steps = 0;
  double host_ms = 0.0;             // of all steps (StepStats)
  double idle_ms = 0.0;             // likewise
  std::vector<double> latencies_s;  // of the requests that were answered, ascending
  std::string first_error;

  // The latency that this share of the requests does not exceed (nearest rank).
  double Percentile(double share) const;
  double Average() const;
  double PerSecond(int64_t count) const {
    return wall_s > 0 ? static_cast<double>(count) / wall_s : 0.0;
  }
};

// Submits the requests at once, stop tokens ignored, and waits until each has ended. A signal
// aborts what is left.
Measurement MeasureRun(EngineFront& front, std::vector<Request> requests, bool show_progress,
                       InterruptSignals& interrupts);

}  // namespace vexact

#endif  // VEXACT_CLI_BENCH_RUN_H_
