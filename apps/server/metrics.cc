#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace vexact {
namespace {

// As a label's value.
std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

void AppendType(std::string_view name, std::string_view type, std::string& text) {
  text += fmt::format("# TYPE vexact:{} {}\n", name, type);
}

template <typename T>
void AppendOne(std::string_view name, std::string_view type, std::string_view labels, T value,
               std::string& text) {
  AppendType(name, type, text);
  text += fmt::format("vexact:{}{{{}}} {}\n", name, labels, value);
}

}  // namespace

void SecondsHistogram::Observe(double seconds) {
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  ++counts_[static_cast<size_t>(bound - kBounds.begin())];
  sum_ += seconds;
}

void SecondsHistogram::AppendText(std::string_view name, std::string_view labels,
                                  std::string& text) const {
  AppendType(name, "histogram", text);
  int64_t count = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    count += counts_[i];
    const std::string bound = i < kBounds.size() ? fmt::format("{}", kBounds[i]) : "+Inf";
    text += fmt::format("vexact:{}_bucket{{{},le=\"{}\"}} {}\n", name, labels, bound, count);
  }
  text += fmt::format("vexact:{0}_sum{{{1}}} {2}\nvexact:{0}_count{{{1}}} {3}\n", name, labels,
                      sum_, count);
}

void Metrics::CountOutput(const Output& output, double since_last_s) {
  const std::lock_guard lock(mutex_);
  const auto tokens = static_cast<int64_t>(output.token_ids.size());
  generation_tokens_ += tokens;
  if (tokens > 0 && since_last_s < 0.0) {
    time_to_first_token_.Observe(output.timings.first_token_s);
    queue_time_.Observe(output.timings.queued_s);
  } else if (tokens > 0) {
    inter_token_latency_.Observe(since_last_s);
  }
  if (!output.finished()) return;
  ++finished_[std::string(FinishReasonName(output.finish_reason))];
  e2e_latency_.Observe(output.timings.total_s);
}

void Metrics::CountPromptTokens(int64_t tokens) {
  const std::lock_guard lock(mutex_);
  prompt_tokens_ += tokens;
}

void Metrics::CountResponse(int status) {
  const std::lock_guard lock(mutex_);
  ++responses_[status];
}

void Metrics::SetEngineStats(const EngineStats& stats) {
  const std::lock_guard lock(mutex_);
  engine_ = stats;
}

void Metrics::AppendEngineText(const std::string& labels, std::string& text) const {
  const double kv_usage = engine_.kv_blocks_total == 0
                              ? 0.0
                              : static_cast<double>(engine_.kv_blocks_used) /
                                    static_cast<double>(engine_.kv_blocks_total);
  AppendOne("num_requests_running", "gauge", labels, engine_.num_running, text);
  AppendOne("num_requests_waiting", "gauge", labels, engine_.num_waiting, text);
  AppendOne("kv_cache_usage_perc", "gauge", labels, kv_usage, text);
  constexpr double kMsPerSecond = 1e3;
  AppendOne("engine_busy_seconds_total", "counter", labels, engine_.busy_ms / kMsPerSecond, text);
  AppendOne("num_preemptions_total", "counter", labels, engine_.num_preempted, text);
  AppendOne("prefix_cache_queries_total", "counter", labels, engine_.prefix_cache_queries, text);
  AppendOne("prefix_cache_hits_total", "counter", labels, engine_.prefix_cache_hits, text);
}

std::string Metrics::Text() const {
  const std::lock_guard lock(mutex_);
  const std::string labels = fmt::format("model_name=\"{}\"", Escaped(model_name_));
  std::string text;
  AppendEngineText(labels, text);
  AppendOne("prompt_tokens_total", "counter", labels, prompt_tokens_, text);
  AppendOne("generation_tokens_total", "counter", labels, generation_tokens_, text);
  AppendType("request_success_total", "counter", text);
  for (const auto& [reason, count] : finished_) {
    text += fmt::format("vexact:request_success_total{{{},finished_reason=\"{}\"}} {}\n", labels,
                        reason, count);
  }
  AppendType("http_responses_total", "counter", text);
  for (const auto& [status, count] : responses_) {
    text +=
        fmt::format("vexact:http_responses_total{{{},code=\"{}\"}} {}\n", labels, status, count);
  }
  queue_time_.AppendText("request_queue_time_seconds", labels, text);
  time_to_first_token_.AppendText("time_to_first_token_seconds", labels, text);
  inter_token_latency_.AppendText("inter_token_latency_seconds", labels, text);
  e2e_latency_.AppendText("e2e_request_latency_seconds", labels, text);
  return text;
}

}  // namespace vexact
