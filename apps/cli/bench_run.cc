#include "cli/bench_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

#include "common/progress.h"

namespace vexact {
namespace {

using Clock = std::chrono::steady_clock;

// Submits requests at once and gathers what the engine's thread reports.
class ThroughputRun {
 public:
  explicit ThroughputRun(EngineFront& front) : front_(front) {}

  // Shows progress; a signal aborts what is left.
  Measurement Measure(std::vector<Request> requests, bool show_progress,
                      InterruptSignals& interrupts) {
    const auto total = static_cast<int64_t>(requests.size());
    const EngineStats before = front_.Stats();
    start_ = Clock::now();
    measured_.num_requests = total;
    std::vector<RequestId> ids;
    for (Request& request : requests) {
      request.sampling.ignore_eos = true;
      const auto callback = [this](const Output& output) { Note(output); };
      const Result<RequestId> id = front_.Submit(std::move(request), callback);
      if (id.ok()) {
        ids.push_back(*id);
      } else {
        NoteFailure(id.error().message);
      }
    }
    Wait(total, ids, show_progress, interrupts);
    measured_.wall_s = SecondsSinceStart();
    const EngineStats after = front_.Stats();
    measured_.num_steps = after.num_steps - before.num_steps;
    measured_.host_ms = after.host_ms - before.host_ms;
    measured_.idle_ms = after.idle_ms - before.idle_ms;
    std::sort(measured_.latencies_s.begin(), measured_.latencies_s.end());
    return std::move(measured_);
  }

 private:
  double SecondsSinceStart() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }

  void Note(const Output& output) {
    const std::lock_guard lock(mutex_);
    measured_.output_tokens += static_cast<int64_t>(output.token_ids.size());
    if (!output.finished()) return;
    RequestState& request = requests_[output.request_id];
    request.failed = request.failed || output.finish_reason == FinishReason::kError ||
                     output.finish_reason == FinishReason::kAbort;
    if (!output.error.empty()) measured_.first_error = output.error;
    if (++request.samples_done < output.num_samples) return;
    if (request.failed) {
      ++measured_.num_failed;
    } else {
      measured_.latencies_s.push_back(SecondsSinceStart());
      measured_.prompt_tokens += static_cast<int64_t>(output.prompt_token_ids->size());
    }
    ++num_done_;
    done_.notify_all();
  }

  void NoteFailure(const std::string& error) {
    const std::lock_guard lock(mutex_);
    ++measured_.num_failed;
    measured_.first_error = error;
    ++num_done_;
  }

  void Wait(int64_t total, const std::vector<RequestId>& ids, bool show_progress,
            InterruptSignals& interrupts) {
    ProgressBar progress(show_progress);
    bool aborted = false;
    std::unique_lock lock(mutex_);
    while (num_done_ < total) {
      done_.wait_for(lock, std::chrono::milliseconds(100));
      progress.Update({.done = num_done_, .total = total, .tokens = measured_.output_tokens});
      if (aborted || !interrupts.Triggered()) continue;
      aborted = true;
      lock.unlock();
      for (const RequestId id : ids) front_.Abort(id);
      lock.lock();
    }
  }

  struct RequestState {
    int32_t samples_done = 0;
    bool failed = false;
  };

  EngineFront& front_;
  Clock::time_point start_;
  std::mutex mutex_;  // guards everything below
  std::condition_variable done_;
  Measurement measured_;
  std::map<RequestId, RequestState> requests_;
  int64_t num_done_ = 0;
};

}  // namespace

double Measurement::Percentile(double share) const {
  if (latencies_s.empty()) return 0.0;
  const auto rank = static_cast<size_t>(std::ceil(share * latencies_s.size()));
  return latencies_s[std::clamp<size_t>(rank, 1, latencies_s.size()) - 1];
}

double Measurement::Average() const {
  double sum = 0.0;
  for (const double latency : latencies_s) sum += latency;
  return latencies_s.empty() ? 0.0 : sum / latencies_s.size();
}

Measurement MeasureRun(EngineFront& front, std::vector<Request> requests, bool show_progress,
                       InterruptSignals& interrupts) {
  return ThroughputRun(front).Measure(std::move(requests), show_progress, interrupts);
}

}  // namespace vexact
