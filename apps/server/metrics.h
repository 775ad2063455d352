// Metrics: what the server counts, as Prometheus' text format. Names are vLLM's under our prefix.
//
// Our own text of 100 lines, not prometheus-cpp: Debian's package brings an HTTP server, curl and
// zlib along with its core.
#ifndef VEXACT_SERVER_METRICS_H_
#define VEXACT_SERVER_METRICS_H_

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "request/output.h"

namespace vexact {

// Seconds, counted in buckets of 1, 2.5 and 5 times every power of ten.
class SecondsHistogram {
 public:
  void Observe(double seconds);
  // The lines of one metric; `labels` without braces.
  void AppendText(std::string_view name, std::string_view labels, std::string& text) const;

 private:
  static constexpr std::array<double, 20> kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                     0.25,  0.5,    1.0,   2.5,  5.0,   10.0, 25.0,
                                                     50.0,  100.0,  250.0, 500,  1000,  2500};
  std::array<int64_t, kBounds.size() + 1> counts_{};  // the last: above every bound
  double sum_ = 0.0;
};

// Thread contract: any thread, any time.
class Metrics {
 public:
  explicit Metrics(std::string model_name) : model_name_(std::move(model_name)) {}

  // One output of the engine, in order. `since_last_s`: since the sample's output before it,
  // negative if this is its first.
  void CountOutput(const Output& output, double since_last_s);
  void CountPromptTokens(int64_t tokens);
  void CountResponse(int status);
  // The engine's own counts, as they were lately: asking it takes up to a step.
  void SetEngineStats(const EngineStats& stats);

  std::string Text() const;

 private:
  void AppendEngineText(const std::string& labels, std::string& text) const;

  const std::string model_name_;
  mutable std::mutex mutex_;  // guards everything below
  EngineStats engine_;
  int64_t prompt_tokens_ = 0;
  int64_t generation_tokens_ = 0;
  std::map<std::string, int64_t, std::less<>> finished_;  // samples, by finish reason
  std::map<int, int64_t> responses_;                      // by status
  SecondsHistogram queue_time_;
  SecondsHistogram time_to_first_token_;
  SecondsHistogram inter_token_latency_;
  SecondsHistogram e2e_latency_;
};

}  // namespace vexact

#endif  // VEXACT_SERVER_METRICS_H_
